"""Row 40: a disk that is full, and the file of SQLite after it."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.faults.driver import LIST_PATH, Driver
from tests.portal_process import wait_for

ZONE = "northwind.example"


@contextmanager
def full_disk(driver: Driver) -> Iterator[None]:
    """No file of the portal's processes may grow: the kernel refuses each write past the first page."""
    pids = [pid for name in ("web", "worker") for pid in session(driver.part(name))]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def session(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "-s", str(pid)], capture_output=True, text=True, check=True)
    return [int(word) for word in listed.stdout.split()]


@pytest.mark.timeout(300)
def test_r40_a_full_disk_refuses_writes_serves_reads_and_is_over_when_there_is_room(driver: Driver) -> None:
    driver.zone(ZONE)
    ca = driver.upload("Full Root")
    row = driver.ask(ca, f"full.{ZONE}")
    flying = driver.ask(ca, f"flying.{ZONE}")
    driver.edge.hold("after_apply_before_reply", method="PUT", path=LIST_PATH, zone=ZONE)
    driver.approve(flying)
    hold = driver.edge.held(wait_s=60)
    events, since = len(driver.audit()), driver.seq()
    with full_disk(driver):
        refused = driver.api("engineer2").post(f"/requests/{row['id']}/approve/", json={"digest": row["digest"]})
        assert (refused.status_code, refused.json()["code"]) == (503, "database")
        assert driver.request(row)["state"] == "waiting", "reads are served"
        assert driver.get("/zones/", "admin")["results"], "to whoever was not here a minute ago too"
        assert len(driver.audit()) == events, "what cannot be recorded does not happen"
        driver.edge.release(hold)
        wait_for(lambda: not driver.edge.has_holds(), saying="the answer is out")
        assert differing(driver, since) == []
    driver.done(flying)
    driver.approve(row)
    driver.done(row)
    with closing(sqlite3.connect(driver.portal.folder / "portal.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def differing(driver: Driver, since: int) -> list[dict[str, Any]]:
    return [row for row in driver.puts(ZONE, since) if row["applied"] and row["before"] != row["after"]]
