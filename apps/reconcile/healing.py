"""Putting back what is approved and missing, where an account is set to heal: additions to lists and nothing else.

Never a removal, never what is unexpected, never a rule. What one read lacks may be a lag, so two reads have to agree;
and two writers must not fight without end, so a list is healed at most three times an hour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from apps.audit.models import AuditEvent
from apps.audit.services import record
from apps.inventory.models import Account, Zone
from apps.inventory.selectors import served_elsewhere
from apps.inventory.watermark import last_restore
from apps.outbox.clock import database_now
from apps.planning.diff import put_back
from apps.planning.plan import Plan as PurePlan
from apps.planning.state import DesiredZone
from apps.reconcile.differences import drift_open
from apps.reconcile.edge import Observation
from apps.reconcile.models import Drift, Plan
from apps.reconcile.observe import WORKER

AT_MOST = 3
WITHIN = timedelta(hours=1)


def healing_plan(zone: Zone, keys: Mapping[str, str], desired: DesiredZone, observation: Observation) -> PurePlan:
    """What the sweep may put back in this zone now; a plan without steps when nothing, or not allowed."""
    rows = _missing(zone, observation) if zone.account.heal_missing else []
    by_id = {ca_id: key for key, ca_id in keys.items()}
    pairs = {(by_id[row.ca_cloudflare_id], row.hostname) for row in rows if row.ca_cloudflare_id in by_id}
    spent = _healed(zone)
    for key in sorted({key for key, _ in pairs if spent[key] >= AT_MOST}):
        _tell_stopped(zone, keys[key])
    return put_back(desired, observation.zone, frozenset(pair for pair in pairs if spent[pair[0]] < AT_MOST))


def _missing(zone: Zone, observation: Observation) -> list[Drift]:
    """Missing in an earlier read too, not set aside by a person, and not served by a longer zone since.

    What was missing when writes were let go after a restored backup may be gone by an approval that is lost.
    """
    rows = drift_open(zone.account, kind=Drift.Kind.MISSING, zone=str(zone.pk))
    rows = rows.filter(first_seen_at__lt=observation.read_at)
    if (stop := last_restore()) and stop.lifted_at:
        rows = rows.filter(first_seen_at__gt=stop.lifted_at)
    found = list(rows)
    # There it would check nobody, and Cloudflare may refuse the list for it.
    elsewhere = served_elsewhere(zone, [row.hostname for row in found])
    return [row for row in found if row.hostname not in elsewhere]


def _healed(zone: Zone) -> Counter[str]:
    """How often each CA's list was healed within the hour, whatever came of it."""
    plans = Plan.objects.filter(zone=zone, healing=True, created_at__gt=database_now() - WITHIN)
    return Counter(step["ca"] for plan in plans for step in plan.document["steps"] if step["kind"] == "replace_list")


def _tell_stopped(zone: Zone, ca_id: str) -> None:
    """Once an hour, in the audit log; the drift page says it as long as it is so."""
    since = database_now() - WITHIN
    told = AuditEvent.objects.filter(action="healing:stopped", subject_id=str(zone.pk), at__gt=since)
    if any(event.details.get("ca_cloudflare_id") == ca_id for event in told):
        return
    record(
        by=WORKER, action="healing:stopped", subject=("zone", zone.pk, zone.name), account=zone.account_id,
        zone=zone.name, details={"ca_cloudflare_id": ca_id, "healed": AT_MOST},
        reason="Somebody else keeps changing this list.",
    )  # fmt: skip


def fought_over(account: Account) -> list[tuple[Zone, str]]:
    """(Zone, Cloudflare id of the CA) lists with something missing that healing has given up on for now."""
    if not account.heal_missing:
        return []
    found: dict[tuple[str, str], Zone] = {}
    for row in drift_open(account, kind=Drift.Kind.MISSING):
        if row.ca and _healed(row.zone)[row.ca.fingerprint] >= AT_MOST:
            found[(row.zone.name, row.ca_cloudflare_id)] = row.zone
    return [(zone, ca_id) for (_, ca_id), zone in sorted(found.items())]
