"""What the far side says no to, and what it says and does not do: tokens, zones, refusals, pauses, other lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.sandbox.tokens import ALL_PERMISSIONS, Permission
from tests.faults.accounts import account, replace_token, token_in_use, told, writes
from tests.faults.driver import LIST_PATH, Driver
from tests.portal_process import wait_for

pytestmark = pytest.mark.timeout(600)
PASSING = "passing.example"
ZONES = {
    "revoked": "revoked.example",
    "expired": "expired.example",
    "disabled": "disabled.example",
    "no-waf-write": "no-waf-write.example",
    "other-address": "other-address.example",
    "absent": "absent.example",
    "garbage": "garbage.example",
    "date": "date.example",
    "without_first": "without.example",
    "with_another": "with.example",
    "loses-ours": "loses-ours.example",
    "many": "many.example",
    "lag": "lag.example",
}
PAUSED_S = """
import json
from datetime import UTC, datetime
from apps.inventory.budget.gate import budget_of
from apps.inventory.models import Account
until = budget_of(Account.objects.get()).paused_until
print(json.dumps((until - datetime.now(UTC)).total_seconds() if until else 0))
"""
# A lag may take 90 s: nobody waits for that here, its end comes now.
PATIENCE_IS_OVER = """
from django.utils import timezone
from apps.reconcile.models import Plan
print(Plan.objects.filter(state="verifying").update(verify_until=timezone.now()))
"""


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    running.new_zones(PASSING, *ZONES.values())
    return running.upload("Far Root")


def a_sweep(driver: Driver, zone: str) -> None:
    before = driver.zone(zone)["read_at"]
    wait_for(lambda: driver.zone(zone)["read_at"] > before, within_s=90, every_s=0.3, saying=f"{zone} is read again")


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"), [("absent", 200, 330), ("garbage", 200, 330), ("date", 1, 31)]
)
def test_r2_a_429_without_seconds(driver: Driver, ca: dict[str, Any], header: str, least_s: int, most_s: int) -> None:
    """Five minutes where it says nothing of use, until the date where it names one."""
    zone = ZONES[header]
    row, since = driver.ask(ca, f"api.{zone}"), driver.seq()
    match = {"method": "PUT", "path": LIST_PATH, "zone": zone}
    driver.edge.fault("rate_limited", match, retry_after=header, seconds=20)
    driver.approve(row)
    paused_s = wait_for(lambda: driver.json(PAUSED_S), within_s=60, saying="every call is held back")
    assert least_s < paused_s < most_s
    refused = next(call for call in driver.edge.requests(since) if call["status"] == 429)
    if header == "date":
        driver.done(row)
    else:
        # A token of its own has a budget of its own: nobody waits for five minutes here.
        replace_token(driver)
        driver.done(row)
    same = [call for call in driver.edge.requests(refused["seq"]) if call["token_id"] == refused["token_id"]]
    # What was on its way when the answer came could not know of it.
    pause_ns = (paused_s - 1 if header == "date" else least_s) * 1e9
    assert [c for c in same if 0.5e9 < c["started_ns"] - refused["ended_ns"] < pause_ns] == []
    assert len({put["body"] for put in driver.puts(zone, since)}) == 1


TOKENS: dict[str, dict[str, Any]] = {
    "revoked": {"revoked": True},
    "expired": {"expires_on": (datetime.now(UTC) - timedelta(minutes=1)).isoformat()},
    "disabled": {"status": "disabled"},
    "no-waf-write": {"permissions": [name for name in ALL_PERMISSIONS if name != Permission.ZONE_WAF_WRITE]},
    "other-address": {},
}
# A token that is good for other addresses than the portal's: the stand-in has none of its own to tell apart.
NOT_FROM_HERE = {"fault": "status", "status": 403, "code": 9109, "message": "Cannot use the access token from location"}


@pytest.mark.parametrize("how", TOKENS)
def test_r19_a_refused_token_stops_writes_is_told_once_and_replaced(
    driver: Driver, ca: dict[str, Any], how: str
) -> None:
    zone = ZONES[how]
    of_rules = how == "no-waf-write"
    row = driver.ask(ca, f"api.{zone}", mode="log" if of_rules else "verify")
    token, since, events = token_in_use(driver), driver.seq(), len(driver.audit())
    if TOKENS[how]:
        driver.edge.change_token(token, **TOKENS[how])
    else:
        driver.edge.faults({"match": {"token": token, "times": None}, "do": NOT_FROM_HERE})
    driver.approve(row)
    wait_for(lambda: told(driver, "account:token_refused", events), within_s=90, saying="it is told")
    assert account(driver)["token_state"] == "broken"
    if not of_rules:
        a_call = driver.seq()
        wait_for(lambda: driver.edge.requests(a_call), within_s=120, saying="it is tried again")
    else:
        a_sweep(driver, PASSING)
        assert account(driver)["token_state"] == "broken", "although it reads"
        assert "a token that may write" in driver.request(row)["state_reason"]
    refused = [call for call in writes(driver, since) if call["applied"] and "/rulesets" in call["path"]]
    assert refused == []
    assert driver.puts(zone, since) == [] or of_rules, "no list without a token that reads"
    assert driver.request(row)["state"] in {"approved", "applying"}, "the approval is not lost"
    assert len(told(driver, "account:token_refused", events)) == 1, "once, whatever number of calls is refused"
    replace_token(driver)
    driver.done(row)
    wait_for(lambda: account(driver)["token_state"] == "working", within_s=60)
    assert driver.at_edge(zone, ca) == [f"api.{zone}"]


def test_r20_a_zone_that_is_gone_is_not_green_and_works_when_it_is_back(driver: Driver, ca: dict[str, Any]) -> None:
    driver.cover(ca, f"api.{PASSING}", mode="block")
    wait_for(lambda: driver.answer(f"api.{PASSING}") == "protected", within_s=60, saying="it is green")
    since, events = driver.seq(), len(driver.audit())
    driver.edge.remove_zone(PASSING)
    wait_for(lambda: PASSING not in {row["name"] for row in driver.zones()}, within_s=60, saying="it is gone here too")
    assert told(driver, "zone:vanished", events)
    shown = driver.api("engineer").get(f"/hostnames/api.{PASSING}/")
    assert shown.status_code == 404 or shown.json()["answer"] != "protected", "not green"
    assert writes(driver, since) == []
    driver.edge.add_zone(PASSING)
    driver.zone(PASSING)
    driver.cover(ca, f"again.{PASSING}")
    assert f"again.{PASSING}" in driver.at_edge(PASSING, ca)


@pytest.mark.parametrize("stores", ["without_first", "with_another"])
def test_r17_an_edge_that_stores_another_list_is_named_and_not_fought(
    driver: Driver, ca: dict[str, Any], stores: str
) -> None:
    zone = ZONES[stores]
    a_sweep(driver, zone)
    driver.edge.edit(zone, ca["cloudflare_id"], [f"a-kept.{zone}"])
    wait_for(
        lambda: any(e["zone"] == zone for e in told(driver, "edge:list_changed_outside", 0)), within_s=60,
        saying="it is read",
    )  # fmt: skip
    row, since, events = driver.ask(ca, f"ours.{zone}"), driver.seq(), len(driver.audit())
    match = {"method": "PUT", "path": LIST_PATH, "zone": zone, "times": None}
    driver.edge.faults({"match": match, "do": {"fault": "switches", "set": {"hostnames_stored": stores}}})
    driver.approve(row)
    driver.done(row)
    a_sweep(driver, zone)
    stored = driver.at_edge(zone, ca)
    assert stored != sorted([f"a-kept.{zone}", f"ours.{zone}"])
    assert f"ours.{zone}" in stored
    [event] = [e for e in told(driver, "edge:list_changed_outside", events) if e["zone"] == zone]
    assert event["after"]["hostnames"] == stored
    [diverged] = [e for e in told(driver, "plan:diverged", events) if e["zone"] == zone]
    assert "changed outside right after it was sent" in diverged["after"]["error"]
    assert len(driver.puts(zone, since)) == 1, "no ping-pong"


def test_r17_an_edge_that_drops_our_hostname_is_no_success(driver: Driver, ca: dict[str, Any]) -> None:
    zone = ZONES["loses-ours"]
    row, since = driver.ask(ca, f"a-ours.{zone}"), driver.seq()
    match = {"method": "PUT", "path": LIST_PATH, "zone": zone, "times": None}
    driver.edge.faults({"match": match, "do": {"fault": "switches", "set": {"hostnames_stored": "without_first"}}})
    driver.approve(row)
    wait_for(lambda: "1" in driver.python(PATIENCE_IS_OVER), within_s=60, every_s=0.5, saying="it waits for the edge")
    ended = driver.ended(row)
    assert (ended["state"], "does not show what was sent" in ended["state_reason"]) == ("failed", True)
    a_sweep(driver, zone)
    assert driver.at_edge(zone, ca) == []
    assert len(driver.puts(zone, since)) == 1, "no ping-pong"


def test_r22_a_list_refused_for_one_name_of_500_leaves_the_list_and_names_it(
    driver: Driver, ca: dict[str, Any]
) -> None:
    zone = ZONES["many"]
    names = [f"n{number}.{zone}" for number in range(500)]
    driver.edge.edit(zone, ca["cloudflare_id"], [f"before.{zone}"])
    row = driver.ask(ca, *names)
    since = driver.seq()
    bad = names[321]
    refusal = {"status": 400, "code": 10021, "message": f"hostname {bad} is not valid here", "body": "envelope"}
    driver.edge.fault("status", {"method": "PUT", "path": LIST_PATH, "zone": zone}, **refusal)
    driver.approve(driver.planned(row))
    ended = driver.ended(row)
    assert (ended["state"], bad in ended["state_reason"]) == ("failed", True)
    assert driver.at_edge(zone, ca) == [f"before.{zone}"], "the list stands"
    assert len(driver.puts(zone, since)) == 1, "nothing is found out by trial writes"


def test_r25_a_lag_longer_than_any_wait_ends_in_words_and_is_written_once(driver: Driver, ca: dict[str, Any]) -> None:
    zone = ZONES["lag"]
    row, since, events = driver.ask(ca, f"api.{zone}"), driver.seq(), len(driver.audit())
    match = {"method": "GET", "path": LIST_PATH, "zone": zone, "times": None}
    driver.edge.faults({"match": match, "do": {"fault": "switches", "set": {"association_lag_s": 300}}})
    driver.approve(row)
    wait_for(lambda: "1" in driver.python(PATIENCE_IS_OVER), within_s=60, every_s=0.5, saying="it waits for the edge")
    ended = driver.ended(row)
    assert (ended["state"], "time a lag may take is over" in ended["state_reason"]) == ("failed", True)
    a_sweep(driver, zone)
    driver.edge.clear_faults()
    a_sweep(driver, zone)
    a_sweep(driver, zone)
    outside = [e for e in told(driver, "edge:list_changed_outside", events) if e["zone"] == zone]
    assert outside == [], "neither the lag nor its end is taken for somebody else's change"
    assert driver.at_edge(zone, ca) == [f"api.{zone}"]
    assert len(driver.puts(zone, since)) == 1, "no ping-pong"
