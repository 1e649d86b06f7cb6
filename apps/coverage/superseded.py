"""What a later decision settled otherwise: a retry of an older request must not undo it.

A later request speaks for a hostname once the edge shows what it asked for, and while it is on its way there. One
that was given up speaks for nothing: what failed before it may be tried again.
"""

from __future__ import annotations

from django.db.models import Q

from apps.coverage.models import Association, CoverageRequest, Kind, RequestHostname
from apps.coverage.states import IN_FLIGHT, RequestState

# Kinds that decide whether a hostname is under a CA. Putting back, breaking the glass and its return do not.
DECIDING = (Kind.COVER, Kind.ADOPT, Kind.UNCOVER)
DONE, PENDING, FAILED = RequestHostname.Result.DONE, RequestHostname.Result.PENDING, RequestHostname.Result.FAILED


def set_superseded_aside(request: CoverageRequest) -> list[CoverageRequest]:
    """Close the hostnames of a failed request that were decided later, and open the others again.

    Returns who decided them when that leaves nothing of the request to try; otherwise nobody.
    """
    by_later: list[CoverageRequest] = []
    issuers = _later_issuers(request) if request.kind == Kind.ISSUERS else None
    for row in request.hostnames.exclude(result=DONE):
        later = issuers or _decided_later(request, row)
        if later is not None:
            row.result, row.note = FAILED, f"{later} decided this later, so it is not tried again."
            by_later.append(later)
        elif row.result == FAILED:
            row.result, row.note = PENDING, ""
        row.save(update_fields=["result", "note"])
    nothing_left = by_later and not request.hostnames.filter(result=PENDING).exists()
    return sorted(set(by_later), key=lambda later: later.pk) if nothing_left else []


def _later_issuers(request: CoverageRequest) -> CoverageRequest | None:
    """A CA has one set of known issuers, whatever hostnames its rules name."""
    later = CoverageRequest.objects.filter(kind=Kind.ISSUERS, ca=request.ca_id, decided_at__gt=request.decided_at)
    return later.filter(state__in=(RequestState.DONE, *IN_FLIGHT)).order_by("decided_at").last()


def _decided_later(request: CoverageRequest, row: RequestHostname) -> CoverageRequest | None:
    if request.kind == Kind.ISSUERS:
        return None
    same = RequestHostname.objects.filter(
        request__ca=request.ca_id, zone=row.zone_id, hostname=row.hostname,
        request__kind__in=DECIDING, request__decided_at__gt=request.decided_at,
    )  # fmt: skip
    stands = same.filter(Q(result=DONE) | Q(result=PENDING, request__state__in=IN_FLIGHT))
    if found := stands.select_related("request").order_by("request__decided_at").last():
        return found.request
    return _approved_since(request, row) if request.kind == Kind.UNCOVER else None


def _approved_since(removal: CoverageRequest, row: RequestHostname) -> CoverageRequest | None:
    """Who approved again what the removal was to take away, and may be retried itself."""
    again = Association.objects.filter(
        zone=row.zone_id, ca=removal.ca_id, hostname=row.hostname, state=Association.State.APPROVED,
        approved_at__gt=removal.decided_at,
    )  # fmt: skip
    here = again.select_related("request").first()
    return here.request if here else None
