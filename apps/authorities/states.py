"""The states of a CA and the legal moves between them."""

from __future__ import annotations

from enum import StrEnum


class CaState(StrEnum):
    """QUEUED and PUSHING hold a slot before the edge knows of it. GONE: it was live and the edge lost it."""

    QUEUED = "queued"
    PUSHING = "pushing"
    LIVE = "live"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"
    GONE = "gone"


MOVES: dict[CaState, frozenset[CaState]] = {
    CaState.QUEUED: frozenset({CaState.PUSHING, CaState.LIVE, CaState.FAILED, CaState.DELETED}),
    CaState.PUSHING: frozenset({CaState.QUEUED, CaState.LIVE, CaState.FAILED}),
    CaState.LIVE: frozenset({CaState.DELETING, CaState.GONE}),
    # LIVE: its answer was lost, and the certificate turns up in the account's list after all.
    CaState.FAILED: frozenset({CaState.QUEUED, CaState.LIVE, CaState.DELETED}),
    CaState.DELETING: frozenset({CaState.DELETED, CaState.LIVE}),
    CaState.GONE: frozenset({CaState.LIVE, CaState.DELETED}),
    CaState.DELETED: frozenset(),
}

# States in which the record claims its name, its fingerprint and (GONE aside) a slot.
HOLDING = ("queued", "pushing", "live", "failed", "deleting", "gone")
# States that keep a slot although the account's list may not show the CA: on its way, just arrived, or just leaving.
RESERVING = ("queued", "pushing", "live", "deleting")


def may_move(current: str, target: CaState) -> bool:
    return target in MOVES[CaState(current)]
