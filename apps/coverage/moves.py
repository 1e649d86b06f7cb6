"""One request under lock: its legal moves and its line in the audit log. For the services of this room."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.utils import timezone

from apps.audit.services import record
from apps.coverage.models import CoverageRequest, RequestHostname
from apps.coverage.states import IN_FLIGHT, RequestState, may_move
from apps.errors import Conflict, NotFound
from apps.identity.actors import Actor
from apps.inventory.models import Zone


def locked_request(request_id: int) -> CoverageRequest:
    request = CoverageRequest.objects.select_for_update().filter(pk=request_id).first()
    if request is None:
        raise NotFound("No such request.")
    return request


def lock_open_requests(zone: Zone) -> None:
    """Lock every request that a reading of the zone may move, in the order of their numbers."""
    ids = RequestHostname.objects.filter(zone=zone).values("request_id")
    ended = (RequestState.DONE, RequestState.REJECTED, RequestState.WITHDRAWN)
    list(CoverageRequest.objects.select_for_update().filter(pk__in=ids).exclude(state__in=ended).order_by("pk"))


def lock_in_flight(request_ids: Collection[int]) -> bool:
    """Lock these requests. Whether each is still approved and on its way."""
    rows = CoverageRequest.objects.select_for_update().filter(pk__in=request_ids).order_by("pk")
    return {row.pk for row in rows if row.state in IN_FLIGHT} == set(request_ids)


def move_request(request: CoverageRequest, target: RequestState, *, why: str = "", **times: Any) -> None:
    """One legal move. Raises Conflict for an illegal one, so that no step can be skipped."""
    if not may_move(request.state, target):
        raise Conflict(f"{request} is {request.state}, so this cannot be done now. Reload the page.", code="decided")
    request.state, request.state_reason = target.value, why
    for name, value in times.items():
        setattr(request, name, value)
    request.save(update_fields=["state", "state_reason", *times])


def void_approvals(request: CoverageRequest, reason: str) -> None:
    """End the approvals, and with them whatever override was given for the plan."""
    request.approvals.filter(void_at=None).update(void_at=timezone.now(), void_reason=reason)
    request.overrides.filter(void_at=None, used_at=None).update(void_at=timezone.now())
    request.waits_for = []
    request.save(update_fields=["waits_for"])


def record_request(by: Actor, action: str, request: CoverageRequest, **more: Any) -> None:
    subject = ("request", request.pk, str(request))
    record(
        by=by, action=action, subject=subject, account=request.account_id, correlation_id=request.correlation_id, **more
    )
