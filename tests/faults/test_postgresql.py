"""Rows 35 to 38 and 40 on PostgreSQL and Redis: sessions that end, a server that is away or full, decisions at once.

The servers are reached through proxies of the test's own, which are cut.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.faults.driver import LIST_PATH, TEMPO, Driver
from tests.faults.portals import FaultPortal
from tests.faults.proxy import Proxy
from tests.portal_process import wait_for

pytestmark = pytest.mark.timeout(600)
ZONE, OTHER_ZONE = "northwind.example", "northwind-pay.example"
NAMES = itertools.count(1)


class ProxiedPortal(FaultPortal):
    """Everything of it reaches the database through `proxy`."""

    def _own_database(self) -> None:
        super()._own_database()
        self.direct_url = self.environment["DATABASE_URL"]
        url = urlsplit(self.direct_url)
        self.proxy = Proxy(url.hostname or "127.0.0.1", url.port or 5432)
        user = f"{url.netloc.rpartition('@')[0]}@" if "@" in url.netloc else ""
        self.environment["DATABASE_URL"] = url._replace(netloc=f"{user}127.0.0.1:{self.proxy.port}").geturl()

        if self.redis:
            # A server by TCP, as deployed: that connection can be cut too.
            self.broker_proxy = Proxy("127.0.0.1", self.redis.port)
            self.environment["REDIS_URL"] = f"redis://127.0.0.1:{self.broker_proxy.port}/0"

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.proxy.close()
        if self.redis:
            self.broker_proxy.close()


@pytest.fixture(scope="module")
def portal() -> Iterator[ProxiedPortal]:
    with ProxiedPortal(**TEMPO) as running:
        yield running


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    for zone in (ZONE, OTHER_ZONE):
        running.zone(zone)
    return running.upload("PostgreSQL Root")


@pytest.fixture
def hostname() -> str:
    return f"g{next(NAMES)}.{ZONE}"


def differing(driver: Driver, hostname: str, since: int) -> int:
    return len({row["body"] for row in driver.puts(ZONE, since) if hostname in row["body"]})


def serves(driver: Driver) -> bool:
    return httpx.get(f"{driver.portal.url}/readyz").status_code == 200


def test_r36_sessions_that_are_ended_cost_one_request_at_most(
    driver: Driver, portal: ProxiedPortal, ca: dict[str, Any]
) -> None:
    names = [f"cut-{number}.{ZONE}" for number in range(6)]
    rows = [driver.ask(ca, name) for name in names]
    since = driver.seq()
    for row in rows:
        driver.approve(row)
        portal.cut_connections()
        wait_for(lambda: driver.api("engineer").get("/zones/").status_code == 200, within_s=30, saying="it answers")
    for row in rows:
        driver.done(row)
    assert set(names) <= set(driver.at_edge(ZONE, ca))
    puts = driver.puts(ZONE, since)
    assert len([row for row in puts if row["applied"] and row["before"] == row["after"]]) == 0


def test_r36_a_server_that_is_away_is_said_and_waited_for(
    driver: Driver, portal: ProxiedPortal, ca: dict[str, Any], hostname: str
) -> None:
    row, since = driver.ask(ca, hostname), driver.seq()
    with portal.proxy.down():
        assert httpx.get(f"{portal.url}/readyz").status_code == 503
        assert httpx.get(f"{portal.url}/healthz").status_code == 200, "the process lives"
        refused = driver.api("engineer2").post(f"/requests/{row['id']}/approve/", json={"digest": row["digest"]})
        assert (refused.status_code, refused.json()["code"]) == (503, "database")
        assert httpx.get(f"{portal.url}/accounts/login/").status_code in {200, 503}
        assert driver.puts(ZONE, since) == [], "nothing is written without a committed intent"
    wait_for(lambda: serves(driver), within_s=60, saying="it recovers without a restart")
    assert driver.request(row)["state"] == "waiting"
    driver.approve(row)
    driver.done(row)


@pytest.mark.parametrize("point", ["K7", "K8"])
def test_r37_a_database_that_goes_after_the_write_finds_it_by_reading(
    driver: Driver, portal: ProxiedPortal, ca: dict[str, Any], hostname: str, point: str
) -> None:
    row, since = driver.ask(ca, hostname), driver.seq()
    driver.edge.hold("after_apply_before_reply", method="PUT", path=LIST_PATH, zone=ZONE)
    driver.approve(row)
    hold = driver.edge.held(wait_s=60)
    if point == "K8":
        driver.edge.hold("after_apply_before_reply", method="GET", path=LIST_PATH, zone=ZONE)
        driver.edge.release(hold)
        hold = driver.edge.held(after=hold["id"])
    with portal.proxy.down():
        driver.edge.release(hold)
        wait_for(lambda: not driver.edge.has_holds(), saying="the answer is out")
    driver.done(row)
    assert differing(driver, hostname, since) == 1
    assert len([r for r in driver.puts(ZONE, since) if hostname in r["body"]]) == 1, "no second PUT: it read first"


def test_r38_decisions_at_the_same_instant_are_made_once(driver: Driver, ca: dict[str, Any], hostname: str) -> None:
    row = driver.ask(ca, hostname)

    def approve(_number: int) -> int:
        with driver.portal.api("engineer2") as api:
            return api.post(f"/requests/{row['id']}/approve/", json={"digest": row["digest"]}).status_code

    with ThreadPoolExecutor(16) as threads:
        codes = list(threads.map(approve, range(32)))
    assert set(codes) == {200}
    approvals = [e for e in driver.audit() if e["action"] == "request:approved" and e["subject_id"] == str(row["id"])]
    assert len(approvals) == 1
    driver.done(row)


CUTS = 20
LAST_TICK = """
import json
from apps.outbox.models import Heartbeat
print(json.dumps(Heartbeat.objects.get(part="tick").at.isoformat()))
"""


def test_r35_a_broker_whose_connections_break_again_and_again_is_consumed_from_afterwards(
    driver: Driver, portal: ProxiedPortal, ca: dict[str, Any]
) -> None:
    """Workers came back from that, connected and taking nothing. What is approved meanwhile does not wait for them."""
    assert portal.redis, "run with REDIS_URL"
    names = [f"reconnect-{number}.{ZONE}" for number in range(CUTS // 4)]
    rows = [driver.ask(ca, name) for name in names]
    for number in range(CUTS):
        with portal.broker_proxy.down():
            if number % 4 == 0:
                driver.approve(rows[number // 4])
        # Long enough for some workers to be back, so that the next cut meets new connections and half-made ones.
        time.sleep(0.3)
    for row in rows:
        driver.done(row)
    assert set(names) <= set(driver.at_edge(ZONE, ca))
    before = driver.json(LAST_TICK)
    wait_for(lambda: driver.json(LAST_TICK) > before, within_s=90, every_s=1, saying="a worker hears the scheduler")
    row = driver.ask(ca, f"after-reconnects.{ZONE}")
    driver.approve(row)
    driver.done(row)


# This needs neither root nor the server's own disk, and is what a full one answers (53100) as long as its log of
# changes has room: with none the server ends, which is row 36. A sequence counts: nothing takes its steps back.
FULL_DISK = """
CREATE SCHEMA full_disk;
CREATE TABLE full_disk.now (refuses text NOT NULL);
INSERT INTO full_disk.now VALUES ('');
CREATE SEQUENCE full_disk.refused;
CREATE FUNCTION full_disk.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM full_disk.now WHERE refuses LIKE '%' || TG_OP || '%') THEN
        PERFORM nextval('full_disk.refused');
        RAISE disk_full USING MESSAGE = 'could not extend file "base/1/1": No space left on device';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;
"""
ON_EACH_TABLE = """
SELECT format('CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW'
              ' EXECUTE FUNCTION full_disk.refuse()', tablename) FROM pg_tables WHERE schemaname = 'public'
"""


@pytest.fixture(scope="module")
def disk(portal: ProxiedPortal) -> Iterator[psycopg.Connection[Any]]:
    """A session with which the portal's database is made to refuse writes."""
    with psycopg.connect(portal.direct_url, autocommit=True) as session:
        session.execute(FULL_DISK)
        for (statement,) in session.execute(ON_EACH_TABLE).fetchall():
            session.execute(statement)
        yield session


@contextmanager
def full(disk: psycopg.Connection[Any], refuses: str) -> Iterator[None]:
    disk.execute("UPDATE full_disk.now SET refuses = %s", [refuses])
    try:
        yield
    finally:
        disk.execute("UPDATE full_disk.now SET refuses = ''")


def refused(disk: psycopg.Connection[Any]) -> int:
    [(count,)] = disk.execute("SELECT last_value FROM full_disk.refused").fetchall()
    return int(count)


@pytest.mark.parametrize("refuses", ["INSERT UPDATE DELETE", "INSERT"], ids=["every-write", "what-makes-a-table-grow"])
def test_r40_a_full_disk_refuses_writes_serves_reads_and_is_over_when_there_is_room(
    driver: Driver, disk: psycopg.Connection[Any], ca: dict[str, Any], hostname: str, refuses: str
) -> None:
    """An updated row may still find room in its page when no table can grow."""
    other = f"begun-{hostname.replace(ZONE, OTHER_ZONE)}"
    row, flying, begun = driver.ask(ca, hostname), driver.ask(ca, f"flying-{hostname}"), driver.ask(ca, other)
    another = {"kind": "cover", "ca": ca["id"], "hostnames": [f"new-{hostname}"], "mode": "verify", "reason": "Launch"}
    acts = {f"/requests/{row['id']}/approve/": {"digest": row["digest"]}, "/requests/": another}
    start = driver.seq()
    driver.edge.hold("after_apply_before_reply", method="PUT", path=LIST_PATH, zone=ZONE)
    driver.approve(flying)
    applied = driver.edge.held(wait_s=60)
    driver.edge.hold("before_apply", method="GET", path=LIST_PATH, zone=OTHER_ZONE)
    driver.approve(begun)
    read = driver.edge.held(wait_s=60, after=applied["id"])
    with full(disk, refuses):
        events, since = len(driver.audit()), driver.seq()
        for path, body in acts.items():
            answer = driver.api("engineer2").post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "database")
        assert driver.request(row)["state"] == "waiting", "reads are served"
        assert driver.get("/zones/", "admin")["results"], "to whoever was not here a minute ago too"
        before = refused(disk)
        driver.edge.release(applied)
        driver.edge.release(read)
        wait_for(lambda: refused(disk) > before + 3, within_s=60, saying="workers try to record what they do")
        assert len(driver.audit()) == events, "what cannot be recorded does not happen"
        if "UPDATE" in refuses:
            assert driver.puts(OTHER_ZONE, since) == [], "nothing is sent without a recorded intent"
    for waiting in (flying, begun):
        driver.done(waiting)
    driver.approve(row)
    driver.done(row)
    assert {hostname, f"flying-{hostname}"} <= set(driver.at_edge(ZONE, ca))
    assert other in driver.at_edge(OTHER_ZONE, ca)
    puts = driver.puts(ZONE, start) + driver.puts(OTHER_ZONE, start)
    assert len([put for put in puts if put["before"] != put["after"]]) == len(puts) == 3, "nothing is sent twice"
