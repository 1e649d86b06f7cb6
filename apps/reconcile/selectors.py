"""Reading the merged state: rows, one hostname, drift, changes, and how fresh all of it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Prefetch
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.coverage.closing_services import can_be_called_off
from apps.coverage.models import Association, CoverageRequest
from apps.coverage.states import OPEN, UNDECIDED
from apps.errors import NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.inventory.holds import Hold, Holds
from apps.inventory.models import Account
from apps.inventory.selectors import zones_of
from apps.planning.hostnames import HostnameRefused, canonical, zone_of
from apps.reconcile.differences import drift_open as drift_open
from apps.reconcile.labels import ca_labels
from apps.reconcile.models import Plan, PlanStep
from apps.reconcile.row_types import Column as Column
from apps.reconcile.row_types import HostnameRow
from apps.reconcile.rows import build_rows, empty_row
from apps.reconcile.rows import columns as columns
from apps.reconcile.sent import has_left

STALE_AFTER = timedelta(minutes=15)
HISTORY_LENGTH = 50


@dataclass(frozen=True)
class Freshness:
    """How old the oldest read among an account's zones is, and since when reading fails."""

    read_at: datetime | None
    failing_since: datetime | None
    error: str
    stale: bool


@dataclass(frozen=True)
class HostnameDetail:
    """One hostname's page: its row, its approvals, its history, and rules of others that run before ours."""

    row: HostnameRow
    associations: tuple[Association, ...]
    history: tuple[AuditEvent, ...]
    rules_ahead: tuple[str, ...]


def hostname_rows(
    account: Account,
    *,
    q: str = "",
    zone: str = "",
    ca: str = "",
    answer: str = "",
    owner: str = "",
    sort: str = "",
) -> list[HostnameRow]:
    """Rows that match every given filter. `sort` is hostname, answer, changed or zone, with `-` for descending."""
    rows: Iterable[HostnameRow] = build_rows(account)
    if q:
        rows = [row for row in rows if q.strip().lower() in row.hostname]
    if zone:
        rows = [row for row in rows if zone in {row.zone.name, str(row.zone.pk), row.zone.cloudflare_id}]
    if ca:
        rows = [
            row for row in rows if any(_is_ca(cell.key, cell.ca, ca) and cell.state != "none" for cell in row.cells)
        ]
    if answer:
        rows = [row for row in rows if row.answer == answer]
    if owner:
        rows = [row for row in rows if row.owner and owner in {row.owner.slug, str(row.owner.pk)}]
    return _sorted(list(rows), sort)


def _is_ca(key: str, ca: object, wanted: str) -> bool:
    return wanted == key or (ca is not None and wanted == str(getattr(ca, "pk", "")))


def _sorted(rows: list[HostnameRow], sort: str) -> list[HostnameRow]:
    never = datetime.min.replace(tzinfo=timezone.get_default_timezone())
    keys = {
        "hostname": lambda row: row.hostname,
        "answer": lambda row: row.answer,
        "changed": lambda row: row.changed_at or never,
        "zone": lambda row: (row.zone.name, row.hostname),
    }
    key = keys.get(sort.lstrip("-"))
    return sorted(rows, key=key, reverse=sort.startswith("-")) if key else rows


def tallies(rows: Iterable[HostnameRow]) -> dict[str, int]:
    """How many rows have each answer."""
    return dict(Counter(row.answer for row in rows))


def hostname_detail(account: Account, fqdn: str) -> HostnameDetail:
    """Raises NotFound when no zone of the account holds the name."""
    try:
        hostname = canonical(fqdn)
    except HostnameRefused as error:
        raise NotFound(f"{fqdn} is no hostname. {error.message}") from None
    zones = {zone.name: zone for zone in zones_of(account).select_related("account")}
    # One that is not active yet serves nothing.
    active = [zone.name for zone in zones.values() if zone.status == "active"]
    zone = zones.get(zone_of(hostname, active) or zone_of(hostname, zones) or "")
    rows = build_rows(account, only=[hostname])
    if zone is None and not rows:
        raise NotFound(f"No zone in {account} holds {hostname}. Check the spelling or pick another account.")
    # What stands in a shorter zone is told where nothing stands in the one that serves it.
    rows.sort(key=lambda row: row.zone != zone)
    row = rows[0] if rows or zone is None else empty_row(account, zone, hostname)
    associations = Association.objects.filter(zone=row.zone, hostname=hostname).select_related(
        "ca", "owner_team", "request"
    )
    return HostnameDetail(
        row=row,
        associations=tuple(associations.order_by("ca__live_at")),
        history=tuple(_history(hostname)),
        rules_ahead=row.bypasses,
    )


def _history(hostname: str) -> list[AuditEvent]:
    # The JSON text is searched for the quoted name, which both databases can do; the exact match is made here.
    events = AuditEvent.objects.filter(hostnames__icontains=f'"{hostname}"').order_by("-seq")[: HISTORY_LENGTH * 2]
    return [event for event in events if hostname in event.hostnames][:HISTORY_LENGTH]


def change_by_id(change_id: UUID | str) -> Plan:
    """Raises NotFound."""
    try:
        found = (
            Plan.objects.select_related("zone__account")
            .prefetch_related(Prefetch("steps", PlanStep.objects.order_by("position")))
            .filter(pk=change_id)
            .first()
        )
    except (ValidationError, ValueError):
        found = None
    if found is None:
        raise NotFound("No such change.")
    return found


def changes_of(request: CoverageRequest) -> list[Plan]:
    """Plans that carried this request to the edge, oldest first."""
    zones = request.hostnames.values("zone_id")
    plans = Plan.objects.filter(zone__in=zones).select_related("zone").order_by("number")
    return [plan for plan in plans if request.pk in plan.request_ids]


def attempts_of(change: Plan) -> list[Plan]:
    """Changes of the same zone that carried any of the same requests, this one included, oldest first."""
    ids = set(change.request_ids)
    rows = Plan.objects.filter(zone=change.zone).order_by("number")
    return [plan for plan in rows if ids & set(plan.request_ids)]


def resulting_lists(change: Plan) -> list[dict[str, Any]]:
    """Each list that the change sends, whole: ca, ca_name, before, after, adds, removes.

    A plan may send one list twice, additions first and removals last: the first before and the last after count.
    """
    labels = ca_labels(change.zone.account)
    lists: dict[str, dict[str, Any]] = {}
    for step in change.steps.all():
        if step.kind == "replace_list":
            key = step.document["ca"]
            row = lists.setdefault(
                key, {"ca": key, "ca_name": labels.get(key, key[:12]), "before": step.document["before"]}
            )
            row["after"] = step.document["after"]
    for row in lists.values():
        before, after = set(row["before"]), set(row["after"])
        row["adds"], row["removes"] = sorted(after - before), sorted(before - after)
    return list(lists.values())


def hold_on_request(request: CoverageRequest) -> Hold | None:
    """What keeps an open request from the edge: the hold, among those on its zones, that lasts longest."""
    if request.state not in OPEN:
        return None
    holds = Holds(request.account)
    zones = set(request.hostnames.values_list("zone_id", flat=True))
    found = [hold for zone_id in zones if (hold := holds.on_zone(zone_id))]
    endless = next((hold for hold in found if hold.until is None), None)
    return endless or max(found, key=lambda hold: hold.until or timezone.now(), default=None)


def may_call_off(actor: Actor, request: CoverageRequest) -> str:
    """How this person may stop the request now: `withdraw`, `cancel`, or not at all."""
    mine = actor.person is not None and actor.person.pk == request.requested_by_id
    if request.state in UNDECIDED:
        return "withdraw" if mine else ""
    if not (mine or actor.may(Permission.REQUEST_APPROVE)) or not can_be_called_off(request, has_left):
        return ""
    return "withdraw" if mine else "cancel"


def edge_freshness(account: Account) -> Freshness:
    """From the zone that was read longest ago: the page may not look fresher than its oldest part."""
    zones = list(zones_of(account))
    reads = [zone.read_at for zone in zones]
    read_at = min((read for read in reads if read), default=None) if zones and all(reads) else None
    failing = [zone.failing_since for zone in zones if zone.failing_since]
    if account.failing_since:
        failing.append(account.failing_since)
    error = account.last_error or next((zone.last_error for zone in zones if zone.last_error), "")
    stale = read_at is None or timezone.now() - read_at > STALE_AFTER
    return Freshness(read_at, min(failing, default=None), error, stale)
