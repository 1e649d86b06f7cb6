"""INV-28: a worker whose clock is an hour ahead or behind works with the others, and neither takes what they hold."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.faults.driver import LIST_PATH, Driver
from tests.portal_process import wait_for

pytestmark = pytest.mark.timeout(600)
ZONE = "northwind.example"
# Calls are held for as long as it takes to start a process that floods the queue, and outlive neither of these.
ENVIRONMENT = {"BYOCA_EDGE_DEADLINE_S": "60", "BYOCA_LEASE_S": "75"}
NAMES = itertools.count(1)
FLOOD = """
import sys
from byoca_portal.celery import app
for _ in range(300):
    app.send_task("reconcile.zone", args=[sys.argv[1]], queue="push")
"""
WORDS = (
    "worker", "--queues", "push", "--concurrency", "2", "--loglevel", "ERROR", "--without-mingle", "--without-gossip",
    "--without-heartbeat",
)  # fmt: skip


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    running.zone(ZONE)
    return running.upload("Clock Root")


def hours_off(event: dict[str, Any]) -> float:
    return (datetime.fromisoformat(event["at"]) - datetime.now(UTC)) / timedelta(hours=1)


@pytest.mark.parametrize("hours", [1, -1])
def test_a_worker_whose_clock_is_wrong_makes_changes_and_takes_no_lease_early(
    driver: Driver, ca: dict[str, Any], hours: int
) -> None:
    def next_row() -> dict[str, Any]:
        return driver.ask(ca, f"clock-{next(NAMES)}.{ZONE}")

    def it_made_some() -> bool:
        """One more change; its own stamp in the audit log says which worker made it."""
        row = next_row()
        driver.approve(row)
        driver.done(row)
        stored = [event for event in driver.audit()[events:] if event["action"] == "plan:stored"]
        return sum(round(hours_off(event)) == hours for event in stored) > 1

    events, since = len(driver.audit()), driver.seq()
    zone_id = driver.zone(ZONE)["id"]
    with driver.more(*WORDS, program=("tests.faults.wrong_clock", str(hours))), ThreadPoolExecutor(1) as threads:
        wait_for(it_made_some, within_s=180, saying="the worker with the wrong clock makes changes")
        # Whoever holds the zone in the middle of a write keeps it, however often the other is asked to take it.
        for _ in range(3):
            row = next_row()
            driver.edge.hold("before_apply", method="PUT", path=LIST_PATH, zone=ZONE)
            asking = threads.submit(driver.python, FLOOD, zone_id)
            driver.approve(row)
            hold = driver.edge.held(wait_s=60)
            asking.result()
            driver.edge.release(hold)
            driver.done(row)
    seqs = [event["seq"] for event in driver.audit()]
    assert seqs == list(range(1, len(seqs) + 1)), "the log's order is its numbers"
    puts = driver.whole(driver.puts(ZONE, since))
    assert all(put["before"] != put["after"] for put in puts if put["applied"]), "nothing is sent twice"
