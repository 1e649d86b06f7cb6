"""The approved state: what an approval writes, and what voiding it takes back. `settling.py` has what a read settles.

Called inside the transaction of a service, never on its own.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.services import store_issuers
from apps.coverage.models import (
    Association,
    AssociationRecord,
    BreakGlass,
    CoverageRequest,
    Enforcement,
    Kind,
    ModeChoice,
    RequestHostname,
)
from apps.coverage.states import IN_FLIGHT
from apps.coverage.verdicts import STRICTNESS
from apps.identity.models import Team
from apps.inventory.models import Zone


def write(request: CoverageRequest, *, by_label: str) -> list[str]:
    """Turn an approved request into approved state. Returns its hostnames."""
    # What a retry left to a later decision is decided anew here.
    request.hostnames.filter(result=RequestHostname.Result.FAILED).update(
        result=RequestHostname.Result.PENDING, note=""
    )
    if request.kind == Kind.ISSUERS:
        # Asked for again after a failure, they are so in every zone.
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
        end_record(row.zone, request.ca, row.hostname)
        Association.objects.update_or_create(
            zone=row.zone, ca=request.ca, hostname=row.hostname, defaults={**values, "live_at": None}
        )
        AssociationRecord.objects.create(
            zone=row.zone, ca=request.ca, hostname=row.hostname, request=request, approved_at=timezone.now(),
            approved_by_label=by_label,
        )  # fmt: skip
    _bring_to_mode(request, row)


def _bring_to_mode(request: CoverageRequest, row: RequestHostname) -> None:
    mode = mode_after(row.zone, row.hostname, request)
    set_mode(request, row, mode)
    if _decides_mode(row.zone, row.hostname, request):
        # A glass that is broken to the same mode does not return: this was approved to stay.
        glass = Enforcement.objects.filter(zone=row.zone, hostname=row.hostname, request__kind=Kind.BREAK_GLASS)
        glass.filter(mode=mode).update(request=request)


def leave_to_glass(request: CoverageRequest) -> None:
    """A glass that is broken to the mode of a request that fails goes to the edge without it, and returns."""
    broken = BreakGlass.objects.filter(zone__requesthostname__request=request, ended_at=None)
    for row in Enforcement.objects.filter(request=request, live_at=None, hostname__in=broken.values("hostname")):
        glass = _glass_request(row)
        if glass is not None and glass.mode == row.mode:
            Enforcement.objects.filter(pk=row.pk).update(request=glass)


def bring_back(request: CoverageRequest, *, by_label: str) -> None:
    """Write again what the request wanted and what a later one took over and gave up."""
    for row in request.hostnames.filter(result=RequestHostname.Result.PENDING).select_related("zone"):
        here = Association.objects.filter(zone=row.zone, ca=request.ca, hostname=row.hostname)
        if request.kind == Kind.UNCOVER:
            if here.filter(state=Association.State.APPROVED).exists():
                _release(request, row)
        elif request.kind == Kind.RESTORE:
            _unsettle(request, row)
        elif not here.exists():
            _approve(request, row, by_label)
        elif _mode_was_taken(request, row):
            _bring_to_mode(request, row)


def _mode_was_taken(request: CoverageRequest, row: RequestHostname) -> bool:
    """Whether the hostname left the last CA that held it meanwhile, and the mode with it; or a glass took the mode that
    the request decides."""
    mode = Enforcement.objects.filter(zone=row.zone, hostname=row.hostname).select_related("request").first()
    if mode is None:
        return False
    glass = mode.request.kind in {Kind.BREAK_GLASS, Kind.RETURN}
    return mode.request.kind == Kind.UNCOVER or (glass and _decides_mode(row.zone, row.hostname, request))


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
    if existing is None or _decides_mode(zone, hostname, request):
        return request.mode
    return max(existing.mode_in_force, request.mode, key=STRICTNESS.__getitem__)


def _decides_mode(zone: Zone, hostname: str, request: CoverageRequest) -> bool:
    """Whether the request changes the mode of a hostname that its CA covers already."""
    here = Association.objects.filter(zone=zone, ca=request.ca, hostname=hostname, state=Association.State.APPROVED)
    return any(not row.is_held for row in here.exclude(request=request).select_related("request"))


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
    # What a failed request has not brought to the edge keeps no rule there.
    kept = here.filter(state=Association.State.APPROVED).select_related("request")
    if all(other.is_held for other in kept):
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
        end_record(row.zone, row.ca, row.hostname)
    fresh.delete()
    leaving = Association.objects.filter(release_request=request, state=Association.State.RELEASING)
    leaving.exclude(zone__in=keep).update(state=Association.State.APPROVED, release_request=None)
    for row in Enforcement.objects.filter(request=request, live_at=None).exclude(zone__in=keep):
        _restore_mode(row)


def _restore_mode(row: Enforcement) -> None:
    if glass := _glass_request(row):
        # The hostname was the glass's before, and is again: as long as it lasts, and on its way back.
        row.mode, row.request = glass.mode, glass
        row.live_at = timezone.now() if row.settled_mode == glass.mode else None
        row.save(update_fields=["mode", "request", "live_at"])
        return
    if not row.settled_mode:
        row.delete()
        return
    row.mode, row.live_at = row.settled_mode, timezone.now()
    row.save(update_fields=["mode", "live_at"])


def _glass_request(row: Enforcement) -> CoverageRequest | None:
    """What a broken glass asks of this hostname: log while it lasts, block until its return has reached the edge."""
    glasses = BreakGlass.objects.filter(zone=row.zone, hostname=row.hostname).select_related(
        "request", "return_request"
    )
    broken = glasses.filter(Q(ended_at=None) | Q(return_request__state__in=IN_FLIGHT)).order_by("-pk").first()
    return (broken.return_request or broken.request) if broken else None


def end_record(zone: Zone, ca: CertificateAuthority, hostname: str) -> None:
    """Keep since when the association holds no more."""
    AssociationRecord.objects.filter(zone=zone, ca=ca, hostname=hostname, ended_at=None).update(ended_at=timezone.now())
