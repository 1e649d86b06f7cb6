"""What the portal cannot explain stops its writes until a person decides: rows 45 and 46, and a foreign writer."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.certs import make_ca
from tests.faults.driver import TEMPO, Driver
from tests.faults.portals import FaultPortal
from tests.portal_process import wait_for

pytestmark = pytest.mark.timeout(600)
ZONE = "northwind.example"


def backup(driver: Driver) -> Path:
    """A copy of the database as it is now."""
    target = driver.portal.folder / "backup"
    if driver.portal.database:
        url = driver.portal.environment["DATABASE_URL"]
        subprocess.run(["pg_dump", "--format=custom", "--file", str(target), url], check=True)
        return target
    with (
        closing(sqlite3.connect(driver.portal.folder / "portal.sqlite3")) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)
    return target


def restore(driver: Driver, copy: Path) -> None:
    """Put the copy in the database's place; whatever lies outside of it stays."""
    portal = driver.portal
    if portal.database:
        url = portal.environment["DATABASE_URL"]
        with psycopg.connect(f"{url.rpartition('/')[0]}/postgres", autocommit=True) as session:
            session.execute(f'DROP DATABASE "{portal.database}" WITH (FORCE)')
            session.execute(f'CREATE DATABASE "{portal.database}"')
        subprocess.run(["pg_restore", "--no-owner", "--dbname", url, str(copy)], check=True)
        return
    for name in ("portal.sqlite3", "portal.sqlite3-wal", "portal.sqlite3-shm"):
        (portal.folder / name).unlink(missing_ok=True)
    shutil.copy(copy, portal.folder / "portal.sqlite3")


def stops(driver: Driver) -> list[dict[str, Any]]:
    return list(driver.get("/stops/")["results"])


def lift(driver: Driver, stop: dict[str, Any]) -> None:
    driver.send(f"/stops/{stop['id']}/lift/", {"reason": "Looked at the edge: it is right."}, "admin")


def writes(driver: Driver, since: int) -> list[dict[str, Any]]:
    rows = driver.edge.requests(since)
    return [row for row in rows if row["method"] != "GET" and row["token_id"] in driver.tokens]


def banner(driver: Driver) -> str:
    """What every page says, to whoever signs in."""
    return driver.page("/drift/")


def test_r45_a_restored_backup_writes_nothing_until_somebody_decides() -> None:
    with FaultPortal(**TEMPO) as portal, closing(Driver(portal)) as driver:
        driver.zone(ZONE)
        ca = driver.upload("Restored Root")
        driver.cover(ca, f"before.{ZONE}")
        open_row = driver.ask(ca, f"wanted.{ZONE}")
        copy = backup(driver)
        driver.cover(ca, f"after.{ZONE}")
        edge = driver.at_edge(ZONE, ca)
        head = driver.audit()[-1]["seq"]
        wait_for(lambda: str(head) in (portal.folder / "audit-mark.json").read_text(), saying="the mark is kept")
        portal.stop()
        restore(driver, copy)
        since = driver_log(portal)
        portal.start()

        found = wait_for(lambda: stops(driver), within_s=60, saying="it is noticed")
        assert [(stop["scope"], stop["stopped_by_label"]) for stop in found] == [("everything", "Portal (alarm)")]
        assert "restored from a backup" in found[0]["reason"]
        assert "restored from a backup" in banner(driver)
        fresh = driver.ask(ca, f"next.{ZONE}")
        driver.approve(fresh)
        before = driver.zone(ZONE)["read_at"]
        wait_for(lambda: driver.zone(ZONE)["read_at"] > before, within_s=60, saying="reading goes on")
        assert writes(driver, since) == []
        assert driver.at_edge(ZONE, ca) == edge, "yesterday's list is not pushed over today's"
        assert driver.answer(f"after.{ZONE}") == "drift", "what the backup does not know is named"
        lift(driver, found[0])
        driver.done(fresh)
        assert stops(driver) == []
        assert set(edge) < set(driver.at_edge(ZONE, ca))
        assert {e["action"] for e in driver.audit()} >= {"writes:stopped", "writes:resumed"}
        wait_for(lambda: driver.zone(ZONE)["read_at"] > before, within_s=60)
        assert stops(driver) == [], "what was decided is not asked again"
        assert driver.request(open_row)["state"] == "stale"


def driver_log(portal: FaultPortal) -> int:
    """The last line of the stand-in's request log, read from its store while it is down."""
    with closing(sqlite3.connect(portal.folder / "sandbox" / "sandbox.sqlite3")) as store:
        return int(store.execute("SELECT max(seq) FROM requests").fetchone()[0])


@pytest.fixture
def second(portal: FaultPortal) -> Iterator[FaultPortal]:
    """Another installation by mistake: its own database and sandbox, and the first one's token."""
    card = portal.demo["sandbox"]
    with FaultPortal(**TEMPO, CLOUDFLARE_API_BASE_URL=card["base_url"]) as running:
        yield running


MOVE_HERE = """
import sys
from apps.identity.actors import Actor
from apps.inventory.models import Account
from apps.inventory.services import add_account
by = Actor("portal", "portal:test", "Portal (test)", "cli")
add_account(by=by, name="Production by mistake", cloudflare_id=sys.argv[1], token=sys.argv[2], mode="read_write")
"""


def test_r46_a_second_installation_on_the_account_writes_nothing(
    driver: Driver, portal: FaultPortal, second: FaultPortal, request: pytest.FixtureRequest
) -> None:
    other = Driver(second)
    ca = driver.upload("First Root")
    driver.cover(ca, f"first.{ZONE}", mode="log")
    edge = driver.at_edge(ZONE, ca)
    request.addfinalizer(other.close)
    card = portal.demo["sandbox"]
    other.python(MOVE_HERE, card["account_id"], card["token"])
    found = wait_for(lambda: stops(other), within_s=90, saying="the other one notices")
    assert found[0]["scope"] == "account"
    assert "another installation" in found[0]["reason"]
    assert "another installation" in banner(other)
    since = driver.seq()
    admitted = other.send(
        "/cas/", {"name": "Second", "pem": make_ca("Second").pem, "account": card["account_id"]}, "engineer"
    )
    path = f"/zones/?account={card['account_id']}"
    before = other.get(path)["results"][0]["read_at"]
    wait_for(lambda: other.get(path)["results"][0]["read_at"] > before, within_s=90, saying="it reads on")
    assert other.get(f"/cas/{admitted['id']}/")["state"] == "queued"
    assert writes(driver, since) == []
    assert driver.at_edge(ZONE, ca) == edge
    assert stops(driver) == [], "the one that belongs here goes on"
    driver.cover(ca, f"goes-on.{ZONE}", mode="log")


def test_a_program_that_keeps_taking_our_writes_back_stops_the_zone(driver: Driver) -> None:
    ca = driver.upload("Fought Root")
    zone = "northwind-pay.example"
    for number in range(3):
        name = f"fought-{number}.{zone}"
        driver.cover(ca, name)
        assert stops(driver) == [], "a single correction is no reason"
        driver.edge.edit(zone, ca["cloudflare_id"], [])
        wait_for(partial(is_gone_from_reads, driver, name), within_s=60, saying="the portal has read it")
    found = wait_for(lambda: stops(driver), within_s=60, saying="it is noticed")
    assert (found[0]["scope"], found[0]["zone"]["name"]) == ("zone", zone)
    row = driver.ask(ca, f"waits.{zone}")
    since = driver.seq()
    driver.approve(row)
    before = driver.zone(zone)["read_at"]
    wait_for(lambda: driver.zone(zone)["read_at"] > before, within_s=60)
    assert driver.puts(zone, since) == []
    driver.cover(ca, f"elsewhere.{ZONE}")
    lift(driver, found[0])
    driver.done(row)


def is_gone_from_reads(driver: Driver, hostname: str) -> bool:
    """Whether the last read no longer showed the hostname at the edge."""
    rows = driver.get("/associations/?page_size=500")["results"]
    cells = [cell for row in rows if row["hostname"] == hostname for cell in row["cells"]]
    return not any(cell["state"] in {"live", "unexpected"} for cell in cells)
