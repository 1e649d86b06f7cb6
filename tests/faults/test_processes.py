"""Parts of the portal that die, stop, hang, run twice, or lose what they hold."""

from __future__ import annotations

import itertools
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from tests.faults.driver import LIST_PATH, Driver
from tests.faults.locks import nothing_commits
from tests.portal_process import wait_for

pytestmark = pytest.mark.timeout(600)
ENVIRONMENT = {"BYOCA_STALE_AFTER_S": "12"}
ZONE = "northwind.example"
NAMES = itertools.count(1)
PARKED = """
from apps.outbox.models import OutboxEntry
print([(row.kind, row.parked_reason, row.attempts) for row in OutboxEntry.objects.exclude(parked_at=None)])
"""


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    running.zone(ZONE)
    return running.upload("Process Root")


@pytest.fixture
def hostname() -> str:
    return f"p{next(NAMES)}.{ZONE}"


def one_put(driver: Driver, hostname: str, since: int) -> bool:
    puts = [row for row in driver.puts(ZONE, since) if hostname in row["body"]]
    return len({row["body"] for row in puts}) == 1 == sum(row["before"] != row["after"] for row in puts)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT], ids=["sigterm", "sigquit"])
@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_r29_a_worker_that_is_asked_to_end_leaves_no_half_state(
    driver: Driver, ca: dict[str, Any], hostname: str, number: signal.Signals, twice: bool
) -> None:
    row, since = driver.ask(ca, hostname), driver.seq()
    driver.edge.hold("after_apply_before_reply", method="PUT", path=LIST_PATH, zone=ZONE)
    driver.approve(row)
    hold = driver.edge.held(wait_s=60)
    worker = driver.part("worker")
    os.kill(worker, number)
    if twice:
        os.kill(worker, number)
    driver.edge.release(hold)
    driver.done(row)
    assert one_put(driver, hostname, since)


def test_r30_a_run_that_always_kills_its_worker_is_parked_and_holds_up_nothing_else(
    driver: Driver, ca: dict[str, Any], hostname: str
) -> None:
    """The answer is so long in coming that the test can kill the process each time."""
    poison = "poison.example"
    driver.new_zones(poison)
    row = driver.ask(ca, f"api.{poison}")
    driver.python(
        "import sys; from apps.inventory.models import Zone; from apps.outbox.models import OutboxEntry\n"
        "OutboxEntry.objects.filter(subject_id=Zone.objects.get(name=sys.argv[1]).pk).update(attempts=23)",
        poison,
    )
    driver.edge.faults({"match": {"zone": poison, "times": None}, "do": {"fault": "hold", "at": "before_apply"}})
    other = driver.ask(ca, hostname)
    with ThreadPoolExecutor(1) as threads:
        over = [False]
        killing = threads.submit(_kill_callers, driver, over)
        wait_for(lambda: "middle of this zone too often" in driver.python(PARKED), within_s=90, every_s=1)
        over[0] = True
        killing.result()
    driver.edge.clear_faults()
    driver.approve(other)
    driver.done(other)
    driver.approve(row)
    driver.done(row), "an approval wakes what was parked"


def _kill_callers(driver: Driver, over: list[bool]) -> None:
    last = 0
    while not over[0]:
        try:
            hold = driver.edge.held(wait_s=1, after=last)
        except AssertionError:
            continue
        last = hold["id"]
        try:
            os.kill(driver.caller(hold), signal.SIGKILL)
        except (AssertionError, ProcessLookupError):
            continue
        finally:
            driver.edge.release(hold, apply=False, reply="drop")


def test_r31_five_beats_do_what_one_does(driver: Driver, ca: dict[str, Any], hostname: str) -> None:
    row, since = driver.ask(ca, hostname), driver.seq()
    schedules = [str(driver.portal.folder / f"beat-{number}") for number in range(4)]
    with (
        driver.more("beat", "--schedule", schedules[0], "--pidfile", ""),
        driver.more("beat", "--schedule", schedules[1], "--pidfile", ""),
        driver.more("beat", "--schedule", schedules[2], "--pidfile", ""),
        driver.more("beat", "--schedule", schedules[3], "--pidfile", ""),
    ):
        driver.approve(row)
        driver.done(row)
        idle = driver.seq()
        before = driver.zone(ZONE)["read_at"]
        wait_for(lambda: driver.zone(ZONE)["read_at"] > before, within_s=60, every_s=0.3, saying="a sweep")
    assert one_put(driver, hostname, since)
    assert driver.puts(ZONE, idle) == []


def test_r32_a_dead_beat_turns_health_red_and_is_caught_up_once(driver: Driver, ca: dict[str, Any]) -> None:
    beat, before = driver.part("beat"), driver.zone(ZONE)["read_at"]
    os.kill(beat, signal.SIGSTOP)
    wait_for(lambda: httpx.get(f"{driver.portal.url}/readyz").status_code == 503, within_s=60, saying="it is red")
    wait_for(lambda: beat not in driver.portal.children(), within_s=60, saying="it is ended, and another started")
    wait_for(lambda: httpx.get(f"{driver.portal.url}/readyz").status_code == 200, within_s=60, saying="it is green")
    wait_for(lambda: driver.zone(ZONE)["read_at"] > before, within_s=60, saying="reading goes on")


def test_r33_a_broker_that_loses_everything_loses_nothing_approved(driver: Driver, ca: dict[str, Any]) -> None:
    names = [f"flush-{number}.{ZONE}" for number in range(6)]
    rows = [driver.ask(ca, name) for name in names]
    broker = driver.portal.broker()
    for row in rows:
        driver.approve(row)
        broker.flushall()
    broker.close()
    for row in rows:
        driver.done(row)
    assert set(names) <= set(driver.at_edge(ZONE, ca))


def test_r33_a_broker_that_comes_back_empty(driver: Driver, ca: dict[str, Any], hostname: str) -> None:
    row = driver.ask(ca, hostname)
    driver.portal.broker().flushall()
    os.kill(driver.broker_pid(), signal.SIGKILL)
    driver.approve(row)
    if driver.portal.redis:
        driver.portal.redis.stop()
        driver.portal.redis.start()
    driver.done(row)


def test_r34_an_approval_commits_while_the_broker_hangs(driver: Driver, ca: dict[str, Any], hostname: str) -> None:
    row = driver.ask(ca, hostname)
    with driver.stopped(driver.broker_pid()):
        driver.approve(row)
        assert driver.request(row)["state"] == "approved"
    driver.done(row)


def test_r34_an_approval_commits_while_the_broker_is_full(driver: Driver, ca: dict[str, Any], hostname: str) -> None:
    row = driver.ask(ca, hostname)
    broker = driver.portal.broker()
    broker.config_set("maxmemory", "1mb")
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        for number in range(100):
            broker.set(f"filler-{number}", "x" * 100_000)
    driver.approve(row)
    assert driver.request(row)["state"] in {"approved", "applying", "done"}
    broker.config_set("maxmemory", "0")
    broker.close()
    driver.done(row)


def test_r35_a_worker_that_stops_consuming_is_started_again(driver: Driver, ca: dict[str, Any], hostname: str) -> None:
    row = driver.ask(ca, hostname)
    worker = driver.part("worker")
    # It lives and takes nothing, as after a reconnect that went wrong.
    os.kill(worker, signal.SIGSTOP)
    driver.approve(row)
    wait_for(lambda: worker not in driver.portal.children(), within_s=90, every_s=0.5, saying="it is ended")
    driver.done(row)


def test_r38_sixteen_writers_at_once_lose_nothing(driver: Driver, ca: dict[str, Any]) -> None:
    names = [f"busy-{number}.{ZONE}" for number in range(16)]

    def write(name: str) -> int:
        with driver.portal.api("owner") as api:
            body = {"kind": "cover", "ca": ca["id"], "hostnames": [name], "mode": "verify", "reason": "Busy"}
            return api.post("/requests/", json=body, timeout=60).status_code

    with ThreadPoolExecutor(16) as threads:
        codes = list(threads.map(write, names))
    assert codes == [201] * 16
    seqs = [event["seq"] for event in driver.audit()]
    assert seqs == list(range(1, len(seqs) + 1))


def test_r38_a_database_that_is_locked_for_a_while_costs_time_only(
    driver: Driver, ca: dict[str, Any], hostname: str
) -> None:
    row, since = driver.ask(ca, hostname), driver.seq()
    driver.edge.hold("after_apply_before_reply", method="PUT", path=LIST_PATH, zone=ZONE)
    driver.approve(row)
    hold = driver.edge.held()
    with nothing_commits(driver.portal):
        driver.edge.release(hold)
        time.sleep(2)
    driver.done(row)
    assert one_put(driver, hostname, since)
