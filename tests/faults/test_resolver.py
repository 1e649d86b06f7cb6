"""Row 8: a name server that fails, and one that is silent, for an account whose address is a name.

Only as root: see resolver.py and conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.accounts import add_account
from tests.faults.driver import LIST_PATH, TEMPO, Driver
from tests.faults.resolver import Resolver, ResolvingPortal
from tests.portal_process import wait_for

pytestmark = pytest.mark.timeout(600)
HOST = "api.cloudflare.test"
FLYING, WAITING, ELSEWHERE = "northwind.example", "northwind-pay.example", "elsewhere.example"
# As many as the worker's pool has, each of which a lookup could hold up.
POOL = 3
MOVE_ONE = """
import sys
from apps.inventory.models import Account
Account.objects.filter(cloudflare_id=sys.argv[1]).update(base_url=sys.argv[2])
"""


@pytest.fixture(scope="module")
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def portal(resolver: Resolver) -> Iterator[ResolvingPortal]:
    with ResolvingPortal(resolver, **TEMPO) as running:
        yield running


@pytest.fixture(scope="module")
def cas(running: Driver) -> tuple[dict[str, Any], dict[str, Any]]:
    """One of the account that is reached by a name, one of another that is reached by an address."""
    for zone in (FLYING, WAITING):
        running.zone(zone)
    named = running.upload("Named Root")
    port = running.edge.origin.rpartition(":")[2]
    running.python(MOVE_ONE, running.edge.account_id, f"http://{HOST}:{port}/client/v4")
    other = add_account(running, "By address", ELSEWHERE)
    return named, running.upload("Other Root", account=other)


def named_zones(driver: Driver) -> list[dict[str, Any]]:
    return list(driver.get(f"/zones/?account={driver.edge.account_id}")["results"])


def calls(driver: Driver, since: int) -> list[dict[str, Any]]:
    """Calls of the named account's token."""
    token = next(token["id"] for token in driver.edge.state()["tokens"] if token["name"] == "BYOCA Portal")
    return [row for row in driver.edge.requests(since) if row["token_id"] == token]


@pytest.mark.parametrize("mode", ["servfail", "silent", "nxdomain"])
def test_r8_a_name_that_cannot_be_looked_up_is_tried_again_and_holds_up_nobody_else(
    driver: Driver, resolver: Resolver, cas: tuple[dict[str, Any], dict[str, Any]], mode: str
) -> None:
    named, other = cas
    asked = len(resolver.asked)
    driver.cover(named, f"before-{mode}.{WAITING}")
    assert len(resolver.asked) > asked, "it is this name server that is asked"
    flying, waiting = driver.ask(named, f"flying-{mode}.{FLYING}"), driver.ask(named, f"waiting-{mode}.{WAITING}")
    elsewhere = driver.ask(other, f"{mode}.{ELSEWHERE}")
    start = driver.seq()
    driver.edge.hold("after_apply_before_reply", method="PUT", path=LIST_PATH, zone=FLYING)
    driver.approve(flying)
    hold = driver.edge.held(wait_s=60)
    with resolver.mode(mode):
        driver.edge.release(hold, reply="drop")
        driver.approve(waiting)
        wait_for(
            lambda: all(zone["failing_since"] for zone in named_zones(driver)), within_s=90, saying="its zones fail"
        )
        since = driver.seq()
        # One lookup asks for two kinds of address, and for minutes: only slots that are free again begin more of them.
        wait_for(lambda: len(resolver.asked) > 2 * POOL, within_s=120, saying="it is asked again")
        driver.approve(elsewhere)
        driver.done(elsewhere)
        assert driver.request(flying)["state"] in {"approved", "applying"}, "it waits"
        assert driver.request(waiting)["state"] in {"approved", "applying"}, "it waits"
        assert calls(driver, since) == [], "no address is used that was not just looked up"
    for row in (flying, waiting):
        driver.done(row)
    for zone, name in ((FLYING, "flying"), (WAITING, "waiting")):
        assert f"{name}-{mode}.{zone}" in driver.at_edge(zone, named)
        assert len(driver.puts(zone, start)) == 1, "nothing is written twice"
    wait_for(lambda: not any(zone["failing_since"] for zone in named_zones(driver)), within_s=90, saying="all is read")
