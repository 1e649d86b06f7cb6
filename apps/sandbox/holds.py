"""Calls that are parked at a named point until a driver says how they end. They live as long as the process."""

from __future__ import annotations

import itertools
import threading
from dataclasses import asdict, dataclass
from typing import Any

LONGEST_S = 600.0


@dataclass(frozen=True)
class Decision:
    """`applied` counts only for a hold before the effect. `reply` False resets the connection instead."""

    applied: bool = True
    reply: bool = True


@dataclass(frozen=True)
class Hold:
    """A parked call. `path` is below `/client/v4`; `body` is what has arrived."""

    id: int
    at: str
    method: str
    path: str
    query: str
    body: str
    token_id: str
    peer_port: int | None


class Holds:
    """`close` lets every parked call go on, so that the server can stop."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ids = itertools.count(1)
        self._waiting: dict[int, Hold] = {}
        self._decided: dict[int, Decision] = {}
        self._closed = False

    def park(self, at: str, **call: Any) -> Decision:
        """Wait for the driver; after LONGEST_S, or when the sandbox stops, the call is dropped without an effect."""
        with self._changed:
            hold = Hold(next(self._ids), at, **call)
            self._waiting[hold.id] = hold
            self._changed.notify_all()
            self._changed.wait_for(lambda: hold.id in self._decided or self._closed, timeout=LONGEST_S)
            self._waiting.pop(hold.id, None)
            return self._decided.pop(hold.id, Decision(applied=False, reply=False))

    def release(self, hold_id: int, decision: Decision) -> bool:
        """Returns whether such a call is parked."""
        with self._changed:
            if hold_id not in self._waiting:
                return False
            del self._waiting[hold_id]
            self._decided[hold_id] = decision
            self._changed.notify_all()
            return True

    def listed(self, wait_s: float = 0.0, after: int = 0) -> list[dict[str, Any]]:
        """The parked calls with an id above `after`, oldest first. With none, wait up to `wait_s` for the first."""

        def found() -> list[Hold]:
            return [hold for _, hold in sorted(self._waiting.items()) if hold.id > after]

        with self._changed:
            self._changed.wait_for(lambda: found() or self._closed, timeout=wait_s)
            return [asdict(hold) for hold in found()]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
