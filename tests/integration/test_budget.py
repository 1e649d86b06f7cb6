"""The request budget as Cloudflare sees it: several processes, one Redis, one database, every call counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.portal_parts import PortalParts

# Makes as many calls as it is let, for some seconds. Argument 1: seconds; 2: purpose; 3: calls at most.
CALLER = """
import sys, time
from apps.cloudflare.errors import RateLimited
from apps.inventory.budget.gate import BudgetExhausted, Purpose
from apps.inventory.models import Account
from apps.reconcile.edge import client_for
until, left = time.monotonic() + float(sys.argv[1]), int(sys.argv[3])
with client_for(Account.objects.get(), purpose=Purpose[sys.argv[2]]) as client:
    while time.monotonic() < until and left:
        try:
            client.zones.list(Account.objects.get().cloudflare_id)
            left -= 1
        except RateLimited as error:
            print("429", error.retry_after_s)
            left -= 1
        except BudgetExhausted as error:
            time.sleep(0.05)
"""
SET_BUDGET = """
import sys
from apps.inventory.models import Account, CallBudget
Account.objects.update(call_limit=int(sys.argv[1]), call_share_percent=50)
CallBudget.objects.update(published_limit=None)
"""


@pytest.fixture
def parts() -> Iterator[PortalParts]:
    with PortalParts() as running:
        yield running


def made(parts: PortalParts, since: int = 0) -> list[dict[str, Any]]:
    return [row for row in parts.sandbox.requests(since) if row["path"].endswith("/zones")]


def callers(parts: PortalParts, count: int, seconds: float, purpose: str = "CHANGE") -> None:
    parts.finish(*[parts.run(CALLER, str(seconds), purpose, "-1") for _ in range(count)])


def test_all_processes_together_keep_to_half_of_the_limit_with_redis_and_without(parts: PortalParts) -> None:
    parts.finish(parts.run(SET_BUDGET, "200"))
    callers(parts, 3, 3, "SWEEP")
    sweeps = len(made(parts))
    assert 0 < sweeps <= 70, "sweeps leave 30 % to people, and do not take all of the rest at once"
    callers(parts, 3, 4)
    assert len(made(parts)) == 95, "changes leave 5 % to removals"
    callers(parts, 2, 2, "REMOVAL")
    assert len(made(parts)) == 100
    parts.redis.stop()
    callers(parts, 3, 4)
    assert len(made(parts)) == 100 + 47, "the database allows half, so that both together stay below the limit"
    assert {row["status"] for row in made(parts)} == {200}


def test_one_429_pauses_every_process_until_it_ends(parts: PortalParts) -> None:
    parts.sandbox.fault("rate_limited", {"path": "/zones$"}, seconds=7)
    (said,) = parts.finish(parts.run(CALLER, "30", "CHANGE", "1"))
    assert said.startswith("429")
    refused = made(parts)[-1]
    assert refused["status"] == 429
    callers(parts, 3, 10)
    after = [row for row in made(parts) if row["seq"] > refused["seq"]]
    assert after, "the calls go on by themselves"
    pause_s = (datetime.fromisoformat(after[0]["at"]) - datetime.fromisoformat(refused["at"])).total_seconds()
    assert pause_s >= float(said.split()[1]) == 7
    assert {row["status"] for row in after} == {200}


def test_an_answer_that_says_nothing_is_left_slows_everybody_down_before_a_429(parts: PortalParts) -> None:
    parts.sandbox.switch(rate_limit=8, rate_window_s=4)
    callers(parts, 3, 11)
    rows = made(parts)
    assert {row["status"] for row in rows} == {200}, "never refused"
    assert len(rows) > 8, "and not given up either"
