"""What a complete read of the edge settles of the approved state, and the requests that end with it.

Called inside the transaction of a service, never on its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from apps.audit.services import record
from apps.authorities.states import CaState
from apps.coverage.approved import end_record
from apps.coverage.models import Association, CoverageRequest, Enforcement, Kind, ModeChoice, RequestHostname
from apps.coverage.moves import move_request, record_request
from apps.coverage.states import FAILED, IN_FLIGHT, RequestState
from apps.identity.actors import Actor
from apps.inventory.models import Zone

# Request -> hostnames of which a read shows for the first time what it wants.
Shown = defaultdict[int | None, set[str]]


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
    on its way to accepting its CAs. What a failed request asked for and the edge shows only now counts for it, too.
    Returns the requests that ended.
    """
    shown: Shown = defaultdict(set)
    rows = list(Association.objects.filter(zone=zone).select_related("ca"))
    holders = Counter(row.hostname for row in rows)
    live = []
    for row in rows:
        at_edge = row.hostname in lists.get(row.ca.fingerprint, frozenset())
        # Cloudflare has no list for a CA that is gone, so nothing of it can be read, and nothing is left to remove.
        was_read = row.ca.fingerprint in lists or row.ca.state in {CaState.GONE, CaState.DELETED}
        if row.state == Association.State.RELEASING and not at_edge and was_read:
            if holders[row.hostname] > 1 or row.hostname not in enforced:
                holders[row.hostname] -= 1
                shown[row.release_request_id].add(row.hostname)
                end_record(zone, row.ca, row.hostname)
                row.delete()
        elif (
            row.state == Association.State.APPROVED
            and at_edge
            and row.live_at is None
            and row.hostname not in unfinished
        ):
            live.append(row.pk)
            shown[row.request_id].add(row.hostname)
    _settle(Association.objects.filter(zone=zone, live_at=None), live)
    modes = [
        mode
        for mode in Enforcement.objects.filter(zone=zone, live_at=None)
        if enforced.get(mode.hostname, ModeChoice.VERIFY) == mode.mode and mode.hostname not in unfinished
    ]
    for mode in modes:
        shown[mode.request_id].add(mode.hostname)
    _settle(Enforcement.objects.filter(zone=zone, live_at=None), [mode.pk for mode in modes], settled_mode=F("mode"))
    _drop_orphan_modes(zone)
    return _close_requests(by, zone, shown)


def _settle(rows: QuerySet[Any, Any], keys: list[int], **values: Any) -> None:
    """Keep that a read has shown them, in one statement: every sweep comes by, and a zone may hold thousands."""
    if keys:
        rows.filter(pk__in=keys).update(live_at=timezone.now(), **values)


def _drop_orphan_modes(zone: Zone) -> None:
    kept = Association.objects.filter(zone=zone).values("hostname")
    Enforcement.objects.filter(zone=zone).exclude(hostname__in=kept).delete()


def _close_requests(by: Actor, zone: Zone, shown: Shown) -> list[CoverageRequest]:
    closed = []
    here = RequestHostname.objects.filter(zone=zone).values("request_id")
    # Of a failed one only what is still its own to bring there: a later decision may have taken the rest over.
    late = Q(pk__in=list(shown), state__in=FAILED, kind__in=(Kind.COVER, Kind.UNCOVER))
    for request in CoverageRequest.objects.select_for_update().filter(Q(pk__in=here, state__in=IN_FLIGHT) | late):
        failed = request.state in FAILED
        pending = request.hostnames.filter(zone=zone, result=RequestHostname.Result.PENDING)
        reached = _reached(request, zone)
        names = [row for row in pending if not failed or row.hostname in shown[request.pk]]
        done = [row.pk for row in names if reached(row.hostname)]
        pending.filter(pk__in=done).update(result=RequestHostname.Result.DONE)
        if failed and not done:
            continue
        if not request.hostnames.filter(result=RequestHostname.Result.PENDING).exists():
            finish(by, request)
            closed.append(request)
        elif request.state == RequestState.FAILED:
            before = {"state": request.state}
            move_request(request, RequestState.PARTLY_DONE, why=request.state_reason)
            record_request(by, "request:part_shown", request, before=before, after={"state": request.state})
    return closed


def _reached(request: CoverageRequest, zone: Zone) -> Callable[[str], bool]:
    """Tells of a hostname of the zone whether the last read has shown what the request is for."""
    associations = dict(Association.objects.filter(zone=zone, ca=request.ca).values_list("hostname", "live_at"))
    if request.kind == Kind.UNCOVER:
        return lambda hostname: hostname not in associations
    shown = dict(Enforcement.objects.filter(zone=zone).values_list("hostname", "live_at"))
    if request.kind in {Kind.BREAK_GLASS, Kind.RETURN}:
        # They ask for a mode, under whatever CA. Without an approved mode there is none to wait for.
        return lambda hostname: hostname not in shown or shown[hostname] is not None
    modes = {hostname for hostname, live_at in shown.items() if live_at is not None}
    if request.kind == Kind.ISSUERS:
        # A hostname that left the CA meanwhile has no rule that could be pinned to its issuers.
        return lambda hostname: (
            hostname not in associations or (associations[hostname] is not None and hostname in modes)
        )
    return lambda hostname: associations.get(hostname) is not None and hostname in modes


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
        hostnames=request.hostnames.filter(result=RequestHostname.Result.DONE).values_list("hostname", flat=True),
        before=before,
        after={"state": request.state},
        correlation_id=request.correlation_id,
    )
