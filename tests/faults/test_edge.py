"""What happens at the far side and on the way to it: names, TLS, tokens, objects that go, others who write."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from tests.certs import make_ca
from tests.faults.accounts import account, failing, move, told
from tests.faults.driver import LIST_PATH, Driver
from tests.portal_process import wait_for
from tests.tls_server import TlsServer

pytestmark = pytest.mark.timeout(600)
# A page waits long enough for a worker to write meanwhile, however busy the machine is.
ENVIRONMENT = {"BYOCA_PREVIEW_DEADLINE_S": "60"}
ZONE = "northwind.example"
NAMES = itertools.count(1)
AGE = """
import json, sys
from datetime import timedelta
from django.utils import timezone
from apps.inventory.models import EdgeList, EdgeRules, Zone
at = timezone.now() - timedelta(minutes=20)
zones = Zone.objects.filter(name=sys.argv[1])
EdgeList.objects.filter(zone__in=zones).update(read_at=at)
EdgeRules.objects.filter(zone__in=zones).update(read_at=at)
zones.update(read_at=at)
print(json.dumps(at.isoformat()))
"""
CHANGES = """
import json
import sys
from apps.reconcile.models import Plan
rows = Plan.objects.filter(zone__name=sys.argv[1]).order_by("number")
print(json.dumps([[plan.state, list(plan.steps.values_list("state", flat=True))] for plan in rows]))
"""


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    running.zone(ZONE)
    return running.upload("Edge Root")


@pytest.fixture
def hostname() -> str:
    return f"e{next(NAMES)}.{ZONE}"


@pytest.fixture
def moved(driver: Driver) -> Iterator[Any]:
    """Points the account at another address, and back."""
    yield partial(move, driver)
    move(driver, "")


def test_r8_a_name_without_an_address_is_tried_again_and_nothing_else_is_asked(
    driver: Driver, ca: dict[str, Any], hostname: str, moved: Any
) -> None:
    row = driver.ask(ca, hostname)
    moved("https://no-such-name.invalid/client/v4")
    before = driver.seq()
    driver.approve(row)
    wait_for(lambda: failing(driver, ZONE), within_s=60, saying="the zone fails")
    assert driver.puts(ZONE, before) == []
    assert driver.request(row)["state"] in {"approved", "applying"}, "it waits"
    moved("")
    driver.done(row)


def test_r4_while_every_read_fails_nothing_is_written_and_its_age_is_said(
    driver: Driver, ca: dict[str, Any], hostname: str
) -> None:
    driver.cover(ca, hostname)
    row, since = driver.ask(ca, f"down-{hostname}"), driver.seq()
    driver.edge.switch(down=True)
    driver.approve(row)
    wait_for(lambda: failing(driver, ZONE) and account(driver)["failing_since"], within_s=90, saying="it is said")
    # Nobody waits for a quarter of an hour: the last good reading is made that old.
    read_at = driver.json(AGE, ZONE)
    shown = driver.get(f"/hostnames/{hostname}/")
    assert shown["answer"] == "unknown", "no green by a reading of long ago"
    assert driver.zone(ZONE)["read_at"].replace("Z", "+00:00") == read_at, "its age is said"
    assert driver.request(row)["state"] in {"approved", "applying"}
    assert driver.puts(ZONE, since) == []
    driver.edge.switch(down=False)
    driver.done(row)
    wait_for(lambda: driver.answer(hostname) != "unknown", within_s=90, saying="it is known again")


def test_r7_refused_connections_are_waited_for(driver: Driver, ca: dict[str, Any], hostname: str) -> None:
    row, since = driver.ask(ca, hostname), driver.seq()
    driver.edge.fault("refuse", {"method": "PUT", "path": LIST_PATH, "zone": ZONE}, seconds=6)
    driver.approve(row)
    wait_for(lambda: refuses(driver.edge.origin), within_s=60, saying="the port is closed")
    wait_for(lambda: failing(driver, ZONE), within_s=60, saying="the zone fails")
    driver.done(row)
    puts = driver.puts(ZONE, since)
    assert [put["applied"] for put in puts] == [False, True], "certainly not applied: sent once more, as it was"
    assert len({put["body"] for put in puts}) == 1


def refuses(origin: str) -> bool:
    try:
        httpx.get(f"{origin}/_sandbox/switches")
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        return False  # It closes just now.
    return False


class Impostor(TlsServer):
    """Each connection meets another reason not to believe it: its name, its date, its protocol. Nobody trusts its
    issuer either; that a name or a date alone is enough is in test_trust.py.
    """

    def __init__(self) -> None:
        old = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
        self.kinds = [
            TlsServer("api.cloudflare.test"),
            TlsServer("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1)),
            TlsServer("127.0.0.1", versions=old),
        ]
        super().__init__("127.0.0.1")

    def _context(self) -> ssl.SSLContext:
        return self.kinds[self.connections % len(self.kinds)]._context()

    def stop(self) -> None:
        for server in self.kinds:
            server.stop()
        super().stop()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_r9_whoever_cannot_prove_to_be_cloudflare_is_told_nothing_and_named_once(
    driver: Driver, ca: dict[str, Any], hostname: str, moved: Any
) -> None:
    impostor = Impostor()
    row, events = driver.ask(ca, hostname), len(driver.audit())
    moved(f"https://127.0.0.1:{impostor.port}/client/v4")
    driver.approve(row)
    wait_for(lambda: impostor.connections > 3 and failing(driver, ZONE), within_s=90, saying="it was tried, and again")
    moved("")
    driver.done(row)
    impostor.stop()
    assert impostor.requests == [], "not a byte was sent, least of all the token"
    [event] = told(driver, "account:impostor_met", events)
    assert "could not prove to be Cloudflare" in event["reason"]


@pytest.mark.parametrize(
    ("fault", "fields"), [("status", {"status": 502}), ("page_repeats", {}), ("total_count_lies", {})]
)
def test_r18_half_a_listing_is_no_listing(
    driver: Driver, ca: dict[str, Any], fault: str, fields: dict[str, Any]
) -> None:
    names = {row["name"] for row in driver.zones()}
    driver.edge.faults({"match": {"path": "^/zones$", "times": 2}, "do": {"fault": fault, **fields}})
    wait_for(lambda: driver.edge.faults_left() == 0, within_s=60, saying="the fault is played")
    assert {row["name"] for row in driver.zones()} == names, "no zone vanishes by a failed read"
    wait_for(lambda: not account(driver)["failing_since"], within_s=60, saying="the account is read again")
    assert {row["name"] for row in driver.zones()} == names


def test_r20_a_ca_deleted_outside_is_red_and_never_made_again(driver: Driver, hostname: str) -> None:
    gone = driver.upload("Gone Root")
    driver.cover(gone, hostname, mode="block")
    assert driver.answer(hostname) in {"protected", "drift"}
    before = driver.seq()
    driver.edge.delete_certificate(gone["cloudflare_id"])
    driver.ca(gone, "gone")
    wait_for(lambda: driver.answer(hostname) == "locked_out", within_s=60, saying="its hostname is red")
    writes = [r for r in driver.edge.requests(before) if r["method"] != "GET" and r["token_id"] in driver.tokens]
    assert writes == [], "nothing is made again by itself"


def test_r21_a_full_account_parks_the_ca_with_who_holds_the_slots(driver: Driver) -> None:
    driver.edge.switch(quota=1)
    before = driver.seq()
    ca = driver.admit("One Too Many")
    failed = driver.ca(ca, "failed")
    assert "1489" in failed["state_reason"]
    assert "Edge Root" in failed["state_reason"]
    posts = [r for r in driver.edge.requests(before) if r["method"] == "POST" and "mtls_certificates" in r["path"]]
    assert len(posts) == 1, "a permanent refusal is not tried again"
    driver.edge.switch(quota=50)


def test_r23_a_foreign_change_right_after_ours_is_named_and_kept(
    driver: Driver, ca: dict[str, Any], hostname: str
) -> None:
    row = driver.ask(ca, hostname)
    driver.edge.hold("after_apply_before_reply", method="PUT", path=LIST_PATH, zone=ZONE)
    driver.approve(row)
    hold = driver.edge.held(wait_s=60)
    after_ours = driver.at_edge(ZONE, ca)
    driver.edge.edit(ZONE, ca["cloudflare_id"], [*after_ours, f"foreign-{hostname}"])
    driver.edge.release(hold)
    driver.done(row, within_s=45)
    assert driver.at_edge(ZONE, ca) == sorted([*after_ours, f"foreign-{hostname}"]), "theirs is kept"
    event = wait_for(
        lambda: next((e for e in driver.audit() if f"foreign-{hostname}" in e["details"].get("added", [])), None),
        within_s=60, saying="it is named",
    )  # fmt: skip
    assert (event["action"], event["before"]["hostnames"]) == ("edge:list_changed_outside", after_ours)


def test_r23_a_foreign_change_between_our_reading_and_our_write_is_lost_as_documented(
    driver: Driver, ca: dict[str, Any], hostname: str
) -> None:
    """No reading of ours showed it: only Cloudflare's own log can tell. Written once more, it is named and kept."""
    lost = f"lost-{hostname}"
    row, since, events = driver.ask(ca, hostname), driver.seq(), len(driver.audit())
    before = driver.at_edge(ZONE, ca)
    driver.edge.hold("before_apply", method="PUT", path=LIST_PATH, zone=ZONE)
    driver.approve(row)
    hold = driver.edge.held(wait_s=60)
    driver.edge.edit(ZONE, ca["cloudflare_id"], [*before, lost])
    driver.edge.release(hold)
    driver.done(row)
    after = sorted([*before, hostname])
    assert driver.at_edge(ZONE, ca) == after, "the last writer wins"
    [put] = driver.puts(ZONE, since)
    assert (lost in put["before"], lost in put["after"]) == (True, False), "the far side's log has both"
    driver.edge.edit(ZONE, ca["cloudflare_id"], [*after, lost])
    read_at = driver.zone(ZONE)["read_at"]
    wait_for(lambda: driver.zone(ZONE)["read_at"] > read_at, within_s=60, saying="one interval")
    wait_for(lambda: told(driver, "edge:list_changed_outside", events), within_s=10, saying="it is named")
    [event] = told(driver, "edge:list_changed_outside", events)
    assert (event["before"]["hostnames"], event["after"]["hostnames"]) == (after, sorted([*after, lost]))
    assert driver.at_edge(ZONE, ca) == sorted([*after, lost]), "and kept"


def test_r23_a_foreign_change_that_takes_ours_back_is_named_and_never_fought(
    driver: Driver, ca: dict[str, Any], hostname: str
) -> None:
    driver.cover(ca, hostname)
    before = driver.seq()
    driver.edge.edit(ZONE, ca["cloudflare_id"], [n for n in driver.at_edge(ZONE, ca) if n != hostname])
    wait_for(
        lambda: any(d["hostname"] == hostname and d["kind"] == "missing" for d in driver.get("/drift/")["results"]),
        within_s=60, saying="it is drift",
    )  # fmt: skip
    assert driver.puts(ZONE, before) == []


def test_r24_eight_more_workers_and_every_message_many_times(driver: Driver, ca: dict[str, Any]) -> None:
    names = [f"many-{next(NAMES)}.{ZONE}" for _ in range(10)]
    rows = [driver.ask(ca, name) for name in names]
    zone_id = driver.zone(ZONE)["id"]
    flood = (
        "import sys; from byoca_portal.celery import app\n"
        "for _ in range(200): app.send_task('reconcile.zone', args=[sys.argv[1]], queue='push')"
    )
    more = ("worker", "--queues", "push", "--concurrency", "8", "--loglevel", "ERROR", "--without-mingle")
    with driver.more(*more, "--without-gossip", "--without-heartbeat"), ThreadPoolExecutor(2) as threads:
        threads.submit(driver.python, flood, zone_id)
        for row in rows:
            driver.approve(row)
        for row in rows:
            driver.done(row)
    assert set(names) <= set(driver.at_edge(ZONE, ca))


@pytest.mark.parametrize("lag_s", [8, 30])
def test_r25_a_list_that_lags_is_waited_for_and_written_once(driver: Driver, ca: dict[str, Any], lag_s: int) -> None:
    """Longer than a lease and than any count of attempts may last; up to 75 s were seen at Cloudflare."""
    zone, hostname = f"lag-{lag_s}.example", f"api.lag-{lag_s}.example"
    driver.new_zones(zone)
    row = driver.ask(ca, hostname)
    events = len(driver.audit())
    driver.edge.switch(association_lag_s=lag_s)
    driver.approve(row)
    driver.done(row, within_s=lag_s + 60)
    assert len(driver.puts(zone)) == 1
    actions = [e["action"] for e in driver.audit()[events:] if hostname in e["hostnames"]]
    assert "edge:list_changed_outside" not in actions, "our own write is not taken for somebody else's"
    assert "drift:found" not in actions


def test_r25_a_list_and_rules_that_lag_are_each_written_once_and_applied_means_all_of_it(
    driver: Driver, ca: dict[str, Any]
) -> None:
    """The list lags before the rule may go, then the rule does: no call is made twice, and none is called made."""
    zone, hostname = "lag-rules.example", "api.lag-rules.example"
    driver.new_zones(zone)
    row = driver.ask(ca, hostname, mode="block")
    driver.edge.switch(association_lag_s=8, rules_lag_s=8)
    driver.approve(row)
    driver.done(row, within_s=120)
    wait_for(
        lambda: driver.json(CHANGES, zone)[-1][0] == "applied", within_s=60, every_s=1, saying="the rest is applied"
    )
    changes = driver.json(CHANGES, zone)
    assert [state for state, _ in changes] == ["superseded", "applied"]
    assert "not_started" in changes[0][1]
    assert set(changes[1][1]) == {"done"}
    sent = [call for call in driver.rule_writes(zone) if "dry_run" not in str(call["query"])]
    assert (len(driver.puts(zone)), len(sent)) == (1, 1)


def test_a_page_that_read_before_our_write_and_stores_after_it_accuses_nobody(
    driver: Driver, ca: dict[str, Any], hostname: str
) -> None:
    """A request is planned from its own reading, while a worker writes to the same zone."""
    first, events = driver.ask(ca, hostname), len(driver.audit())
    with ThreadPoolExecutor(1) as threads:
        for turn in itertools.count():
            driver.edge.hold("after_apply_before_reply", method="GET", path="entrypoint", zone=ZONE)
            asking = threads.submit(driver.ask, ca, f"second-{turn}-{hostname}")
            hold = driver.edge.held(wait_s=60)
            if not driver.is_of_worker(hold):
                break
            # A sweep came first.
            driver.edge.release(hold)
            asking.result()
        driver.approve(first)
        driver.done(first)
        driver.edge.release(hold)
        row = asking.result()
    assert [e["action"] for e in driver.audit()[events:] if e["action"].startswith("edge:")] == []
    driver.approve(row)
    driver.done(row)


def test_a_certificate_with_an_unknown_outcome_is_found_by_its_bytes(driver: Driver) -> None:
    made = make_ca("Found Root")
    driver.edge.add_certificate("Somebody was faster", made.pem)
    row = driver.send("/cas/", {"name": "Found Root", "pem": made.pem}, "engineer")
    live = driver.ca(row, "live")
    assert [c["id"] for c in driver.edge.state()["certificates"] if c["name"] == "Somebody was faster"] == [
        live["cloudflare_id"]
    ]


def calls_between(driver: Driver, mark: dict[str, Any], from_s: float, to_s: float) -> list[dict[str, Any]]:
    """Calls of the portal that began so many seconds after the marked one was answered."""
    begin, end = mark["ended_ns"] + from_s * 1e9, mark["ended_ns"] + to_s * 1e9
    rows = driver.edge.requests(mark["seq"])
    return [row for row in rows if row["token_id"] in driver.tokens and begin < row["started_ns"] < end]


def test_r1_one_429_pauses_every_process_for_as_long_as_it_says(driver: Driver, ca: dict[str, Any]) -> None:
    names = [f"pause-{number}.{zone}" for number in range(17) for zone in driver.edge.zones]
    assert len(names) >= 50
    rows = [driver.ask(ca, name) for name in names]
    since = driver.seq()
    driver.edge.fault("rate_limited", {"method": "PUT", "path": LIST_PATH}, seconds=7)
    for row in rows:
        driver.approve(row)
    for row in rows:
        driver.done(row)
    refused = next(row for row in driver.edge.requests(since) if row["status"] == 429)
    # What was on its way when the answer came could not know of it.
    assert calls_between(driver, refused, 0.5, 7) == []
    assert calls_between(driver, refused, 7, 60), "and then it goes on"


def test_r3_a_budget_that_runs_out_is_waited_for_before_anybody_is_refused(
    driver: Driver, ca: dict[str, Any], hostname: str
) -> None:
    row = driver.ask(ca, hostname)
    since = driver.seq()
    told = {"Ratelimit": '"default";r=0;t=8'}
    driver.edge.fault("headers", {"method": "GET", "path": LIST_PATH}, set=told)
    driver.approve(row)
    driver.done(row)
    mark = next(call for call in driver.edge.requests(since) if call["fault"] == "headers")
    assert calls_between(driver, mark, 1, 7) == []
    assert [call for call in driver.edge.requests(since) if call["status"] == 429] == []
