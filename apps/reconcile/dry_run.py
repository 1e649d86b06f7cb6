"""Rule writes tried at Cloudflare before any of them is made: `dry_run` validates and keeps nothing.

A plan is tried when it is made, so that people see a refusal before they approve. When it is sent, only a batch of
several rule writes is tried again: of a single one, a refusal by the write itself leaves as little behind, and the
call is saved (three per zone: read, write, read back).
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from apps.cloudflare.client import Client
from apps.cloudflare.errors import CloudflareError, PermissionMissing, Rejected
from apps.cloudflare.rules import Ruleset, RuleWrite
from apps.errors import PortalError
from apps.inventory.holds import hold_on_zone
from apps.inventory.models import Zone
from apps.planning.plan import AddRule, EditRule, Plan
from apps.planning.rule import DesiredRule
from apps.reconcile.foreign import marked

log = structlog.get_logger(__name__)

# A page waits for the tries of its plan; one refusal is all it takes.
MOST_IN_PREVIEW = 4


def rule_write(rule: DesiredRule) -> RuleWrite:
    """The rule as it is sent: its description tells another installation of the portal whose it is."""
    return RuleWrite(ref=rule.ref, description=marked(rule.description), action=rule.action, expression=rule.expression)


def tried_steps(plan: Plan) -> list[AddRule | EditRule]:
    """The rule writes that Cloudflare could refuse for what they say. A deletion says nothing."""
    return [step for step in plan.steps if isinstance(step, AddRule | EditRule)]


def tries_before_sending(plan: Plan) -> list[AddRule | EditRule]:
    """What is tried again right before the plan's rules are written: nothing when there is one write only."""
    steps = tried_steps(plan)
    return steps if len(steps) > 1 else []


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
    for step in steps:
        rule = rule_write(step.rule)
        if isinstance(step, AddRule):
            client.rules.add(zone.cloudflare_id, ruleset.id, rule, first=step.first, dry_run=True)
        elif step.rule_id:
            client.rules.edit(zone.cloudflare_id, ruleset.id, step.rule_id, rule, dry_run=True)


def refusal_of(client: Client, zone: Zone, ruleset: Ruleset | None, plan: Plan) -> str:
    """Why Cloudflare would refuse the rules of this plan, in its words; "" when it would not, or nobody can tell.

    Nothing is tried while writes to the zone are held back: a try that a proxy mistakes for a write would be one.
    """
    steps = tried_steps(plan)[:MOST_IN_PREVIEW]
    if not steps or hold_on_zone(zone.pk):
        return ""
    try:
        try_rules(client, zone, ruleset, steps)
    except (Rejected, PermissionMissing) as error:
        return f"Cloudflare would refuse a rule of {zone.name}. {error.message}"
    except PortalError as error:
        log.warning("rules_not_tried", zone=zone.name, error=error.message)
    return ""


def refused_first(error: CloudflareError) -> CloudflareError:
    """The same refusal, said to be that of a dry run: no rule was written."""
    error.message = f"No rule was written: a dry run of all of them was refused. {error.message}"
    return error
