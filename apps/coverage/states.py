"""The states of a coverage request and the legal moves between them."""

from __future__ import annotations

from enum import StrEnum


class RequestState(StrEnum):
    """PLANNING: waits for a first edge read. STALE: "Plan out of date", approvals are void, a new plan is wanted."""

    PLANNING = "planning"
    WAITING = "waiting"
    STALE = "stale"
    APPROVED = "approved"
    APPLYING = "applying"
    DONE = "done"
    PARTLY_DONE = "partly_done"
    FAILED = "failed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


MOVES: dict[RequestState, frozenset[RequestState]] = {
    RequestState.PLANNING: frozenset({RequestState.WAITING, RequestState.REJECTED, RequestState.WITHDRAWN}),
    RequestState.WAITING: frozenset(
        {RequestState.STALE, RequestState.APPROVED, RequestState.REJECTED, RequestState.WITHDRAWN}
    ),
    RequestState.STALE: frozenset({RequestState.WAITING, RequestState.REJECTED, RequestState.WITHDRAWN}),
    RequestState.APPROVED: frozenset(
        {
            RequestState.APPLYING,
            RequestState.STALE,
            RequestState.DONE,
            RequestState.PARTLY_DONE,
            RequestState.FAILED,
            RequestState.WITHDRAWN,
        }
    ),
    RequestState.APPLYING: frozenset(
        {
            RequestState.DONE,
            RequestState.PARTLY_DONE,
            RequestState.FAILED,
            RequestState.STALE,
            RequestState.WITHDRAWN,
        }
    ),
    # By itself only when the edge shows what it asked for after all.
    RequestState.FAILED: frozenset(
        {RequestState.APPROVED, RequestState.APPLYING, RequestState.PARTLY_DONE, RequestState.DONE}
    ),
    RequestState.PARTLY_DONE: frozenset({RequestState.APPROVED, RequestState.APPLYING, RequestState.DONE}),
    RequestState.DONE: frozenset(),
    RequestState.REJECTED: frozenset(),
    RequestState.WITHDRAWN: frozenset(),
}

# Not decided yet: a hostname in one of these is "pending" for the next request.
OPEN = ("planning", "waiting", "stale", "approved", "applying")
UNDECIDED = ("planning", "waiting", "stale")
IN_FLIGHT = ("approved", "applying")
FAILED = ("failed", "partly_done")
# What such a request has not brought to the edge waits for a person: a retry, another request, or the approval of a
# new plan.
HELD = (*FAILED, "stale", "waiting")


def may_move(current: str, target: RequestState) -> bool:
    return target in MOVES[RequestState(current)]
