"""Rule writes tried at Cloudflare before any of them is made: `dry_run` validates and keeps nothing.

A plan is tried when it is made, so that people see a refusal before they approve; what came of it is kept with the
plan. When it is sent, its rules are tried before the zone's first write, lists included. One case goes without: a
single rule write in which everything was accepted when its requests were planned. That call is saved (three per
zone: read, write, read back).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from apps.cloudflare.client import Client
from apps.cloudflare.errors import CloudflareError, PermissionMissing, Rejected
from apps.cloudflare.rules import Ruleset, RuleWrite
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan
from apps.errors import PortalError
from apps.inventory.holds import hold_on_zone
from apps.inventory.models import Zone
from apps.planning.plan import AddRule, DeleteRule, EditRule, Plan
from apps.planning.rule import DesiredRule, hostnames_in, pins_in
from apps.reconcile.edge import EdgeClient, writer_from
from apps.reconcile.foreign import marked
from apps.reconcile.models import Plan as Change

log = structlog.get_logger(__name__)

# A page waits for the tries of its plan; one refusal is all it takes.
MOST_IN_PREVIEW = 4


ACCEPTED, REFUSED, NOT_TRIED = "accepted", "refused", "not_tried"


@dataclass(frozen=True)
class Trial:
    """What came of the dry run of one zone's rules. `reason` says why they were refused, or not tried."""

    outcome: str
    reason: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def rule_write(rule: DesiredRule) -> RuleWrite:
    """The rule as it is sent: its description tells another installation of the portal whose it is."""
    return RuleWrite(ref=rule.ref, description=marked(rule.description), action=rule.action, expression=rule.expression)


def tried_steps(plan: Plan) -> list[AddRule | EditRule]:
    """The rule writes that Cloudflare could refuse for what they say. A deletion says nothing."""
    return [step for step in plan.steps if isinstance(step, AddRule | EditRule)]


def tries_before_sending(plan: Plan, zone: Zone, requests: Sequence[CoverageRequest]) -> list[AddRule | EditRule]:
    """What is tried right before the plan is sent for these requests; nothing where all of it was accepted before.

    That is so for one rule write alone, when the newest plan of each request was accepted in this zone, and together
    they named every hostname, every pin and the action of the rule that is sent. What came into the rule in another
    way (a break-glass, changed issuers, a request that is done) was not tried with them. Nor is an earlier try
    believed once a change of the zone was refused: its retry would find that out after the lists were sent.
    """
    steps = tried_steps(plan)
    writes = [step for step in plan.steps if isinstance(step, AddRule | EditRule | DeleteRule)]
    last = Change.objects.filter(zone=zone).order_by("-number").first()
    if not steps or len(writes) > 1 or (last and last.state == Change.State.FAILED):
        return steps
    rule = steps[0].rule
    return [] if _parts(rule.action, rule.expression) <= _accepted(zone, requests) else steps


def _accepted(zone: Zone, requests: Iterable[CoverageRequest]) -> frozenset[tuple[str, str]]:
    """The parts of the rules that these requests' plans had accepted; none if those of one request were not."""
    known: set[tuple[str, str]] = set()
    for request in requests:
        planned = current_plan(request)
        found = _document_of(zone, planned.document) if planned else None
        if found is None:
            return frozenset()
        rules = [rule for rule in found["rules"] if rule["after"]]
        if rules and (found.get("dry_run") or {}).get("outcome") != ACCEPTED:
            return frozenset()
        for rule in rules:
            known |= _parts(rule["action"], rule["after"])
    return frozenset(known)


def _document_of(zone: Zone, document: dict[str, Any]) -> dict[str, Any] | None:
    return next((row for row in document["zones"] if row["zone_id"] == str(zone.pk)), None)


def _parts(action: str, expression: str) -> set[tuple[str, str]]:
    """What a rule of ours says: its action, each hostname, and each pin, or that it has none."""
    pins = pins_in(expression)
    return {
        ("action", action),
        *(("hostname", name) for name in hostnames_in(expression)),
        *(("pin", ski) for ski in ({""} if pins is None else pins)),
    }


def calls_of_tries(steps: Sequence[AddRule | EditRule]) -> int:
    """How many calls trying them takes: those of a zone without rules go in one."""
    creates = any(isinstance(step, AddRule) and step.creates_ruleset for step in steps)
    return 1 if creates else len(steps)


def try_rules(client: Client, zone: Zone, ruleset: Ruleset | None, steps: Sequence[AddRule | EditRule]) -> None:
    """Have Cloudflare validate each rule. Raises CloudflareError for the first that it refuses."""
    if ruleset is None:
        rules = [rule_write(step.rule) for step in steps if isinstance(step, AddRule)]
        client.rules.create_ruleset(zone.cloudflare_id, rules=rules, dry_run=True)
        return
    # A rule may go and come back under its ref in one plan: it goes only when the plan is sent, so until then its ref
    # is taken, and what comes is tried in its place.
    standing = {rule.ref: rule.id for rule in ruleset.rules}
    for step in steps:
        rule = rule_write(step.rule)
        rule_id = standing.get(rule.ref, "") if isinstance(step, AddRule) else step.rule_id
        if rule_id:
            client.rules.edit(zone.cloudflare_id, ruleset.id, rule_id, rule, dry_run=True)
        elif isinstance(step, AddRule):
            client.rules.add(zone.cloudflare_id, ruleset.id, rule, first=step.first, dry_run=True)


def trial_of(client: EdgeClient, zone: Zone, ruleset: Ruleset | None, plan: Plan) -> Trial | None:
    """What Cloudflare says of the rules of this plan; None when there is none that it could refuse.

    Nothing is tried while writes to the zone are held back: a try that a proxy mistakes for a write would be one.
    """
    steps = tried_steps(plan)
    if not steps:
        return None
    if hold := hold_on_zone(zone.pk):
        return Trial(NOT_TRIED, hold.sentence)
    try:
        with writer_from(client) as writer:
            try_rules(writer, zone, ruleset, steps[:MOST_IN_PREVIEW])
    except (Rejected, PermissionMissing) as error:
        return Trial(REFUSED, f"Cloudflare would refuse a rule of {zone.name}. {error.message}")
    except PortalError as error:
        log.warning("rules_not_tried", zone=zone.name, error=error.message)
        return Trial(NOT_TRIED, error.message)
    if len(steps) > MOST_IN_PREVIEW:
        return Trial(NOT_TRIED, f"A page tries {MOST_IN_PREVIEW} rule writes, and this plan has {len(steps)}.")
    return Trial(ACCEPTED)


def refused_first(error: CloudflareError) -> CloudflareError:
    """The same refusal, said to be that of a dry run: nothing was written."""
    error.message = f"Nothing was written: a dry run of the rules was refused. {error.message}"
    return error
