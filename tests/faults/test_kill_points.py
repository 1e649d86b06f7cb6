"""SIGKILL and SIGSTOP at every point of a push, K0 to K10 of docs/reliability.md, with the write applied and not.

The stand-in parks the call of the worker, the test finds the worker's process by its connection, ends or stops it
there, and then lets the call have its effect or not. Nobody helps afterwards.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.faults.driver import LIST_PATH, Driver, ok
from tests.faults.locks import nothing_commits
from tests.portal_process import wait_for

pytestmark = pytest.mark.timeout(600)
ZONE = "northwind.example"
# Rules are made in zones without any, so that each push makes one.
RULE_ZONES = [f"rule-{number}.example" for number in range(20)]
NAMES = itertools.count(1)
RULE_ZONE = itertools.cycle(RULE_ZONES)
# Nothing is proved by this time; it lets whoever would take over do so.
LONGER_THAN_A_LEASE_S = 8.0
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


@dataclass
class Push:
    """One change on its way: a list of hostnames, or a rule."""

    driver: Driver
    ca: dict[str, Any]
    what: str
    zone: str
    hostname: str
    row: dict[str, Any]
    since: int

    @property
    def write(self) -> dict[str, str]:
        if self.what == "list":
            return {"method": "PUT", "path": LIST_PATH, "zone": self.zone}
        return {"method": "POST", "path": "/rulesets", "zone": self.zone}

    @property
    def read(self) -> dict[str, str]:
        return {"method": "GET", "path": LIST_PATH if self.what == "list" else "entrypoint", "zone": self.zone}

    def park(self, call: str, at: str) -> dict[str, Any]:
        """Approve, and return the call once it is parked."""
        edge = self.driver.edge
        if call != "verify":
            edge.hold(at, **(self.write if call == "write" else self.read))
            self.driver.approve(self.row)
            return edge.held(wait_s=60)
        edge.hold("after_apply_before_reply", **self.write)
        self.driver.approve(self.row)
        written = edge.held(wait_s=60)
        edge.hold(at, **self.read)
        edge.release(written)
        return edge.held(wait_s=60, after=written["id"])

    def converged(self) -> None:
        """Without help: done, at the edge once, nothing else touched, no second differing write."""
        self.driver.done(self.row)
        assert self.hostname in self.driver.at_edge(self.zone, self.ca)
        puts = [row for row in self.driver.puts(self.zone, self.since) if self.hostname in row["body"]]
        assert len({row["body"] for row in puts}) <= 1, "no second, differing list was sent"
        named = [rule for rule in self.driver.edge.rules(self.zone) if self.hostname in rule["expression"]]
        assert len(named) == (self.what == "rule")


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    running.new_zones(*RULE_ZONES)
    return running.upload("Kill Root")


@pytest.fixture(params=["list", "rule"])
def push(driver: Driver, ca: dict[str, Any], request: pytest.FixtureRequest) -> Push:
    return _push(driver, ca, request.param)


def _push(driver: Driver, ca: dict[str, Any], what: str) -> Push:
    number = next(NAMES)
    zone = next(RULE_ZONE) if what == "rule" else ZONE
    hostname = f"k{number}.{zone}"
    if what == "rule":
        assert driver.edge.rules(zone) == [], "more pushes of rules than zones"
    row = driver.ask(ca, hostname, mode="log" if what == "rule" else "verify")
    return Push(driver, ca, what, zone, hostname, row, driver.seq())


@pytest.fixture
def parked(driver: Driver) -> Iterator[list[dict[str, Any]]]:
    """Calls that a failed test would leave parked."""
    held: list[dict[str, Any]] = []
    yield held
    for hold in held:
        with suppress(AssertionError):
            driver.edge.release(hold, apply=False, reply="drop")


@pytest.mark.parametrize(("point", "call", "at", "applied"), POINTS, ids=IDS)
def test_a_worker_is_killed(
    push: Push, parked: list[dict[str, Any]], point: str, call: str, at: str, applied: bool
) -> None:
    hold = push.park(call, at)
    parked.append(hold)
    os.kill(push.driver.caller(hold), signal.SIGKILL)
    push.driver.edge.release(hold, apply=applied, reply="drop")
    push.converged()


@pytest.mark.parametrize(("point", "call", "at", "applied"), POINTS, ids=IDS)
def test_a_worker_is_stopped_for_longer_than_its_lease(
    push: Push, parked: list[dict[str, Any]], point: str, call: str, at: str, applied: bool
) -> None:
    hold = push.park(call, at)
    parked.append(hold)
    with push.driver.stopped(push.driver.caller(hold)):
        if applied:
            push.driver.edge.release(hold)
        push.driver.done(push.row)
    with suppress(AssertionError):
        push.driver.edge.release(hold, apply=False, reply="drop")
    # The one that woke up may have had a last word: it must have changed nothing.
    quiet(push)
    push.converged()
    assert not [e for e in push.driver.audit() if e["action"] == "edge:list_changed_outside" and of_ours(e)]


def of_ours(event: dict[str, Any]) -> bool:
    return any(name.startswith("k") for name in event["hostnames"])


def quiet(push: Push) -> None:
    """Wait until the zone was read once more after now."""
    driver, zone = push.driver, push.zone
    before = driver.zone(zone)["read_at"]
    wait_for(lambda: driver.zone(zone)["read_at"] > before, within_s=60, every_s=0.3, saying="the next sweep")


@pytest.mark.parametrize(("at", "applied"), [("before_apply", False), ("after_apply_before_reply", True)])
def test_the_whole_worker_is_killed_with_its_write_on_the_wire(
    push: Push, parked: list[dict[str, Any]], at: str, applied: bool
) -> None:
    hold = push.park("write", at)
    parked.append(hold)
    push.driver.kill_worker()
    push.driver.edge.release(hold, apply=applied, reply="drop")
    push.converged()


def test_k0_the_web_is_killed_with_the_approval_open(driver: Driver, ca: dict[str, Any]) -> None:
    push = _push(driver, ca, "list")
    refused: list[Exception] = []

    def approve() -> None:
        with driver.portal.api("engineer2") as api:
            try:
                api.post(f"/requests/{push.row['id']}/approve/", json={"digest": push.row["digest"]})
            except httpx.TransportError as error:
                refused.append(error)

    with nothing_commits(driver.portal):
        asking = Thread(target=approve)
        asking.start()
        asking.join(1.5)
        assert asking.is_alive(), "it waits for the commit"
        os.killpg(driver.part("web"), signal.SIGKILL)
        asking.join()
    assert refused
    wait_for(lambda: serves(driver), within_s=60, saying="the pages are back")
    assert driver.request(push.row)["state"] == "waiting", "what did not commit did not happen"
    assert driver.puts(ZONE, push.since) == []
    driver.approve(push.row)
    push.converged()


def serves(driver: Driver) -> bool:
    try:
        return httpx.get(f"{driver.portal.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_k0_the_web_is_stopped_with_the_approval_open(driver: Driver, ca: dict[str, Any]) -> None:
    push = _push(driver, ca, "list")
    with driver.portal.api("engineer2") as api, ExitStack() as later:
        path, body = f"/requests/{push.row['id']}/approve/", {"digest": push.row["digest"]}
        asking = Thread(target=api.post, args=(path,), kwargs={"json": body, "timeout": 60})
        with nothing_commits(driver.portal):
            asking.start()
            asking.join(1.5)
            assert asking.is_alive(), "it waits for the commit"
            later.enter_context(driver.stopped(*driver.family("web")))
        time.sleep(LONGER_THAN_A_LEASE_S)
        assert driver.puts(ZONE, push.since) == [], "what did not commit did not happen"
        later.close()
        asking.join()
    # It commits when it wakes: nobody asks again.
    push.converged()


def test_k1_committed_and_stopped_before_it_enqueued(driver: Driver, ca: dict[str, Any]) -> None:
    push = _push(driver, ca, "list")
    with ExitStack() as later:
        with driver.stopped(driver.broker_pid()):
            driver.approve(push.row)
            later.enter_context(driver.stopped(*driver.family("web")))
        # No bell, no page: the tick finds what is due.
        wait_for(lambda: push.hostname in driver.at_edge(ZONE, ca), within_s=60, saying="the hostname is at the edge")
    wait_for(lambda: serves(driver), within_s=60, saying="the pages are back")
    push.converged()


def test_k1_committed_and_never_enqueued(driver: Driver, ca: dict[str, Any]) -> None:
    push = _push(driver, ca, "list")
    with driver.stopped(driver.broker_pid()):
        driver.approve(push.row)
        # The bell rings from a thread of the web process: it dies with it, and the message with the thread.
        os.killpg(driver.part("web"), signal.SIGKILL)
        wait_for(lambda: serves(driver), within_s=60, saying="the pages are back")
    push.converged()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_k2_enqueued_and_not_picked(driver: Driver, ca: dict[str, Any], how: str) -> None:
    push = _push(driver, ca, "list")
    while not approved_beside_a_stopped_worker(push, how):
        pass
    push.converged()


def approved_beside_a_stopped_worker(push: Push, how: str) -> bool:
    """False when the worker happened to stop amid a write: it holds the database, which people are told in words."""
    driver = push.driver
    with driver.stopped(*driver.family("worker")):
        try:
            driver.approve(push.row)
        except AssertionError as error:
            if "database does not answer" in str(error):
                return False
            raise
        if how == "kill":
            driver.kill_worker()
        else:
            time.sleep(LONGER_THAN_A_LEASE_S)
            assert driver.puts(push.zone, push.since) == []
    return True


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_k8_verified_and_not_committed(driver: Driver, ca: dict[str, Any], how: str) -> None:
    push = _push(driver, ca, "list")
    verify = push.park("verify", "after_apply_before_reply")
    worker = driver.caller(verify)
    with ExitStack() as later:
        with nothing_commits(driver.portal):
            driver.edge.release(verify)
            wait_for(lambda: not driver.edge.has_holds(), saying="the answer is out")
            if how == "kill":
                os.kill(worker, signal.SIGKILL)
            else:
                later.enter_context(driver.stopped(worker))
        push.converged()
    quiet(push)
    push.converged()
    assert len([row for row in driver.puts(ZONE, push.since) if push.hostname in row["body"]]) == 1, "it reads first"


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_k9_committed_and_not_acknowledged(driver: Driver, ca: dict[str, Any], how: str) -> None:
    push = _push(driver, ca, "list")
    verify = push.park("verify", "after_apply_before_reply")
    with ExitStack() as later:
        with driver.stopped(driver.broker_pid()):
            driver.edge.release(verify)
            driver.done(push.row)
            if how == "kill":
                driver.kill_worker()
            else:
                later.enter_context(driver.stopped(*driver.family("worker")))
        if how == "stop":
            time.sleep(LONGER_THAN_A_LEASE_S)
    quiet(push)
    push.converged()
    assert len([row for row in driver.puts(ZONE, push.since) if push.hostname in row["body"]]) == 1


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_k10_acknowledged(driver: Driver, ca: dict[str, Any], how: str) -> None:
    push = _push(driver, ca, "list")
    driver.approve(push.row)
    push.converged()
    if how == "kill":
        driver.kill_worker()
    else:
        with driver.stopped(*driver.family("worker")):
            time.sleep(LONGER_THAN_A_LEASE_S)
    quiet(push)
    push.converged()
    assert len([row for row in driver.puts(ZONE, push.since) if push.hostname in row["body"]]) == 1


UPLOADS = [
    ("kill", "K5", "mid_request_body", False),
    ("kill", "K6-not-applied", "before_apply", False),
    ("kill", "K6-applied-late", "before_apply", True),
    ("kill", "K6-applied", "after_apply_before_reply", True),
    ("stop", "K5", "mid_request_body", False),
    ("stop", "K6-not-applied", "before_apply", False),
    ("stop", "K6-applied-late", "before_apply", True),
    ("stop", "K6-applied", "after_apply_before_reply", True),
]


@pytest.mark.parametrize(("how", "point", "at", "applied"), UPLOADS, ids=[f"{row[0]}-{row[1]}" for row in UPLOADS])
def test_an_upload_burns_one_slot(
    driver: Driver, parked: list[dict[str, Any]], how: str, point: str, at: str, applied: bool
) -> None:
    driver.edge.hold(at, method="POST", path="/mtls_certificates")
    ca = driver.admit(f"Slot {how} {point}")
    hold = driver.edge.held(wait_s=60)
    parked.append(hold)
    caller = driver.caller(hold)
    if how == "kill":
        os.kill(caller, signal.SIGKILL)
        driver.edge.release(hold, apply=applied, reply="drop")
        live = driver.ca(ca, "live")
    else:
        with driver.stopped(caller):
            driver.edge.release(hold, apply=applied, reply="send" if applied else "drop")
            live = driver.ca(ca, "live")
    rows = [row for row in driver.edge.state()["certificates"] if row["name"] == ca["name"]]
    assert [row["id"] for row in rows] == [live["cloudflare_id"]]
    ok(driver.api("engineer").delete(f"/cas/{ca['id']}/", params={"reason": "Tested"}))
    driver.ca(ca, "deleted")
