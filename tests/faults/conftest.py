"""One running portal per module, and the model checker over everything it did after each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faults.driver import TEMPO, Driver
from tests.faults.portals import FaultPortal

# What a test may have switched.
PLAIN = {"down": False, "latency_ms": 0, "association_lag_s": 0, "rules_lag_s": 0}
HERE = Path(__file__).parent
# What only one of the databases can suffer is collected only where it is used: `make test-faults` plays both.
POSTGRESQL = os.environ.get("DATABASE_URL", "").startswith("postgres")
collect_ignore = ["test_sqlite.py"] if POSTGRESQL else ["test_postgresql.py"]
# A name server of the test's own needs root: port 53, and an /etc/resolv.conf that only the portal's processes see.
if os.geteuid():
    collect_ignore.append("test_resolver.py")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.geteuid():
        terminalreporter.write_line("Left out here: tests/faults/test_resolver.py, which only root can play.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("chaos" if item.path.name == "test_chaos.py" else "faults")


@pytest.fixture(scope="module")
def portal(request: pytest.FixtureRequest) -> Iterator[FaultPortal]:
    with FaultPortal(**{**TEMPO, **getattr(request.module, "ENVIRONMENT", {})}) as running:
        yield running


@pytest.fixture(scope="module")
def running(portal: FaultPortal) -> Iterator[Driver]:
    driver = Driver(portal)
    yield driver
    driver.close()


@pytest.fixture
def driver(running: Driver) -> Iterator[Driver]:
    """The module's portal; whatever the test did to it, its history must be good and its edge is left well."""
    yield running
    running.edge.clear_faults()
    running.edge.switch(**PLAIN)
    assert running.violations() == []


@pytest.fixture
def parked(driver: Driver) -> Iterator[list[dict[str, Any]]]:
    """Calls that a failed test would leave parked."""
    held: list[dict[str, Any]] = []
    yield held
    for hold in held:
        with suppress(AssertionError):
            driver.edge.release(hold, apply=False, reply="drop")
