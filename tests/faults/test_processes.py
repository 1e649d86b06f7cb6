"""Parts of the portal that die, stop, hang, run twice, or lose what they hold."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
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
    # It is parked after 24 runs that ended their worker. Each takes seconds, so most of them are written in here.
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
    assert driver.done(row)["state"] == "done", "an approval wakes what was parked"


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
    beat = driver.part("beat")
    os.kill(beat, signal.SIGSTOP)
    wait_for(lambda: httpx.get(f"{driver.portal.url}/readyz").status_code == 503, within_s=60, saying="it is red")
    before, since = driver.zone(ZONE)["read_at"], driver.seq()
    wait_for(lambda: beat not in driver.portal.children(), within_s=60, saying="it is ended, and another started")
    wait_for(lambda: httpx.get(f"{driver.portal.url}/readyz").status_code == 200, within_s=60, saying="it is green")
    wait_for(lambda: driver.zone(ZONE)["read_at"] > before, within_s=60, saying="reading goes on")
    reads = [c for c in driver.edge.requests(since) if c["method"] == "GET" and zone_rules(driver) in c["path"]]
    # More than a dozen ticks were missed, and several sweeps.
    assert 1 <= len(reads) <= 2, "one catch-up, and no more than the next sweep beside it"


def zone_rules(driver: Driver) -> str:
    """What is read once in each reading of the zone."""
    return f"{driver.zone(ZONE)['cloudflare_id']}/rulesets/phases"


QUEUES = ("push", "maintenance", "probe", "mail")


def test_inv24_messages_that_come_twice_late_in_another_order_or_never(driver: Driver, ca: dict[str, Any]) -> None:
    """Whatever workers did not take yet is doubled and shuffled, and a third of it is lost."""
    names = [f"twice-{number}.{ZONE}" for number in range(6)]
    rows = [driver.ask(ca, name) for name in names]
    since, dice, broker = driver.seq(), random.Random(24), driver.portal.broker()
    played = 0
    for row in rows:
        played += approved_while_nothing_is_taken(driver, row, lambda: twice_late_or_never(broker, dice))
    broker.close()
    assert played >= len(rows)
    for row in rows:
        driver.done(row)
    assert set(names) <= set(driver.at_edge(ZONE, ca))
    lists = [tuple(put["sent"]["hostnames"]) for put in driver.whole(driver.puts(ZONE, since))]
    assert len(lists) == len(set(lists)) <= len(rows), "nothing is sent twice"


def approved_while_nothing_is_taken(driver: Driver, row: dict[str, Any], then: Callable[[], int]) -> int:
    """SQLite: a worker stopped amid a write holds the database, which people are told in words. Then once more."""
    while True:
        with driver.stopped(*driver.family("worker")):
            answer = driver.api("engineer2").post(f"/requests/{row['id']}/approve/", json={"digest": row["digest"]})
            if answer.status_code == 200:
                # What the scheduler rings gathers beside it.
                time.sleep(1.5)
                return then()
            assert answer.json()["code"] == "database", answer.text


def twice_late_or_never(broker: redis.Redis, dice: random.Random) -> int:
    """Returns how many messages there were."""
    found = 0
    for queue in QUEUES:
        messages: list[bytes] = broker.lrange(queue, 0, -1)  # type: ignore[assignment]
        found += len(messages)
        kept = [message for message in messages for _ in range(2) if dice.random() > 1 / 3]
        dice.shuffle(kept)
        broker.delete(queue)
        if kept:
            broker.lpush(queue, *kept)
    return found


def test_inv29_workers_that_are_replaced_one_after_another_under_load(driver: Driver, ca: dict[str, Any]) -> None:
    names = [f"rolling-{number}.{ZONE}" for number in range(9)]
    rows, since = [driver.ask(ca, name) for name in names], driver.seq()
    second = ("worker", "--queues", ",".join(QUEUES), "--concurrency", "2", "--loglevel", "ERROR", "--without-mingle")
    with driver.more(*second, "--without-gossip", "--without-heartbeat") as [other]:
        for number, row in enumerate(rows):
            driver.approve(row)
            if number % 3 == 1:
                os.kill(driver.part("worker"), signal.SIGTERM)
        other.terminate()
        other.wait(60)
        for row in rows:
            driver.done(row)
    assert set(names) <= set(driver.at_edge(ZONE, ca))
    puts = driver.whole(driver.puts(ZONE, since))
    assert all(put["applied"] and put["before"] != put["after"] for put in puts), "nothing is lost, nothing sent twice"


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


def test_r40_a_broker_whose_disk_is_full_loses_nothing_approved(
    driver: Driver, ca: dict[str, Any], hostname: str
) -> None:
    """It refuses every write until it can save again, and taking a message from a queue is one."""
    row, since = driver.ask(ca, hostname), driver.seq()
    broker, worker = driver.portal.broker(), driver.part("worker")
    with cannot_save(broker):
        driver.approve(row)
        assert driver.request(row)["state"] in {"approved", "applying", "done"}
        with pytest.raises(redis.ResponseError, match="MISCONF"):
            broker.rpop("push")
        # Some writes end a worker, some only its connection; then nothing is taken, and it is replaced for that.
        wait_for(lambda: httpx.get(f"{driver.portal.url}/readyz").status_code == 503, within_s=60, saying="it is red")
        wait_for(lambda: worker not in driver.portal.children(), within_s=90, every_s=0.5, saying="it is ended")
    broker.close()
    driver.done(row)
    assert one_put(driver, hostname, since)


@contextmanager
def cannot_save(broker: redis.Redis) -> Iterator[None]:
    """The file that it saves to cannot be written: a folder is in its place. For the server a full disk is the same."""
    options: dict[str, str] = broker.config_get("dir", "dbfilename", "save")  # type: ignore[assignment]
    file = Path(options["dir"]) / options["dbfilename"]
    file.unlink(missing_ok=True)
    file.mkdir()
    broker.config_set("save", "3600 1")
    broker.bgsave()
    wait_for(lambda: saved(broker) == "err", within_s=30, saying="it could not save")
    try:
        yield
    finally:
        file.rmdir()
        broker.bgsave()
        wait_for(lambda: saved(broker) == "ok", within_s=30, saying="it saved")
        broker.config_set("save", options["save"])


def saved(broker: redis.Redis) -> str:
    found: dict[str, Any] = broker.info("persistence")  # type: ignore[assignment]
    return str(found["rdb_last_bgsave_status"])


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
    hold = driver.edge.held(wait_s=60)
    with nothing_commits(driver.portal):
        driver.edge.release(hold)
        time.sleep(2)
    driver.done(row)
    assert one_put(driver, hostname, since)
