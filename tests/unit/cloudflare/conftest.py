"""A scripted Cloudflare and a real client for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.cloudflare.client import CallRecord, Client
from tests.unit.cloudflare.server import Edge

TOKEN = "cf-token-canary-4711"
ACCOUNT = "a" * 32
ZONE = "b" * 32
CERTIFICATE = "3c0f5b1e-6a5d-4a53-9d0f-6f3b2f8b7a11"
RULESET = "c" * 32
RULE = "d" * 32


@pytest.fixture
def edge() -> Iterator[Edge]:
    server = Edge()
    yield server
    server.stop()


@pytest.fixture
def records() -> list[CallRecord]:
    return []


@pytest.fixture
def client(edge: Edge, records: list[CallRecord]) -> Iterator[Client]:
    with Client(base_url=edge.base_url, token=TOKEN, on_response=records.append) as made:
        yield made


@pytest.fixture
def hasty(edge: Edge) -> Iterator[Client]:
    """A client that gives up soon, and takes no more than 1,000 bytes."""
    with Client(base_url=edge.base_url, token=TOKEN, deadline_s=0.3, max_body_bytes=1000) as made:
        yield made
