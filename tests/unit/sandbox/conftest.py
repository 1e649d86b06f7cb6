"""A seeded store in memory and a way to call the API on it without a socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.sandbox import control
from apps.sandbox.gateway import Gateway
from apps.sandbox.incoming import Incoming
from apps.sandbox.seed import SeedResult, seed
from apps.sandbox.store import Store


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Edge:
    """`call` answers (status, document, headers in lower case)."""

    store: Store
    seeded: SeedResult
    clock: Clock
    gateway: Gateway

    def call(
        self, method: str, path: str, body: Any = None, *, query: str = "", token: str | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        headers = {"authorization": f"Bearer {self.seeded.token if token is None else token}"}
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = self.gateway.answer(Incoming(method, path, query, headers, sent))
        told = {name.lower(): value for name, value in answer.headers}
        document = json.loads(answer.body) if answer.body.startswith(b"{") else answer.body
        return answer.status, document, told

    def control(self, method: str, path: str, body: Any = None, query: str = "") -> tuple[int, Any]:
        answer = control.answer(self.gateway, method, path, query, json.dumps(body).encode())
        return answer.status, json.loads(answer.body)

    def certificates(self) -> str:
        return f"/accounts/{self.seeded.account_id}/mtls_certificates"

    def lists(self, zone: str) -> str:
        return f"/zones/{self.seeded.zones[zone]}/certificate_authorities/hostname_associations"

    def legacy_ca(self) -> str:
        return next(item["id"] for item in self.state()["certificates"] if item["name"].startswith("Legacy"))

    def state(self) -> dict[str, Any]:
        return self.control("GET", "state")[1]

    def log(self) -> list[dict[str, Any]]:
        return self.control("GET", "requests")[1]["requests"]


@pytest.fixture
def edge() -> Iterator[Edge]:
    clock = Clock()
    store = Store(":memory:", clock=clock)
    seeded = seed(store)
    assert seeded is not None
    yield Edge(store, seeded, clock, Gateway(store, threading.Event()))
    store.close()


@pytest.fixture
def code_of() -> Callable[[tuple[int, Any, dict[str, str]]], tuple[int, int]]:
    return lambda answer: (answer[0], answer[1]["errors"][0]["code"])
