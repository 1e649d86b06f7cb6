"""Storing what a read showed, and saying who changed it: we, or somebody else.

A list that differs from the last read is ours if an open plan explains it (it was about to be sent, or was sent and
its answer lost); otherwise somebody changed it outside the portal. Then its revision rises, plans built on the older
revision are put out of date, and the audit log keeps both lists. Nothing is written to the edge here.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from apps.audit.services import record
from apps.cloudflare.rules import Ruleset
from apps.coverage.approved import settle_zone
from apps.coverage.models import CoverageRequest
from apps.coverage.moves import lock_open_requests
from apps.coverage.progress_services import outdate_plan
from apps.coverage.selectors import desired_zone, plans_in_play
from apps.errors import PortalError, Unsafe
from apps.identity.actors import Actor
from apps.inventory.models import EdgeList, EdgeRules, Zone
from apps.planning.diff import unfinished
from apps.planning.drift import drift
from apps.planning.rule import is_ours
from apps.planning.seen import edge_modes
from apps.planning.state import ObservedZone, RuleState
from apps.reconcile.edge import Observation, rule_states
from apps.reconcile.foreign import notice_foreign_writer, notice_other_installation, undoes_ours
from apps.reconcile.history import keep_history
from apps.reconcile.lock_outs import name_lock_outs
from apps.reconcile.models import Drift, Plan

WORKER = Actor.portal("worker")


class Overtaken(PortalError):
    """The zone changed while it was read, by a write of ours or in a later reading. Storing would set it back."""

    category = "conflict"


@transaction.atomic
def store_observation(zone: Zone, observation: Observation, keys: dict[str, str]) -> list[CoverageRequest]:
    """Keep one complete read, name foreign changes and drift, settle what it proves. Returns requests that ended.

    Raises Overtaken, and stores nothing, when something newer is known already.
    """
    # Requests first and the audit log's head last, as decisions do it: any other order could deadlock with them. New
    # rows that name the zone need its key meanwhile.
    lock_open_requests(zone)
    current = Zone.objects.select_for_update(no_key=True).get(pk=zone.pk).edge_revision
    if observation.revision not in {None, current}:
        raise Overtaken(f"{zone.name} changed while it was read. Nothing was stored. Read it again.")
    open_plans = list(Plan.objects.filter(zone=zone, state__in=Plan.OPEN))
    observed = observation.zone
    for key, ca_id in keys.items():
        _store_list(zone, key, ca_id, observed.lists[key], _explained(open_plans, key), observation.read_at)
    EdgeList.objects.filter(zone=zone).exclude(ca_cloudflare_id__in=list(keys.values())).delete()
    _store_rules(zone, observed, _rules_explained(open_plans), observation.read_at)
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
    try:
        return unfinished(desired_zone(zone), observed)
    except Unsafe:
        # The approved rules cannot be written at all: planning says so, a read goes on.
        return frozenset()


def _explained(plans: list[Plan], key: str) -> list[frozenset[str]]:
    """The lists that open plans of ours may leave behind for this CA."""
    found = []
    for plan in plans:
        for step in plan.document.get("steps", []):
            if step["kind"] == "replace_list" and step["ca"] == key:
                found += [frozenset(step["before"]), frozenset(step["after"])]
    return found


def _rules_explained(plans: list[Plan]) -> bool:
    kinds = {step["kind"] for plan in plans for step in plan.document.get("steps", [])}
    return bool(kinds & {"add_rule", "edit_rule", "delete_rule"})


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


def _store_rules(zone: Zone, observed: ObservedZone, explained: bool, read_at: datetime) -> None:
    fresh = [asdict(rule) for rule in observed.rules]
    values = {"ruleset_id": observed.ruleset_id or "", "version": observed.ruleset_version or "", "rules": fresh}
    row = EdgeRules.objects.select_for_update().filter(zone=zone).first()
    if row is None:
        EdgeRules.objects.create(zone=zone, read_at=read_at, changed_at=read_at, **values)
        return
    before, after = _own_rules(row.rules), _own_rules(fresh)
    if before != after:
        row.changed_at = read_at
        _bump(zone)
        if not explained:
            row.foreign_revision += 1
            subject = ("zone", zone.pk, zone.name)
            record(
                by=WORKER, action="edge:rule_changed_outside", subject=subject, account=zone.account_id, zone=zone.name,
                before={"rules": before}, after={"rules": after},
            )  # fmt: skip
    row.ruleset_id, row.version, row.rules, row.read_at = *values.values(), read_at
    row.save()
    _outdate(
        zone, revision_key(zone, "rules"), row.foreign_revision, "Our block rule changed after this plan was built."
    )


def store_own_rules(zone: Zone, ruleset: Ruleset | None) -> None:
    """Keep the rules as a write of ours left them, so that the next read does not take our change for a foreign one."""
    EdgeRules.objects.filter(zone=zone).update(
        ruleset_id=ruleset.id if ruleset else "",
        version=ruleset.version if ruleset else "",
        rules=[asdict(rule) for rule in rule_states(ruleset)],
        changed_at=timezone.now(),
    )


def _own_rules(rules: list[dict[str, Any]]) -> list[dict[str, object]]:
    kept = ("ref", "action", "expression", "enabled")
    return [{name: rule[name] for name in kept} for rule in rules if is_ours(RuleState(**rule))]


def revision_key(zone: Zone, part: str) -> str:
    """Names one edge list (by its CA's Cloudflare id) or a zone's rules in a plan's revisions."""
    return f"{zone.pk}/{part}"


def _outdate(zone: Zone, key: str, revision: int, reason: str) -> None:
    for plan in plans_in_play(zone):
        if key in plan.revisions and plan.revisions[key] != revision:
            outdate_plan(by=WORKER, plan_id=plan.pk, reason=reason)


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
            Drift.objects.filter(pk=row.pk).update(last_seen_at=now, detail=detail, ca=by_key.get(key))
            continue
        Drift.objects.create(
            zone=zone, ca=by_key.get(key), ca_cloudflare_id=keys.get(key, ""), hostname=hostname, kind=kind,
            detail=detail, first_seen_at=now, last_seen_at=now,
        )  # fmt: skip
        _tell_drift(zone, "drift:found", kind, hostname, keys.get(key, ""))
    for row in known.values():
        Drift.objects.filter(pk=row.pk).update(resolved_at=now)
        _tell_drift(zone, "drift:resolved", row.kind, row.hostname, row.ca_cloudflare_id)


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
