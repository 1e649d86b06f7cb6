"""Storing what a read showed, and saying who changed it: we, or somebody else.

A list that differs from the last read is ours if an open plan explains it (it was about to be sent, or was sent and
its answer lost); otherwise somebody changed it outside the portal. Then its revision rises, plans built on the older
revision are put out of date, and the audit log keeps both lists. Nothing is written to the edge here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from apps.audit.services import record
from apps.cloudflare.rules import Ruleset
from apps.coverage.models import CoverageRequest
from apps.coverage.moves import lock_open_requests
from apps.coverage.selectors import desired_zone, plans_in_play
from apps.coverage.settling import settle_zone
from apps.errors import PortalError, Unsafe
from apps.identity.actors import Actor
from apps.inventory.models import EdgeList, EdgeRules, Zone
from apps.outbox.clock import database_now
from apps.planning.diff import unfinished
from apps.planning.drift import drift
from apps.planning.rule import is_ours
from apps.planning.seen import edge_modes
from apps.planning.state import Mode, ObservedZone, RuleState
from apps.reconcile.edge import Observation, rule_states
from apps.reconcile.foreign import notice_foreign_writer, notice_other_installation, undoes_ours
from apps.reconcile.history import keep_history
from apps.reconcile.lock_outs import name_lock_outs
from apps.reconcile.models import Drift, Plan, PlanStep
from apps.reconcile.sent import is_under_way, put_out_of_date
from apps.reconcile.versions import Words, list_versions, rule_versions, words_of

WORKER = Actor.portal("worker")
# The ref of a rule of ours, and what it says.
Own = tuple[str, Words]
# What was given up because the edge did not show it may show all the same: it is ours then, and no foreign change.
MAY_STILL_SHOW = timedelta(minutes=10)
# Why a change ended whose list was shown, and at once otherwise. What comes after that is no lag of it.
OTHER_LIST = "The list was changed outside right after it was sent. The next plan goes on from what is read."


class Overtaken(PortalError):
    """The zone changed while it was read, by a write of ours or in a later reading. Storing would set it back."""

    category = "conflict"


@transaction.atomic
def store_observation(
    zone: Zone, observation: Observation, keys: dict[str, str], *, applied: Plan | None = None
) -> list[CoverageRequest]:
    """Keep one complete read, name foreign changes and drift, settle what it proves. Returns requests that ended.

    `applied` is the change whose read-backs this is: it explains what it sent, as it did while it was open.
    Raises Overtaken, and stores nothing, when something newer is known already.
    """
    # Requests first and the audit log's head last, as decisions do it: any other order could deadlock with them. New
    # rows that name the zone need its key meanwhile.
    lock_open_requests(zone)
    current = Zone.objects.select_for_update(no_key=True).get(pk=zone.pk).edge_revision
    if observation.revision not in {None, current}:
        raise Overtaken(f"{zone.name} changed while it was read. Nothing was stored. Read it again.")
    # One of which no call was begun explains nothing: whatever moved since it was stored was moved by others.
    begun = PlanStep.objects.exclude(state=PlanStep.State.NOT_STARTED).values("plan_id")
    open_plans = list(Plan.objects.filter(zone=zone, state__in=Plan.OPEN, pk__in=begun))
    open_plans += [applied] if applied else []
    since = database_now() - MAY_STILL_SHOW
    late = Plan.objects.filter(zone=zone, state=Plan.State.DIVERGED, finished_at__gt=since).exclude(error=OTHER_LIST)
    observed = observation.zone
    for key, ca_id in keys.items():
        explained = _explained(open_plans, key) + _sent(late, key)
        _store_list(zone, key, ca_id, observed.lists[key], explained, observation.read_at)
    EdgeList.objects.filter(zone=zone).exclude(ca_cloudflare_id__in=list(keys.values())).delete()
    _store_rules(zone, observed, open_plans, observation.read_at)
    Zone.objects.filter(pk=zone.pk).update(read_at=observation.read_at, failing_since=None, last_error="")
    notice_other_installation(zone, observed.rules)
    keep_history(zone, observed, keys, observation.read_at)
    ended = settle_zone(
        by=WORKER,
        zone=zone,
        lists=dict(observed.lists),
        enforced=edge_modes(observed.rules),
        unfinished=_unfinished(zone, observed),
    )
    _name_drift(zone, observed, keys)
    name_lock_outs(zone, observed)
    return ended


def _unfinished(zone: Zone, observed: ObservedZone) -> frozenset[str]:
    desired = desired_zone(zone)
    try:
        return unfinished(desired, observed)
    except Unsafe:
        # The approved rules cannot be written at all: planning says so, a read goes on. It proves no rule right.
        return frozenset(name for name, mode in desired.modes.items() if mode is not Mode.VERIFY)


def _explained(plans: list[Plan], key: str) -> list[frozenset[str]]:
    """The lists that open plans of ours may leave behind for this CA."""
    return [names for plan in plans for names in list_versions(plan.document.get("steps", ())).get(key, ())]


def _rules_explained(plans: list[Plan], before: list[Own], after: list[Own]) -> bool:
    """Whether every rule of ours that differs is as an open plan may leave it behind."""
    left: dict[str, list[Words | None]] = {}
    for plan in plans:
        for ref, versions in rule_versions(plan.document.get("steps", ())).items():
            left.setdefault(ref, []).extend(versions)
    then, now = dict(before), dict(after)
    changed = {ref for ref in {*then, *now} if then.get(ref) != now.get(ref)}
    return bool(left) and all(now.get(ref) in left.get(ref, ()) for ref in changed)


def _sent(plans: Iterable[Plan], key: str) -> list[frozenset[str]]:
    """The list of this CA after each of these plans."""
    steps = [step for plan in plans for step in plan.document.get("steps", [])]
    return [frozenset(row["after"]) for row in steps if row["kind"] == "replace_list" and row["ca"] == key]


def _store_list(
    zone: Zone, key: str, ca_id: str, hostnames: frozenset[str], explained: list[frozenset[str]], read_at: datetime
) -> None:
    row = EdgeList.objects.select_for_update().filter(zone=zone, ca_cloudflare_id=ca_id).first()
    if row is None:
        values = {"hostnames": sorted(hostnames), "read_at": read_at, "changed_at": read_at}
        EdgeList.objects.create(zone=zone, ca_cloudflare_id=ca_id, **values)
        return
    before = frozenset(row.hostnames)
    row.read_at = read_at
    if hostnames != before:
        row.hostnames, row.changed_at = sorted(hostnames), read_at
        _bump(zone)
        if hostnames not in explained:
            row.foreign_revision += 1
            _tell_foreign_list(zone, key, ca_id, before, hostnames)
    row.save()
    _outdate(zone, revision_key(zone, ca_id), row.foreign_revision, "The edge list changed after this plan was built.")


def _bump(zone: Zone) -> None:
    Zone.objects.filter(pk=zone.pk).update(edge_revision=F("edge_revision") + 1)


def _tell_foreign_list(zone: Zone, key: str, ca_id: str, before: frozenset[str], after: frozenset[str]) -> None:
    undoes = undoes_ours(zone, key, after - before, before - after)
    record(
        by=WORKER,
        action="edge:list_changed_outside",
        subject=("zone", zone.pk, zone.name),
        account=zone.account_id,
        zone=zone.name,
        hostnames=before ^ after,
        before={"hostnames": sorted(before)},
        after={"hostnames": sorted(after)},
        details={
            "ca_cloudflare_id": ca_id, "added": sorted(after - before), "removed": sorted(before - after),
            "undoes": undoes,
        },
    )  # fmt: skip
    if undoes:
        notice_foreign_writer(zone)


def _store_rules(zone: Zone, observed: ObservedZone, open_plans: list[Plan], read_at: datetime) -> None:
    fresh = [asdict(rule) for rule in observed.rules]
    values = {"ruleset_id": observed.ruleset_id or "", "version": observed.ruleset_version or "", "rules": fresh}
    row = EdgeRules.objects.select_for_update().filter(zone=zone).first()
    if row is None:
        EdgeRules.objects.create(zone=zone, read_at=read_at, changed_at=read_at, **values)
        return
    before, after = _own_rules([RuleState(**rule) for rule in row.rules]), _own_rules(observed.rules)
    if before != after:
        row.changed_at = read_at
        _bump(zone)
        if not _rules_explained(open_plans, before, after):
            row.foreign_revision += 1
            subject = ("zone", zone.pk, zone.name)
            record(
                by=WORKER, action="edge:rule_changed_outside", subject=subject, account=zone.account_id, zone=zone.name,
                before={"rules": _named(before)}, after={"rules": _named(after)},
            )  # fmt: skip
    row.ruleset_id, row.version, row.rules, row.read_at = *values.values(), read_at
    row.save()
    _outdate(
        zone, revision_key(zone, "rules"), row.foreign_revision, "Our block rule changed after this plan was built."
    )


@transaction.atomic
def store_own_list(zone: Zone, ca_id: str, hostnames: Iterable[str]) -> None:
    """Keep the list as a write of ours left it, so that no read takes our change for a foreign one.

    One that began before the write is overtaken: stored, it would set the list back, and the next one would tell.
    """
    _bump(zone)
    EdgeList.objects.filter(zone=zone, ca_cloudflare_id=ca_id).update(hostnames=sorted(hostnames))


@transaction.atomic
def store_own_rules(zone: Zone, ruleset: Ruleset | None) -> None:
    """Keep the rules as a write of ours left them, as `store_own_list` does a list."""
    _bump(zone)
    EdgeRules.objects.filter(zone=zone).update(
        ruleset_id=ruleset.id if ruleset else "",
        version=ruleset.version if ruleset else "",
        rules=[asdict(rule) for rule in rule_states(ruleset)],
        changed_at=timezone.now(),
    )


def _own_rules(rules: Iterable[RuleState]) -> list[Own]:
    """Our rules in the order of evaluation."""
    return [(rule.ref, words_of(rule)) for rule in rules if is_ours(rule)]


def _named(rules: list[Own]) -> list[dict[str, object]]:
    return [
        {"ref": ref, "action": action, "expression": expression, "enabled": enabled}
        for ref, (action, expression, enabled) in rules
    ]


def revision_key(zone: Zone, part: str) -> str:
    """Names one edge list (by its CA's Cloudflare id) or a zone's rules in a plan's revisions."""
    return f"{zone.pk}/{part}"


def _outdate(zone: Zone, key: str, revision: int, reason: str) -> None:
    for plan in plans_in_play(zone):
        moved = key in plan.revisions and plan.revisions[key] != revision
        if moved and not is_under_way(plan.request, zone):
            put_out_of_date(by=WORKER, plan=plan, reason=reason)


def _name_drift(zone: Zone, observed: ObservedZone, keys: dict[str, str]) -> None:
    now = timezone.now()
    found = {(d.kind, d.ca, d.hostname): d.detail for d in drift(desired_zone(zone), observed)}
    known = {(row.kind, _drift_key(row, keys), row.hostname): row for row in _open_drift(zone)}
    by_key = {ca.fingerprint: ca for ca in zone.account.cas.exclude(state="deleted")}
    for identity, detail in found.items():
        kind, key, hostname = identity
        if row := known.pop(identity, None):
            if row.detail != detail:
                # What was set aside is something else now.
                row.ignores.filter(ended_at=None).update(ended_at=now)
            # A CA may have been adopted since the difference was first seen.
            if (row.detail, row.ca) != (detail, by_key.get(key)):
                Drift.objects.filter(pk=row.pk).update(detail=detail, ca=by_key.get(key))
            continue
        Drift.objects.create(
            zone=zone, ca=by_key.get(key), ca_cloudflare_id=keys.get(key, ""), hostname=hostname, kind=kind,
            detail=detail, first_seen_at=now, last_seen_at=now,
        )  # fmt: skip
        _tell_drift(zone, "drift:found", kind, hostname, keys.get(key, ""))
    for row in known.values():
        Drift.objects.filter(pk=row.pk).update(resolved_at=now)
        _tell_drift(zone, "drift:resolved", row.kind, row.hostname, row.ca_cloudflare_id)
    # All at once: an account that nobody has adopted yet differs in thousands of hostnames at each reading.
    Drift.objects.filter(zone=zone, resolved_at=None).update(last_seen_at=now)


def _open_drift(zone: Zone) -> list[Drift]:
    return list(Drift.objects.filter(zone=zone, resolved_at=None).select_related("ca"))


def _drift_key(row: Drift, keys: dict[str, str]) -> str:
    if row.ca is not None:
        return row.ca.fingerprint
    return next((key for key, ca_id in keys.items() if ca_id == row.ca_cloudflare_id), "")


def _tell_drift(zone: Zone, action: str, kind: str, hostname: str, ca_id: str) -> None:
    record(
        by=WORKER,
        action=action,
        subject=("hostname", hostname, hostname),
        account=zone.account_id,
        zone=zone.name,
        hostnames=[hostname],
        details={"kind": kind, "ca_cloudflare_id": ca_id},
    )
