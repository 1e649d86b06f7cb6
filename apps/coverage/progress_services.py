"""What becomes of requests once they are decided, or their edge moves; the approved state is in `approved.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.audit.services import record
from apps.coverage import approved
from apps.coverage.issuer_changes import enforced_rows, name_ruled_hostnames
from apps.coverage.models import CoverageRequest, Kind, ModeChoice, RequestHostname, RequestPlan
from apps.coverage.moves import locked_request, move_request, record_request, void_approvals
from apps.coverage.states import FAILED, IN_FLIGHT, RequestState, may_move
from apps.coverage.superseded import set_superseded_aside
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.inventory.models import Zone
from apps.outbox.services import mark_due


@transaction.atomic
def outdate_plan(*, by: Actor, plan_id: int, reason: str, keep: Collection[UUID] = ()) -> None:
    """The edge changed under a plan: it can no longer be approved, and an approval given for it is void (F08).

    `keep` are the zones where something of it was sent: what was approved there stays.
    """
    plan = RequestPlan.objects.select_for_update().get(pk=plan_id)
    request = locked_request(plan.request_id)
    if plan.outdated_at is not None or not may_move(request.state, RequestState.STALE):
        return
    plan.outdated_at, plan.outdated_reason = timezone.now(), reason
    plan.save(update_fields=["outdated_at", "outdated_reason"])
    before = {"state": request.state, "plan": plan.number}
    if request.state in IN_FLIGHT:
        approved.take_back(request, keep=keep)
    void_approvals(request, reason)
    move_request(request, RequestState.STALE, why=reason, decided_at=None)
    record_request(by, "request:outdated", request, reason=reason, before=before, after={"state": request.state})


@transaction.atomic
def put_off_planning(*, by: Actor, request_id: int, why: str, next_at: datetime | None) -> None:
    """Keep why a request could not be planned, and when to try again (None: at the next look). Told once per reason."""
    request = locked_request(request_id)
    if request.state != RequestState.PLANNING:
        return
    fresh = request.state_reason != why
    request.state_reason, request.plan_next_at = why, next_at
    request.save(update_fields=["state_reason", "plan_next_at"])
    if fresh:
        record_request(by, "request:not_planned", request, after={"state": request.state, "why": why})


@transaction.atomic
def begin_applying(*, by: Actor, request_ids: Iterable[int]) -> None:
    """Approved requests whose plan is about to be sent."""
    for request in CoverageRequest.objects.select_for_update().filter(pk__in=list(request_ids)):
        if request.state == RequestState.APPROVED:
            # Another zone or hostname of it may wait still.
            move_request(request, RequestState.APPLYING, why=request.state_reason)
            record_request(by, "request:apply_started", request, after={"state": request.state})


@transaction.atomic
def fail_requests(*, by: Actor, request_ids: Iterable[int], why: str, rest_is_gone: bool = False) -> None:
    """Close in-flight requests that need a person, with the reason. What was reached stays reached.

    With `rest_is_gone` nothing is left where it was not reached: issuers that every other rule has are the CA's.
    """
    for request in CoverageRequest.objects.select_for_update().filter(pk__in=list(request_ids), state__in=IN_FLIGHT):
        before = {"state": request.state}
        reached = request.hostnames.filter(result=RequestHostname.Result.DONE).exists()
        whole = request.kind == Kind.ISSUERS and rest_is_gone and reached
        words = why
        if request.kind in {Kind.ISSUERS, Kind.RESTORE} and not whole:
            # Half a set of pins is no state to rest in, and what was not restored is drift still.
            words += _where_issuers_are(request)
            approved.take_back(request)
        approved.leave_to_glass(request)
        target = RequestState.PARTLY_DONE if reached else RequestState.FAILED
        move_request(request, target, why=words, finished_at=timezone.now())
        record_request(by, "request:failed", request, before=before, after={"state": request.state, "why": words})


def _where_issuers_are(request: CoverageRequest) -> str:
    """In which zones rules in block have the issuers that are about to go back, and what helps there; "" for none.

    Those zones are read again at once, so that the drift is on its page when people look.
    """
    shown = request.hostnames.filter(result=RequestHostname.Result.DONE).values_list("zone_id", "hostname")
    done = set(shown) if request.kind == Kind.ISSUERS else set()
    blocked = [row for row in enforced_rows(request.ca) if row.mode == ModeChoice.BLOCK] if done else []
    zones = {row.zone_id: row.zone.name for row in blocked if (row.zone_id, row.hostname) in done}
    for zone_id in zones:
        mark_due(kind="zone", subject_id=zone_id, urgent=False)
    have = "has" if len(zones) == 1 else "have"
    words = (
        f" {', '.join(zones.values())} {have} the changed issuers, which is drift now. Retry, or restore it on Drift."
    )
    return words if zones else ""


@transaction.atomic
def wait_for_ca(*, by: Actor, request_id: int, zone: Zone, why: str) -> None:
    """An approved request waits for a CA of its hostnames to be at the edge; with an empty `why` no longer.

    Recorded when it begins. What else the request waits for is said first.
    """
    request = locked_request(request_id)
    here = f"Waits in {zone.name}. "
    reason = f"{here}{why}" if why else ""
    told = request.state_reason
    if reason == told or request.state not in IN_FLIGHT or (told and not told.startswith(here)):
        return
    request.state_reason = reason
    request.save(update_fields=["state_reason"])
    if reason:
        record_request(by, "request:waits_for_ca", request, after={"why": reason})


@transaction.atomic
def wait_for_token(*, by: Actor, request_ids: Iterable[int], zone: Zone, why: str) -> None:
    """Approved requests wait for a token that may write in the zone; with an empty `why` no longer.

    Recorded when it begins. What else a request waits for is said first.
    """
    here = f"Waits for a token that may write in {zone.name}. "
    reason = f"{here}{why}" if why else ""
    rows = CoverageRequest.objects.select_for_update().filter(pk__in=list(request_ids), state__in=IN_FLIGHT)
    for request in rows.order_by("pk"):
        told = request.state_reason
        if reason == told or (told and not told.startswith(here)):
            continue
        request.state_reason = reason
        request.save(update_fields=["state_reason"])
        if reason:
            record_request(by, "request:waits_for_token", request, after={"why": reason})


@transaction.atomic
def retry_requests(*, by: Actor, zone: Zone) -> None:
    """Put failed requests of a zone back to approved.

    Their approved state stood, unless a later request for the same hostnames took it over and gave it up. What a later
    one decided and did not give up stays as it decided.
    """
    by.require(Permission.RUN_RETRY)
    failed = CoverageRequest.objects.filter(hostnames__zone=zone, state__in=FAILED).values("pk")
    # Locked in the order of their numbers as everywhere. The newest decision goes first: it speaks for older ones.
    found = list(CoverageRequest.objects.select_for_update().filter(pk__in=failed).order_by("pk"))
    for request in sorted(found, key=lambda row: row.decided_at or row.created_at, reverse=True):
        _retry(by, request)
    mark_due(kind="zone", subject_id=zone.pk)
    subject = ("zone", zone.pk, zone.name)
    record(by=by, action="zone:retried", subject=subject, account=zone.account_id, zone=zone.name)


def _retry(by: Actor, request: CoverageRequest) -> None:
    before = {"state": request.state}
    if later := set_superseded_aside(request):
        names = ", ".join(str(row) for row in later)
        why = f"Not tried again: {names} decided the same hostnames later. Ask anew if this is still wanted."
        if why != request.state_reason:
            request.state_reason = why
            request.save(update_fields=["state_reason"])
            record_request(by, "request:superseded", request, before=before, after={"state": request.state, "why": why})
        return
    move_request(request, RequestState.APPROVED, finished_at=None)
    if request.kind == Kind.ISSUERS:
        name_ruled_hostnames(request)
        approved.write(request, by_label=by.label)
    else:
        approved.bring_back(request, by_label=by.label)
    tried = request.hostnames.exclude(result=RequestHostname.Result.FAILED).values_list("hostname", flat=True)
    after = {"state": request.state}
    record_request(by, "request:retried", request, hostnames=list(tried), before=before, after=after)
    for zone_id in set(request.hostnames.values_list("zone_id", flat=True)):
        mark_due(kind="zone", subject_id=zone_id)
