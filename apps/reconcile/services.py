"""What people and the API ask of the reconciler: submit, plan again, call off, retry."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.states import CaState
from apps.cloudflare.errors import CloudflareError, Unauthorized, Unreachable
from apps.coverage.closing_services import cancel_request, withdraw_request
from apps.coverage.issuer_changes import create_issuers_request, name_ruled_hostnames
from apps.coverage.models import CoverageRequest, Kind, RequestPlan
from apps.coverage.moves import locked_request
from apps.coverage.progress_services import put_off_planning, retry_requests
from apps.coverage.rotation_services import request_overlap, request_release
from apps.coverage.selectors import desired_with, request_by_id
from apps.coverage.services import create_request
from apps.coverage.services import store_plan as store_request_plan
from apps.coverage.states import UNDECIDED, RequestState
from apps.errors import Conflict, EdgeFault, NotFound, PortalError, Unsafe
from apps.identity.actors import Actor
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.inventory.budget.gate import Purpose
from apps.inventory.credentials import CredentialUnreadable
from apps.inventory.models import Zone
from apps.inventory.services import store_zone_failure
from apps.planning.diff import diff
from apps.reconcile.dry_run import NOT_TRIED, Trial, trial_of, tried_steps
from apps.reconcile.edge import EdgeClient, Observation, ca_keys, client_for, read_zone, revision_of
from apps.reconcile.faults import held_back_s
from apps.reconcile.observe import WORKER, Overtaken, store_observation
from apps.reconcile.preview import document_digest, request_document, revisions_of
from apps.reconcile.sent import has_left
from apps.reconcile.stored_readings import stored_reading

log = structlog.get_logger(__name__)


class TakesLonger(EdgeFault):
    """A request has more zones than one try can read. What was read is kept for the next one."""


READ_TRIES = 3
# A plan is made from what was read since it was wanted, and this long ago at most.
REUSED_FOR = timedelta(hours=1)
# With the account's own run before it, and the last zone's reading after it, this stays below a task's time limit.
PLAN_FOR_S = 30.0
OTHERS_FIRST = timedelta(seconds=20)
GOES_ON = "The portal goes on by itself. Nothing to do."
# Of the whole account: whoever meets one of these knows that the next request would meet it too.
FOR_ALL = (Unreachable, Unauthorized, CredentialUnreadable, TakesLonger)
FRESH = timedelta(minutes=1)
LONGEST, LONGEST_PASSING = timedelta(hours=1), timedelta(minutes=2)


def submit_request(
    *,
    by: Actor,
    kind: str,
    ca: CertificateAuthority,
    mode: str,
    hostnames: str | Sequence[str],
    reason: str,
    ticket: str = "",
    override: str = "",
    team: Team | None = None,
) -> CoverageRequest:
    """Store a request, then plan it from a fresh read of the edge.

    When Cloudflare does not answer, the request is kept in state `planning` and a worker plans it later.
    """
    text = hostnames if isinstance(hostnames, str) else "\n".join(hostnames)
    request = create_request(
        by=by, kind=kind, ca=ca, mode=mode, text=text, reason=reason, ticket=ticket, override=override, team=team
    )
    return planned(request, by)


def submit_rotation(*, by: Actor, ca_id: UUID, kind: str, reason: str, ticket: str = "") -> CoverageRequest:
    """Send the overlap (`cover`) or the release (`uncover`) of a rotation, planned like any request (F23).

    Raises Conflict when the rotation is not at that step.
    """
    ask = request_overlap if kind == Kind.COVER else request_release
    return planned(ask(by=by, ca_id=ca_id, reason=reason, ticket=ticket), by)


def submit_issuers(
    *, by: Actor, ca: CertificateAuthority, entries: Sequence[str], reason: str, override: str = "", ticket: str = ""
) -> CoverageRequest:
    """Send a change of a CA's known issuers, planned like any request."""
    made = create_issuers_request(by=by, ca=ca, entries=entries, reason=reason, override=override, ticket=ticket)
    return planned(made, by)


def planned(request: CoverageRequest, by: Actor) -> CoverageRequest:
    """The request with its first plan, or with the reason why there is none yet: a worker tries again then."""
    _try_to_plan(request, by=by, deadline_s=settings.BYOCA_PREVIEW_DEADLINE_S)
    return request_by_id(request.pk)


def _try_to_plan(request: CoverageRequest, *, by: Actor, deadline_s: float | None = None) -> bool:
    """Plan it, or keep why it could not be. False when no other request would fare better at this moment."""
    try:
        plan_request(request.pk, by=by, deadline_s=deadline_s, first_only=True)
    except PortalError as error:
        log.warning("request_not_planned", request=request.pk, error=error.message)
        put_off_planning(by=WORKER, request_id=request.pk, why=error.message, next_at=_plan_again_at(request, error))
        return held_back_s(error) is None and not isinstance(error, FOR_ALL)
    except SoftTimeLimitExceeded:
        # What was read is kept. Others get their turn before it.
        next_at = timezone.now() + OTHERS_FIRST
        put_off_planning(by=WORKER, request_id=request.pk, why=f"Planning takes long. {GOES_ON}", next_at=next_at)
        raise
    return True


def _plan_again_at(request: CoverageRequest, error: PortalError) -> datetime | None:
    """A request waits as long again as it has waited, so that one that can never be planned costs little.

    What passes by itself, as an outage does, is looked at more often. A fresh request is tried at each look.
    """
    now = timezone.now()
    if isinstance(error, TakesLonger):
        return now + OTHERS_FIRST
    waited = now - request.created_at
    if waited < FRESH or held_back_s(error) is not None or isinstance(error, FOR_ALL):
        return None
    lasts = isinstance(error, Unsafe) or (isinstance(error, CloudflareError) and not error.retryable)
    return now + min(waited, LONGEST if lasts else LONGEST_PASSING)


def plan_request(
    request_id: int, *, by: Actor, deadline_s: float | None = None, first_only: bool = False
) -> RequestPlan:
    """Read the request's zones, outside any transaction, and store the plan people decide on.

    With `first_only` a plan that somebody else stored meanwhile stands: the page that asked and a worker may both
    be at it, and the digest people were given must not change under them.
    Raises EdgeFault when a zone cannot be read, or the CA's lists cannot be yet: no plan is made from part of the edge.
    """
    _name_hostnames(request_id)
    request = request_by_id(request_id)
    zones = list(Zone.objects.filter(requesthostname__request=request).distinct())
    keys = ca_keys(request.account)
    if request.ca.state == CaState.LIVE and request.ca.fingerprint not in keys:
        # Without its list the plan would say that nothing is sent.
        raise EdgeFault(f"Cloudflare does not list {request.ca.name} yet. The plan is built as soon as it does.")
    since = _reused_since(request, first_only=first_only)
    until_s = time.monotonic() + PLAN_FOR_S
    with client_for(request.account, deadline_s=deadline_s, purpose=Purpose.CHANGE) as client:
        readings = _readings(client, zones, keys, since=since, until_s=until_s)
        observed = {zone: reading.zone for zone, reading in readings.items()}
        trials = {zone: _trial(client, request, zone, reading, until_s) for zone, reading in readings.items()}
    with transaction.atomic():
        if first_only and locked_request(request_id).state != RequestState.PLANNING:
            return RequestPlan.objects.filter(request_id=request_id).latest("number")
        document = request_document(request, observed, trials)
        number = request.plans.count() + 1
        revisions = revisions_of(request, document, zones)
        # Asked last: what these revisions name is what the plan was made from.
        for zone, reading in readings.items():
            if revision_of(zone) != reading.revision:
                raise Overtaken(f"{zone.name} changed while the plan was made. It is made again from a new reading.")
        return store_request_plan(
            by=by,
            request_id=request_id,
            document=document,
            revisions=revisions,
            digest=document_digest(request, number, document),
        )


@transaction.atomic
def _name_hostnames(request_id: int) -> None:
    """A request for issuers is about every rule there is when its plan is made."""
    request = locked_request(request_id)
    if request.kind == Kind.ISSUERS and request.state in UNDECIDED:
        name_ruled_hostnames(request)


def _reused_since(request: CoverageRequest, *, first_only: bool) -> datetime | None:
    """Zones that were read since then are not read again for the plan; None reads all of them anew.

    Whoever asks for another plan while there is a good one wants to see the edge of this moment.
    """
    if first_only:
        wanted_at = request.created_at
    else:
        last = request.plans.latest("number") if request.state == RequestState.STALE else None
        wanted_at = last.outdated_at if last else None
    return max(wanted_at, timezone.now() - REUSED_FOR) if wanted_at else None


def _readings(
    client: EdgeClient, zones: Sequence[Zone], keys: dict[str, str], *, since: datetime | None, until_s: float
) -> dict[Zone, Observation]:
    """Every zone, those read `since` as they are stored. Raises TakesLonger when time is up: the next try goes on."""
    found: dict[Zone, Observation] = {}
    for zone in zones:
        reading = stored_reading(zone, keys, since=since) if since else None
        if reading is None and since and time.monotonic() > until_s:
            raise TakesLonger(f"{len(found)} of {len(zones)} zones are read. {GOES_ON}")
        found[zone] = reading or _observe(client, zone, keys)
    return found


def _trial(
    client: EdgeClient, request: CoverageRequest, zone: Zone, reading: Observation, until_s: float
) -> Trial | None:
    plan = diff(desired_with(zone, request), reading.zone, heal=False)
    if time.monotonic() > until_s and tried_steps(plan):
        return Trial(NOT_TRIED, "There was no time left to try it. It is tried before anything is sent.")
    return trial_of(client, zone, reading.ruleset, plan)


def _observe(client: EdgeClient, zone: Zone, keys: dict[str, str], tries: int = READ_TRIES) -> Observation:
    """Read and store one zone, again when a worker's write overtook it. Raises Overtaken after the last try."""
    try:
        observation = read_zone(client, zone, keys)
    except PortalError as error:
        if held_back_s(error) is None:
            store_zone_failure(zone=zone, error=error.message)
        raise
    try:
        with transaction.atomic():
            store_observation(zone, observation, keys)
            # Storing what was new raised it.
            return replace(observation, revision=revision_of(zone))
    except Overtaken:
        if tries == 1:
            raise
    return _observe(client, zone, keys, tries - 1)


def plan_waiting_requests(account_id: UUID) -> None:
    """Plan what could not be planned when it was sent, the oldest first. What fails for itself holds up no other."""
    waiting = CoverageRequest.objects.filter(account_id=account_id, state=RequestState.PLANNING)
    for request in waiting.exclude(plan_next_at__gt=timezone.now()).order_by("pk"):
        if not _try_to_plan(request, by=WORKER):
            return


def rebuild_plan(*, by: Actor, request_id: int) -> CoverageRequest:
    """Make a new plan from a fresh read. Approvals of the old one end.

    A request without any plan is tried as a worker does: it keeps the reason why there is none. Raises Conflict when
    decided; EdgeFault or Unsafe when there is no other plan than the old one, with which the request stays as it was.
    """
    request = request_by_id(request_id)
    mine = by.person is not None and by.person.pk == request.requested_by_id
    if not mine:
        by.require(Permission.REQUEST_APPROVE)
    if request.state not in {RequestState.STALE, RequestState.WAITING, RequestState.PLANNING}:
        raise Conflict(f"{request} is decided, so its plan stays as it is.", code="decided")
    if request.state == RequestState.PLANNING:
        return planned(request, by)
    plan_request(request_id, by=by, deadline_s=settings.BYOCA_PREVIEW_DEADLINE_S)
    return request_by_id(request_id)


def withdraw(*, by: Actor, request_id: int) -> CoverageRequest:
    """Take back one's own request, as long as no write of it has left. Raises Forbidden, Conflict."""
    return withdraw_request(by=by, request_id=request_id, has_left=has_left)


def cancel(*, by: Actor, request_id: int, reason: str) -> CoverageRequest:
    """Stop an approved request of somebody else, as long as no write of it has left.

    Raises Forbidden, Invalid without a reason, Conflict.
    """
    return cancel_request(by=by, request_id=request_id, reason=reason, has_left=has_left)


def retry_zone(*, by: Actor, zone_id: UUID) -> Zone:
    """Try the failed requests of a zone again. Raises Forbidden without the right, NotFound."""
    zone = Zone.objects.filter(pk=zone_id).first()
    if zone is None:
        raise NotFound("No such zone.")
    retry_requests(by=by, zone=zone)
    return zone
