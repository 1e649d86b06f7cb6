"""The approved state: what an approval writes, what voiding it takes back, and what a read of the edge settles.

Called inside the transaction of a service, never on its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from django.utils import timezone

from apps.audit.services import record
from apps.authorities.models import CertificateAuthority
from apps.authorities.services import store_issuers
from apps.authorities.states import CaState
from apps.coverage.models import (
    Association,
    AssociationRecord,
    CoverageRequest,
    Enforcement,
    Kind,
    ModeChoice,
    RequestHostname,
)
from apps.coverage.states import IN_FLIGHT, RequestState
from apps.coverage.verdicts import STRICTNESS
from apps.identity.actors import Actor
from apps.identity.models import Team
from apps.inventory.models import Zone


def write(request: CoverageRequest, *, by_label: str) -> list[str]:
    """Turn an approved request into approved state. Returns its hostnames."""
    if request.kind in {Kind.ISSUERS, Kind.RESTORE}:
        # Asked for again after a failure, the whole of it is to be done again.
        request.hostnames.update(result=RequestHostname.Result.PENDING)
    rows = list(request.hostnames.select_related("zone"))
    if request.kind == Kind.ISSUERS:
        _change_issuers(request, rows)
    for row in rows if request.kind != Kind.ISSUERS else ():
        if request.kind == Kind.UNCOVER:
            _release(request, row)
        elif request.kind == Kind.RESTORE:
            _unsettle(request, row)
        else:
            _approve(request, row, by_label)
    return [row.hostname for row in rows]


def _approve(request: CoverageRequest, row: RequestHostname, by_label: str) -> None:
    values = {
        "state": Association.State.APPROVED,
        "request": request,
        "release_request": None,
        "owner_team": _owner_of(row) or request.team,
        "approved_at": timezone.now(),
        "approved_by_label": by_label,
    }
    rows = Association.objects.select_related("request")
    existing = rows.filter(zone=row.zone, ca=request.ca, hostname=row.hostname).first()
    # What a failed request left behind is held back with it: whoever asks again answers for it from now on.
    if existing is None or existing.state == Association.State.RELEASING or existing.is_held:
        _end_record(row.zone, request.ca, row.hostname)
        Association.objects.update_or_create(
            zone=row.zone, ca=request.ca, hostname=row.hostname, defaults={**values, "live_at": None}
        )
        AssociationRecord.objects.create(
            zone=row.zone, ca=request.ca, hostname=row.hostname, request=request, approved_at=timezone.now(),
            approved_by_label=by_label,
        )  # fmt: skip
    set_mode(request, row, mode_after(row.zone, row.hostname, request))


def bring_back(request: CoverageRequest, *, by_label: str) -> None:
    """Approve again what the request wanted and what is approved under no request any more."""
    if request.kind == Kind.UNCOVER:
        return
    for row in request.hostnames.exclude(result=RequestHostname.Result.DONE).select_related("zone"):
        if not Association.objects.filter(zone=row.zone, ca=request.ca, hostname=row.hostname).exists():
            _approve(request, row, by_label)


def _unsettle(request: CoverageRequest, row: RequestHostname) -> None:
    """What was approved is unfinished work again, until a read shows it. Who owns and approved it stays as it is."""
    here = Association.objects.filter(zone=row.zone, hostname=row.hostname, ca=request.ca)
    here.filter(state=Association.State.APPROVED).update(request=request, live_at=None)
    Enforcement.objects.filter(zone=row.zone, hostname=row.hostname).exclude(live_at=None).update(
        request=request, live_at=None
    )


def _settle_again(request: CoverageRequest) -> None:
    """Nobody sends it any more: what the edge lacks is a difference, as before the request."""
    Association.objects.filter(request=request, live_at=None).update(live_at=timezone.now())


def _change_issuers(request: CoverageRequest, rows: list[RequestHostname]) -> None:
    """The CA's known issuers are those asked for; each rule that is pinned to them is unfinished until it says so."""
    request.issuers_before = request.ca.issuers
    request.save(update_fields=["issuers_before"])
    store_issuers(request.ca_id, request.issuers or [])
    for row in rows:
        Enforcement.objects.filter(zone=row.zone, hostname=row.hostname).update(request=request, live_at=None)


def _owner_of(row: RequestHostname) -> Team | None:
    """Who owns the hostname by an earlier approval: a second CA does not change that, whoever asks for it."""
    owned = Association.objects.filter(zone=row.zone, hostname=row.hostname).exclude(owner_team=None)
    first = owned.select_related("owner_team").order_by("approved_at").first()
    return first.owner_team if first else None


def mode_after(zone: Zone, hostname: str, request: CoverageRequest) -> str:
    """The hostname's mode once the request holds. A second CA never weakens what the first one was approved with."""
    existing = Enforcement.objects.filter(zone=zone, hostname=hostname).select_related("request").first()
    here = Association.objects.filter(zone=zone, ca=request.ca, hostname=hostname, state=Association.State.APPROVED)
    on_this_ca = [row for row in here.exclude(request=request).select_related("request") if not row.is_held]
    if existing is None or on_this_ca:
        return request.mode
    return max(existing.mode_in_force, request.mode, key=STRICTNESS.__getitem__)


def set_mode(request: CoverageRequest, row: RequestHostname, mode: str) -> None:
    existing = Enforcement.objects.filter(zone=row.zone, hostname=row.hostname).select_related("request").first()
    if existing is None:
        Enforcement.objects.create(zone=row.zone, hostname=row.hostname, mode=mode, request=request)
    elif existing.mode != mode or existing.is_held:
        existing.mode, existing.request, existing.live_at = mode, request, None
        existing.save(update_fields=["mode", "request", "live_at"])


def _release(request: CoverageRequest, row: RequestHostname) -> None:
    here = Association.objects.filter(zone=row.zone, hostname=row.hostname)
    here.filter(ca=request.ca).update(state=Association.State.RELEASING, release_request=request)
    if not here.filter(state=Association.State.APPROVED).exists():
        set_mode(request, row, ModeChoice.VERIFY)


def take_back(request: CoverageRequest, *, keep: Collection[UUID] = ()) -> None:
    """Undo what an approval wrote, as far as the edge has not shown it yet, except in the zones to `keep`.

    Half a set of pins is no state to rest in, and what was not restored is drift still: of these nothing is kept.
    """
    if request.kind in {Kind.ISSUERS, Kind.RESTORE}:
        keep = ()
    if request.kind == Kind.ISSUERS and request.issuers_before is not None:
        store_issuers(request.ca_id, request.issuers_before)
        # Once: who closes the request afterwards must not undo what others were given since.
        request.issuers_before = None
        request.save(update_fields=["issuers_before"])
    if request.kind == Kind.RESTORE:
        _settle_again(request)
    fresh = Association.objects.filter(request=request, live_at=None, state=Association.State.APPROVED)
    fresh = fresh.exclude(zone__in=keep)
    for row in fresh.select_related("zone", "ca"):
        _end_record(row.zone, row.ca, row.hostname)
    fresh.delete()
    leaving = Association.objects.filter(release_request=request, state=Association.State.RELEASING)
    leaving.exclude(zone__in=keep).update(state=Association.State.APPROVED, release_request=None)
    for row in Enforcement.objects.filter(request=request, live_at=None).exclude(zone__in=keep):
        _restore_mode(row)


def _restore_mode(row: Enforcement) -> None:
    if not row.settled_mode:
        row.delete()
        return
    row.mode, row.live_at = row.settled_mode, timezone.now()
    row.save(update_fields=["mode", "live_at"])


def settle_zone(
    *,
    by: Actor,
    zone: Zone,
    lists: Mapping[str, frozenset[str]],
    enforced: Mapping[str, str],
    unfinished: frozenset[str] = frozenset(),
) -> list[CoverageRequest]:
    """Compare the approved state with one complete read, keep what it proves, close requests that are done.

    `lists` maps CA fingerprints to the hostnames at the edge; `enforced` maps hostnames to the mode of the rule of
    ours that names them. What a list or a rule shows of an `unfinished` hostname proves nothing yet: its rule is still
    on its way to accepting its CAs. Returns the requests that ended.
    """
    now = timezone.now()
    for row in Association.objects.filter(zone=zone).select_related("ca"):
        at_edge = row.hostname in lists.get(row.ca.fingerprint, frozenset())
        # Cloudflare has no list for a CA that is gone, so nothing of it can be read, and nothing is left to remove.
        was_read = row.ca.fingerprint in lists or row.ca.state in {CaState.GONE, CaState.DELETED}
        if row.state == Association.State.RELEASING and not at_edge and was_read:
            _finish_release(row, enforced)
        elif (
            row.state == Association.State.APPROVED
            and at_edge
            and row.live_at is None
            and row.hostname not in unfinished
        ):
            row.live_at = now
            row.save(update_fields=["live_at"])
    for mode in Enforcement.objects.filter(zone=zone, live_at=None):
        if enforced.get(mode.hostname, ModeChoice.VERIFY) == mode.mode and mode.hostname not in unfinished:
            mode.live_at, mode.settled_mode = now, mode.mode
            mode.save(update_fields=["live_at", "settled_mode"])
    _drop_orphan_modes(zone)
    return _close_requests(by, zone)


def _finish_release(row: Association, enforced: Mapping[str, str]) -> None:
    others = Association.objects.filter(zone=row.zone, hostname=row.hostname).exclude(pk=row.pk).exists()
    if others or row.hostname not in enforced:
        _end_record(row.zone, row.ca, row.hostname)
        row.delete()


def _end_record(zone: Zone, ca: CertificateAuthority, hostname: str) -> None:
    AssociationRecord.objects.filter(zone=zone, ca=ca, hostname=hostname, ended_at=None).update(ended_at=timezone.now())


def _drop_orphan_modes(zone: Zone) -> None:
    kept = Association.objects.filter(zone=zone).values_list("hostname", flat=True)
    Enforcement.objects.filter(zone=zone).exclude(hostname__in=list(kept)).delete()


def _close_requests(by: Actor, zone: Zone) -> list[CoverageRequest]:
    closed = []
    requests = CoverageRequest.objects.select_for_update().filter(
        pk__in=RequestHostname.objects.filter(zone=zone).values("request_id"), state__in=IN_FLIGHT
    )
    for request in requests:
        for row in request.hostnames.filter(zone=zone, result=RequestHostname.Result.PENDING):
            if _reached(request, row):
                row.result = RequestHostname.Result.DONE
                row.save(update_fields=["result"])
        if not request.hostnames.exclude(result=RequestHostname.Result.DONE).exists():
            finish(by, request)
            closed.append(request)
    return closed


def _reached(request: CoverageRequest, row: RequestHostname) -> bool:
    association = Association.objects.filter(zone=row.zone, ca=request.ca, hostname=row.hostname).first()
    if request.kind == Kind.UNCOVER:
        return association is None
    mode = Enforcement.objects.filter(zone=row.zone, hostname=row.hostname).first()
    return bool(association and association.live_at and mode and mode.live_at)


def finish(by: Actor, request: CoverageRequest) -> None:
    """End a request with nothing left to do."""
    before = {"state": request.state}
    request.state, request.state_reason, request.finished_at = RequestState.DONE.value, "", timezone.now()
    request.save(update_fields=["state", "state_reason", "finished_at"])
    record(
        by=by,
        action="request:completed",
        subject=("request", request.pk, str(request)),
        account=request.account_id,
        hostnames=request.hostnames.values_list("hostname", flat=True),
        before=before,
        after={"state": request.state},
        correlation_id=request.correlation_id,
    )
