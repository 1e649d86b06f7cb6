"""The smallest budgets that an account may be given: everything takes longer, and nothing is begun anew for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.authorities.services import admit_ca
from apps.coverage.selectors import request_by_id
from apps.inventory.budget.gate import BudgetExhausted, BudgetGate, Purpose
from apps.inventory.models import Account, CallBudget
from apps.inventory.selectors import token_of
from apps.inventory.services import set_budget
from apps.inventory.stops import lift_stop, stop_writes
from apps.outbox.models import OutboxEntry
from tests.certs import make_ca
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World
from tests.unit.reconcile.test_glasses import NAME, break_glass, covered, returned


@pytest.fixture(autouse=True)
def _one_counter(settings: Any) -> None:
    """The database counts, and all of the share: what a Redis that is away would halve."""
    settings.BYOCA_BUDGET_REDIS_URL = ""


def next_window(world: World, *kinds: str) -> None:
    """Five minutes later: all calls of before are forgotten, and everything is due, or what is of some kinds."""
    CallBudget.objects.update(counts={})
    entries = OutboxEntry.objects.filter(kind__in=kinds) if kinds else OutboxEntry.objects.all()
    entries.update(due_at=Now())
    world.run()


def look_at_the_token(world: World, *, windows: int) -> Account:
    """What the account is after a look at its token that is due, and its listing. Raises where one did not happen."""
    Account.objects.filter(pk=world.account.pk).update(scope_checked_at=None)
    before = Account.objects.get(pk=world.account.pk).read_at
    assert before is not None
    # Beside zones it would be left to chance who has a window's calls.
    OutboxEntry.objects.filter(kind="zone").update(due_at=Now() + timedelta(hours=1))
    for _ in range(windows):
        next_window(world, "account")
    account = Account.objects.get(pk=world.account.pk)
    assert account.scope_checked_at and account.read_at and account.read_at > before
    return account


# 20 is the least that may be set. Of 8 calls in all sweeps may make 5, and what the look cannot do without takes 6.
@pytest.mark.parametrize("percent", [50, 40])
def test_the_daily_look_at_the_token_leaves_calls_to_list_the_account_and_upload(world: World, percent: int) -> None:
    set_budget(by=SETUP, account_id=world.account.pk, call_limit=20, call_share_percent=percent)
    account = look_at_the_token(world, windows=2)
    assert account.scope_check[-1]["result"] == "unknown"
    ca = admit_ca(by=world.engineer, account=account, name="Small", data=make_ca("Small").pem, client_issuers="self")
    for _ in range(3):
        next_window(world)
    ca.refresh_from_db()
    assert ca.state == "live"


def test_a_look_at_the_token_of_an_account_with_many_pages_of_zones_is_not_begun_anew_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"page{number}.example" for number in range(30)]
    world.edge.seed(*names)
    try:
        world.run_account()
        for module in ("apps.cloudflare.records", "apps.reconcile.accounts"):
            monkeypatch.setattr(f"{module}.PER_PAGE", 5)
        # 18 calls are enough for the look at an account with a few pages, and too few for this one's seven and more.
        set_budget(by=SETUP, account_id=world.account.pk, call_limit=52, call_share_percent=50)
        look_at_the_token(world, windows=4)
    finally:
        for name in names:
            world.edge.remove_zone(name)


@pytest.mark.parametrize("limit", [20, 26])
def test_a_change_that_fits_into_no_window_goes_on_from_one_to_the_next(world: World, limit: int) -> None:
    cas = [world.upload(f"Slice {number}") for number in range(2)]
    requests = [world.ask(ca, f"h{number}.northwind.example") for number, ca in enumerate(cas)]
    set_budget(by=SETUP, account_id=world.account.pk, call_limit=limit, call_share_percent=50)
    stop = stop_writes(by=SETUP, reason="Both go together", account_id=world.account.pk)
    for request in requests:
        world.approve(request)
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Now")
    windows = 0
    while {request_by_id(request.pk).state for request in requests} != {"done"}:
        next_window(world)
        windows += 1
        assert windows < 12, [request_by_id(request.pk).state for request in requests]
    assert windows > 1
    assert [world.actions(f"h{number}.northwind.example") for number in range(2)] == ["block", "block"]


def test_a_broken_glass_and_its_return_wait_for_no_change_to_leave_them_calls(world: World) -> None:
    covered(world, "Emergency")
    account = set_budget(by=SETUP, account_id=world.account.pk, call_limit=1000, call_share_percent=50)
    CallBudget.objects.update(counts={})
    use_up_for_changes(account)
    broken = break_glass(world)
    assert world.actions(NAME) == "log"
    CallBudget.objects.update(counts={})
    use_up_for_changes(account)
    returned(world, broken)
    assert world.actions(NAME) == "block"


def use_up_for_changes(account: Account) -> None:
    """Changes of hostnames may make no more calls in this window."""
    changes = BudgetGate(account=account, token=token_of(account), purpose=Purpose.CHANGE)
    with pytest.raises(BudgetExhausted):
        while True:
            changes.before_call()
