"""Closing requests that shall not be carried out: rejected, withdrawn by who asked, cancelled by who could approve.

What is approved already can be called off as long as no write of it has left. That is asked with the request locked;
whoever sends it asks under the same lock whether it still stands, right before its first write (INV-5).
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction
from django.utils import timezone

from apps.coverage import approved
from apps.coverage.models import CoverageRequest, Kind
from apps.coverage.moves import locked_request, move_request, record_request, void_approvals
from apps.coverage.states import IN_FLIGHT, RequestState
from apps.errors import Conflict, Forbidden
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.outbox.services import mark_due
from apps.pki.free_text import free_text

# Whether any write of the request has left for the edge. Rooms above this one know (reconcile/sent.py).
HasLeft = Callable[[CoverageRequest], bool]
BY_ITSELF = (Kind.BREAK_GLASS, Kind.RETURN)


@transaction.atomic
def reject_request(*, by: Actor, request_id: int, comment: str) -> CoverageRequest:
    """Close a request that is not decided yet. Nothing changes at the edge."""
    by.require(Permission.REQUEST_APPROVE)
    request = locked_request(request_id)
    if by.person and by.person.pk == request.requested_by_id:
        raise Forbidden("You asked for this. Withdraw it instead.", code="self_approval")
    comment = free_text(comment, "comment", "Say why, so that the requester knows what to change.")
    _close(by, request, RequestState.REJECTED, "request:rejected", "The request was rejected.", comment, why=comment)
    return request


@transaction.atomic
def withdraw_request(*, by: Actor, request_id: int, has_left: HasLeft) -> CoverageRequest:
    """Take back one's own request while no write of it has left. Raises Forbidden for others, Conflict afterwards."""
    request = locked_request(request_id)
    if by.person is None or by.person.pk != request.requested_by_id:
        raise Forbidden("Only the person who asked can withdraw a request. Reject it instead.", code="not_requester")
    if request.state in IN_FLIGHT:
        _require_not_left(request, has_left)
    _close(by, request, RequestState.WITHDRAWN, "request:withdrawn", "The request was withdrawn.")
    return request


@transaction.atomic
def cancel_request(*, by: Actor, request_id: int, reason: str, has_left: HasLeft) -> CoverageRequest:
    """Stop an approved request of somebody else while no write of it has left.

    Raises Forbidden for the requester and for roles that do not approve, Invalid without a reason, Conflict when it is
    not approved, or on its way.
    """
    by.require(Permission.REQUEST_APPROVE)
    request = locked_request(request_id)
    if by.person and by.person.pk == request.requested_by_id:
        raise Forbidden("You asked for this. Withdraw it instead.", code="self_approval")
    reason = free_text(reason, "reason", "Say why, so that the requester knows. Auditors read this.")
    if request.state not in IN_FLIGHT:
        raise Conflict(f"{request} is {request.state}, so there is no approval to cancel.", code="decided")
    _require_not_left(request, has_left)
    why = f"Cancelled by {by.label}: {reason}"
    _close(by, request, RequestState.WITHDRAWN, "request:cancelled", "The request was cancelled.", reason, why=why)
    return request


def can_be_called_off(request: CoverageRequest, has_left: HasLeft) -> bool:
    """Whether an approved request can be withdrawn or cancelled still."""
    return request.state in IN_FLIGHT and request.kind not in BY_ITSELF and not has_left(request)


def _require_not_left(request: CoverageRequest, has_left: HasLeft) -> None:
    if request.kind in BY_ITSELF:
        raise Conflict("A break-glass is ended on its own page. It returns to block by itself.", code="break_glass")
    if not can_be_called_off(request, has_left):
        words = f"{request} is on its way: a part was sent already. Wait until it ends, then undo its change."
        raise Conflict(words, code="on_its_way")


def _close(
    by: Actor, request: CoverageRequest, target: RequestState, action: str, void: str, reason: str = "", why: str = ""
) -> None:
    """What an approval wrote and the edge does not show goes with the request, be it of an earlier plan."""
    before = {"state": request.state}
    move_request(request, target, why=why, decided_at=timezone.now())
    approved.take_back(request)
    void_approvals(request, void)
    for zone_id in set(request.hostnames.values_list("zone_id", flat=True)):
        mark_due(kind="zone", subject_id=zone_id, urgent=False)
    record_request(by, action, request, reason=reason, before=before, after={"state": request.state})
