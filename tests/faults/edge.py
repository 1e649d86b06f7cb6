"""The stand-in that `up` started, by its control port, and what it has had in its life."""

from __future__ import annotations

import time
from typing import Any

from tests.faults.model import History
from tests.faults.portals import FaultPortal
from tests.sandbox_server import SandboxProcess


class Edge(SandboxProcess):
    """Its life is not ours. `known_zones` and `tokens` hold what it ever had, since both may be taken away.

    `restarts` and `lags` are for the model: when it was killed, and the spans in which readings were so much older.
    """

    def __init__(self, portal: FaultPortal) -> None:
        super().__init__(portal.folder / "sandbox")
        self.origin = portal.edge_origin
        self.known_zones: dict[str, str] = {}
        self.tokens: set[str] = set()
        self.restarts: list[float] = []
        self.lags: list[tuple[float, float, float]] = []
        self.state()

    def state(self) -> dict[str, Any]:
        found = super().state()
        self.known_zones |= {zone["id"]: zone["name"] for zone in found["zones"]}
        self.tokens |= {str(token["id"]) for token in found["tokens"]}
        return found

    def make_token(self, name: str = "test", **fields: Any) -> str:
        token = super().make_token(name, **fields)
        self.state()
        return token

    def remove_zone(self, name: str) -> None:
        self.state()
        super().remove_zone(name)

    def lag(self, seconds: float) -> None:
        """Readings of lists are so much older from now on; 0 ends it."""
        now = time.monotonic()
        self.lags = [(since, min(until, now), late) for since, until, late in self.lags]
        self.switch(association_lag_s=seconds)
        if seconds:
            self.lags.append((now, float("inf"), seconds))

    def has_holds(self) -> bool:
        return bool(self._control("GET", "holds?wait_s=0")["holds"])

    def history(self) -> History:
        """Everything that was asked of it so far."""
        rows = self.requests(origin="all")
        self.state()
        return History(rows, self.tokens, self.known_zones, self.restarts, self.lags)
