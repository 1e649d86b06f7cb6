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
RULE_ZONES = [f"rule-{number}.example" for number in range(16)]
# In these a rule of somebody else stands, and ours comes beside it; in the others ours stands already.
APPEND_ZONES = [f"append-{number}.example" for number in range(4)]
DELETE_ZONES = [f"delete-{number}.example" for number in range(3)]
EDIT_ZONE, REMOVE_ZONE, LATE_ZONE = "edit.example", "remove.example", "late.example"
NAMES = itertools.count(1)
ZONES = {
    "list": itertools.repeat(ZONE),
    "rule": itertools.cycle(RULE_ZONES),
    "append": iter(APPEND_ZONES),
    "edit": itertools.repeat(EDIT_ZONE),
    "remove": itertools.repeat(REMOVE_ZONE),
    "delete": iter(DELETE_ZONES),
}
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
# Where writes differ by their kind: on the wire. A deletion has no body to be cut.
ON_THE_WIRE = [point for point in POINTS if point[0] in {"K6-not-applied", "K6-applied"}]
WIRE_IDS = [point[0] for point in ON_THE_WIRE]


@dataclass(frozen=True)
class Kind:
    """One kind of write: by which call it is made, for what sort of request."""

    method: str
    path: str
    mode: str
    request: str = "cover"

    @property
    def is_of_rules(self) -> bool:
        return self.path != LIST_PATH


# What is tried at Cloudflare (`dry_run`) before it is sent is no write.
SENT = "^(?!.*dry_run)"
KINDS = {
    "list": Kind("PUT", LIST_PATH, "verify"),
    "rule": Kind("POST", "/rulesets$", "log"),
    "append": Kind("POST", "/rules$", "log"),
    "edit": Kind("PATCH", "/rules/", "log"),
    "remove": Kind("PUT", LIST_PATH, "verify", "uncover"),
    "delete": Kind("DELETE", "/rules/", "verify", "uncover"),
}


@dataclass
class Push:
    """One change on its way: a list of hostnames, or a rule. `wanted` is the list that it has to leave behind."""

    driver: Driver
    ca: dict[str, Any]
    what: str
    zone: str
    hostname: str
    row: dict[str, Any]
    since: int
    wanted: list[str]
    foreign: list[dict[str, Any]]

    @property
    def kind(self) -> Kind:
        return KINDS[self.what]

    @property
    def write(self) -> dict[str, str]:
        return {"method": self.kind.method, "path": self.kind.path, "query": SENT, "zone": self.zone}

    @property
    def read(self) -> dict[str, str]:
        return {"method": "GET", "path": "entrypoint" if self.kind.is_of_rules else LIST_PATH, "zone": self.zone}

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
        """Without help: done, at the edge once, nothing else touched, no second differing write of any kind."""
        self.driver.done(self.row)
        assert self.driver.at_edge(self.zone, self.ca) == self.wanted
        puts = self.driver.whole(self.driver.puts(self.zone, self.since))
        assert {tuple(sorted(row["sent"]["hostnames"])) for row in puts} <= {tuple(self.wanted)}
        assert {row["sent"]["mtls_certificate_id"] for row in puts} <= {self.ca["cloudflare_id"]}
        assert changes(puts) == 1, "one list was replaced, once"
        rules = self.driver.whole(self.driver.rule_writes(self.zone, self.since))
        assert len({(row["method"], row["path"], row["body"]) for row in rules}) == self.kind.is_of_rules
        assert changes(rules) == self.kind.is_of_rules, "one rule was written, once"
        named = [rule for rule in self.driver.edge.rules(self.zone) if self.hostname in rule["expression"]]
        assert len(named) == (self.kind.is_of_rules and self.kind.request == "cover")
        assert theirs(self.driver, self.zone) == self.foreign, "rules of others stay as they are"


def changes(rows: list[dict[str, Any]]) -> int:
    return sum(row["applied"] and row["before"] != row["after"] for row in rows)


def theirs(driver: Driver, zone: str) -> list[dict[str, Any]]:
    return [rule for rule in driver.edge.rules(zone) if not rule["ref"].startswith("byoca-")]


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    """A CA, and zones as the kinds of writes need them: with somebody's rules, with hostnames and rules of ours."""
    running.new_zones(*RULE_ZONES, *APPEND_ZONES, *DELETE_ZONES, EDIT_ZONE, REMOVE_ZONE, LATE_ZONE)
    for zone in (*APPEND_ZONES, *DELETE_ZONES, EDIT_ZONE):
        running.edge.add_rule(zone, {"action": "block", "expression": f'(http.host eq "theirs.{zone}")'})
    made = running.upload("Kill Root")
    rows = [running.ask(made, f"old.{zone}", mode="log") for zone in (*DELETE_ZONES, EDIT_ZONE)]
    rows.append(running.ask(made, *[f"old-{number}.{REMOVE_ZONE}" for number in range(10)]))
    for row in rows:
        running.approve(row)
    for row in rows:
        running.done(row)
    return made


@pytest.fixture(params=["list", "rule"])
def push(driver: Driver, ca: dict[str, Any], request: pytest.FixtureRequest) -> Push:
    return _push(driver, ca, request.param)


@pytest.fixture(params=["append", "edit", "remove", "delete"])
def other_push(driver: Driver, ca: dict[str, Any], request: pytest.FixtureRequest) -> Push:
    return _push(driver, ca, request.param)


def _push(driver: Driver, ca: dict[str, Any], what: str) -> Push:
    kind, number = KINDS[what], next(NAMES)
    zone = next(ZONES[what])
    hostname = {"remove": f"old-{number % 10}.{zone}", "delete": f"old.{zone}"}.get(what, f"k{number}.{zone}")
    if what == "rule":
        assert driver.edge.rules(zone) == [], "more pushes of rules than zones"
    before = set(driver.at_edge(zone, ca))
    wanted = before | {hostname} if kind.request == "cover" else before - {hostname}
    assert wanted != before
    row = driver.ask(ca, hostname, kind=kind.request, mode=kind.mode)
    return Push(driver, ca, what, zone, hostname, row, driver.seq(), sorted(wanted), theirs(driver, zone))


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
    killed(push, parked, call, at, applied)


def killed(push: Push, parked: list[dict[str, Any]], call: str, at: str, applied: bool) -> None:
    hold = push.park(call, at)
    parked.append(hold)
    os.kill(push.driver.caller(hold), signal.SIGKILL)
    push.driver.edge.release(hold, apply=applied, reply="drop")
    push.converged()


@pytest.mark.parametrize(("point", "call", "at", "applied"), ON_THE_WIRE, ids=WIRE_IDS)
def test_a_worker_is_killed_while_it_adds_to_a_ruleset_edits_or_removes(
    other_push: Push, parked: list[dict[str, Any]], point: str, call: str, at: str, applied: bool
) -> None:
    killed(other_push, parked, call, at, applied)


@pytest.mark.parametrize("what", ["append", "edit", "remove"])
def test_a_worker_is_killed_with_half_of_such_a_write_sent(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]], what: str
) -> None:
    killed(_push(driver, ca, what), parked, "write", "mid_request_body", False)


@pytest.mark.parametrize(("point", "call", "at", "applied"), POINTS, ids=IDS)
def test_a_worker_is_stopped_for_longer_than_its_lease(
    push: Push, parked: list[dict[str, Any]], point: str, call: str, at: str, applied: bool
) -> None:
    stopped(push, parked, call, at, applied)


@pytest.mark.parametrize("what", ["append", "edit", "remove", "delete"])
def test_a_worker_is_stopped_with_such_a_write_on_the_wire(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]], what: str
) -> None:
    """It took effect, and the one that made it sleeps: another finds it by reading."""
    stopped(_push(driver, ca, what), parked, "write", "after_apply_before_reply", True)


def stopped(push: Push, parked: list[dict[str, Any]], call: str, at: str, applied: bool) -> None:
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


ENDED = [point for point in POINTS if point[0] in {"K3", "K4", "K5", "K6-not-applied", "K7"}]


@pytest.mark.parametrize(("point", "call", "at", "applied"), ENDED, ids=[point[0] for point in ENDED])
def test_r29_a_worker_that_is_asked_to_end_finishes_what_it_began(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]], point: str, call: str, at: str, applied: bool
) -> None:
    """The other points, a second signal and SIGQUIT are in test_processes.py."""
    push = _push(driver, ca, "list")
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
    push = _push(driver, ca, "list")
    hold = push.park(call, at)
    parked.append(hold)
    push.driver.kill_worker()
    push.driver.edge.release(hold, apply=applied, reply="drop")
    push.converged()


@pytest.mark.parametrize(("at", "applied"), [("before_apply", False), ("after_apply_before_reply", True)])
def test_the_whole_worker_is_killed_with_a_rule_on_the_wire(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]], at: str, applied: bool
) -> None:
    push = _push(driver, ca, "rule")
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
