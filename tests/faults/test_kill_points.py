"""SIGKILL and SIGSTOP on the way of a push, K3 to K7 of docs/reliability.md, with the write applied and not.

The stand-in parks the call of the worker, the test finds the worker's process by its connection, ends or stops it
there, and then lets the call have its effect or not. Nobody helps afterwards.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.faults.driver import LIST_PATH, Driver
from tests.faults.pushes import Push, killed, make_push, stopped
from tests.portal_process import wait_for

pytestmark = pytest.mark.timeout(600)
# Rules are made in zones without any, so that each push makes one.
RULE_ZONES = [f"rule-{number}.example" for number in range(16)]
RULE_ZONE = iter(RULE_ZONES)
LATE_ZONE = "late.example"
# Where a call is parked, and what becomes of it.
POINTS = [
    ("K3", "GET", "before_apply", False),
    ("K4", "GET", "after_apply_before_reply", True),
    ("K5", "write", "mid_request_body", False),
    ("K6-not-applied", "write", "before_apply", False),
    ("K6-applied-late", "write", "before_apply", True),
    ("K6-applied", "write", "after_apply_before_reply", True),
    ("K7", "verify", "before_apply", True),
]
IDS = [point[0] for point in POINTS]


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    running.new_zones(*RULE_ZONES, LATE_ZONE)
    return running.upload("Kill Root")


@pytest.fixture(params=["list", "rule"])
def push(driver: Driver, ca: dict[str, Any], request: pytest.FixtureRequest) -> Push:
    return a_rule(driver, ca) if request.param == "rule" else make_push(driver, ca, "list")


def a_rule(driver: Driver, ca: dict[str, Any]) -> Push:
    return make_push(driver, ca, "rule", next(RULE_ZONE))


@pytest.mark.parametrize(("point", "call", "at", "applied"), POINTS, ids=IDS)
def test_a_worker_is_killed(
    push: Push, parked: list[dict[str, Any]], point: str, call: str, at: str, applied: bool
) -> None:
    killed(push, parked, call, at, applied)


@pytest.mark.parametrize(("point", "call", "at", "applied"), POINTS, ids=IDS)
def test_a_worker_is_stopped_for_longer_than_its_lease(
    push: Push, parked: list[dict[str, Any]], point: str, call: str, at: str, applied: bool
) -> None:
    stopped(push, parked, call, at, applied)


ENDED = [point for point in POINTS if point[0] in {"K3", "K4", "K5", "K6-not-applied", "K7"}]


@pytest.mark.parametrize(("point", "call", "at", "applied"), ENDED, ids=[point[0] for point in ENDED])
def test_r29_a_worker_that_is_asked_to_end_finishes_what_it_began(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]], point: str, call: str, at: str, applied: bool
) -> None:
    """K8 and K9 are in test_kill_points_commit.py, a second signal and SIGQUIT in test_processes.py."""
    push = make_push(driver, ca, "list")
    hold = push.park(call, at)
    parked.append(hold)
    os.kill(driver.part("worker"), signal.SIGTERM)
    driver.edge.release(hold, apply=point != "K6-not-applied")
    push.converged()


def test_a_write_that_arrives_after_another_worker_wrote_is_named(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]]
) -> None:
    """INV-17: it cannot be kept from arriving. The next reading shows what it undid, and nobody fights it."""
    kept, first, second = (f"k{name}.{LATE_ZONE}" for name in ("kept", "first", "second"))
    driver.cover(ca, kept)
    rows = [driver.ask(ca, first), driver.ask(ca, second)]
    driver.edge.hold("before_apply", method="PUT", path=LIST_PATH, zone=LATE_ZONE)
    driver.approve(rows[0])
    hold = driver.edge.held(wait_s=60)
    parked.append(hold)
    with driver.stopped(driver.caller(hold)):
        driver.approve(driver.planned(rows[1]))
        for row in rows:
            driver.done(row)
        assert driver.at_edge(LATE_ZONE, ca) == sorted([kept, first, second])
        before, since, events = driver.zone(LATE_ZONE)["read_at"], driver.seq(), len(driver.audit())
        driver.edge.release(hold)
        wait_for(lambda: driver.at_edge(LATE_ZONE, ca) == sorted([kept, first]), saying="it arrives late")
        wait_for(lambda: driver.zone(LATE_ZONE)["read_at"] > before, within_s=60, saying="the next sweep")
        found = [e for e in driver.audit()[events:] if e["action"] == "edge:list_changed_outside"]
        assert [(e["before"]["hostnames"], e["after"]["hostnames"]) for e in found] == [
            (sorted([kept, first, second]), sorted([kept, first]))
        ]
    assert {(row["hostname"], row["kind"]) for row in driver.drift(LATE_ZONE)} == {(second, "missing")}
    assert driver.answer(second) == "drift"
    [late] = driver.puts(LATE_ZONE, since)
    assert late["after"] == sorted([kept, first]), "it is named, and left to people"


WHOLE = [point for point in POINTS if point[0] != "K6-applied-late"]


@pytest.mark.parametrize(("point", "call", "at", "applied"), WHOLE, ids=[point[0] for point in WHOLE])
def test_the_whole_worker_is_killed(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]], point: str, call: str, at: str, applied: bool
) -> None:
    """Its pool with it: at every point of a list, and of rules where it is on the wire, below."""
    push = make_push(driver, ca, "list")
    hold = push.park(call, at)
    parked.append(hold)
    push.driver.kill_worker()
    push.driver.edge.release(hold, apply=applied, reply="drop")
    push.converged()


@pytest.mark.parametrize(("at", "applied"), [("before_apply", False), ("after_apply_before_reply", True)])
def test_the_whole_worker_is_killed_with_a_rule_on_the_wire(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]], at: str, applied: bool
) -> None:
    push = a_rule(driver, ca)
    hold = push.park("write", at)
    parked.append(hold)
    push.driver.kill_worker()
    push.driver.edge.release(hold, apply=applied, reply="drop")
    push.converged()
