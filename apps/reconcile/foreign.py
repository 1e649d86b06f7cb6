"""Notices that somebody else drives the same edge: another installation of the portal, or a program that undoes ours.

Both stop writes until an administrator decides. One foreign change is no reason to: it is named, and plans built on
what was before are void.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from apps.audit.models import AuditEvent
from apps.inventory.alarms import installation_name, raise_alarm
from apps.inventory.models import Account, Stop, Zone
from apps.outbox.clock import database_now
from apps.planning.rule import is_ours
from apps.planning.state import RuleState
from apps.reconcile.models import Plan, PlanStep

MARK = re.compile(r" \(installation ([0-9a-f]{8})\)$")
# A person corrects something once; whoever takes our writes back three times in an hour does not know of us.
UNDONE = 3
WITHIN = timedelta(hours=1)
# Changes that somebody may take back: one that was not applied whole as far as it was sent and seen.
ENDED = (Plan.State.APPLIED, Plan.State.SUPERSEDED, Plan.State.DIVERGED)


def marked(description: str) -> str:
    """A rule's description with the name of this installation."""
    return f"{description} (installation {installation_name()})"


def notice_other_installation(zone: Zone, rules: Iterable[RuleState]) -> None:
    """Stop writes in the account when a rule of the portal's kind bears another installation's name.

    Whoever lifts that while the account is read-only has not decided what holds once it is not.
    """
    mine = installation_name()
    writes = Account.objects.filter(pk=zone.account_id, mode=Account.Mode.READ_WRITE)
    for rule in rules:
        found = MARK.search(rule.description) if is_ours(rule) else None
        if found is None or found[1] == mine:
            continue
        raise_alarm(
            cause=f"installation:{zone.account_id}:{found[1]}" + ("" if writes.exists() else ":read_only"),
            account=zone.account,
            reason=(
                f"Rule {rule.ref} in {zone.name} was written by another installation of this portal ({found[1]}; this "
                f"one is {mine}). Two portals on one account take back each other's work. Give the account to one of "
                "them: set it to read-only in the other, then lift this in the one that stays."
            ),
        )


def undoes_ours(zone: Zone, ca_key: str, added: frozenset[str], removed: frozenset[str]) -> bool:
    """Whether a foreign change takes back what plans of ours did to this list within the last hour.

    What healing put back does not count: healing has a brake of its own (healing.py).
    """
    plans = Plan.objects.filter(zone=zone, created_at__gt=database_now() - WITHIN, state__in=ENDED)
    put_in: dict[str, bool] = {}
    taken_out: dict[str, bool] = {}
    for plan in plans.order_by("-number").prefetch_related("steps"):
        for step in (step for step in _lists_seen(plan) if step["ca"] == ca_key):
            for name in set(step["after"]) - set(step["before"]):
                put_in.setdefault(name, plan.healing)
            for name in set(step["before"]) - set(step["after"]):
                taken_out.setdefault(name, plan.healing)
    by_people = [put_in.get(name) for name in removed] + [taken_out.get(name) for name in added]
    return False in by_people


def _lists_seen(plan: Plan) -> list[dict[str, Any]]:
    """The lists that the plan sent and a read showed."""
    done = [step.document for step in plan.steps.all() if step.state == PlanStep.State.DONE]
    seen = {key for step in done if step["kind"] == "read_back_lists" for key in step["cas"]}
    return [step for step in done if step["kind"] == "replace_list" and step["ca"] in seen]


def _still_undone(events: Iterable[AuditEvent]) -> list[AuditEvent]:
    """The foreign changes that took back ours, without those that were taken back in turn and not by us.

    Answers of a far side that lags show an older list for a while: nobody wrote it.
    """
    open_since: list[tuple[AuditEvent, set[str], set[str]]] = []
    for event in events:
        came, went = set(event.details["added"]), set(event.details["removed"])
        for earlier, added, removed in open_since:
            if earlier.details["ca_cloudflare_id"] == event.details["ca_cloudflare_id"]:
                added -= went
                removed -= came
        if event.details.get("undoes"):
            open_since.append((event, came, went))
    return [event for event, added, removed in open_since if added or removed]


def notice_foreign_writer(zone: Zone) -> None:
    """Stop writes in the zone once ours were taken back several times within the hour and since the last decision."""
    since = database_now() - WITHIN
    decided = Stop.objects.filter(zone=zone, cause__startswith="undone:").order_by("-lifted_at").first()
    if decided and decided.lifted_at:
        since = max(since, decided.lifted_at)
    events = AuditEvent.objects.filter(
        action="edge:list_changed_outside", subject_type="zone", subject_id=str(zone.pk), at__gt=since
    ).order_by("seq")
    undone = _still_undone(events)
    if len(undone) < UNDONE or (decided and not decided.lifted_at):
        return
    names = sorted({name for event in undone for name in event.hostnames})[:5]
    raise_alarm(
        cause=f"undone:{zone.pk}:{undone[-1].seq}",
        zone=zone,
        reason=(
            f"Somebody outside the portal took back what it wrote {len(undone)} times within an hour: "
            f"{', '.join(names)}. Find out who or what also writes to {zone.name}, then lift this."
        ),
    )
