"""An API request as it came in, before anything is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apps.sandbox.holds import Decision

PREFIX = "/client/v4"


@dataclass(frozen=True)
class Incoming:
    """`path` is without PREFIX and without the query; `decision` is there when it was held in mid-body."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer_port: int | None = None
    started_ns: int | None = None
    decision: Decision | None = None

    @property
    def token(self) -> str:
        """The bearer token, or nothing."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" else ""
