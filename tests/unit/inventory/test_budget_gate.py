"""Whether a call may go: shares, reserves, pauses, what answers teach, and no Redis at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.cloudflare.client import CallRecord
from apps.inventory.budget import database_counter, gate
from apps.inventory.budget.gate import BudgetExhausted, BudgetGate, Purpose, budget_key, sweep_calls_per_s
from apps.inventory.budget.redis_counter import RedisSilent, redis_counter
from apps.inventory.budget.window import WINDOW_S, Ask, Told
from apps.inventory.models import Account, CallBudget
from tests.factories import make_account

pytestmark = pytest.mark.django_db
TOKEN = "a-token"


class SilentRedis:
    """Nobody is there."""

    def take(self, *_args: Any) -> float:
        raise RedisSilent

    def note(self, *_args: Any) -> None:
        raise RedisSilent


@pytest.fixture(params=["database", "no answer"])
def counting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database counts, because there is no Redis or because it does not answer; half as much then."""
    silent = None if request.param == "database" else SilentRedis()
    monkeypatch.setattr(gate, "redis_counter", lambda: silent)
    return str(request.param)


@pytest.fixture
def account() -> Account:
    return make_account(zones=(), call_limit=400, call_share_percent=50)


def gate_for(account: Account, purpose: Purpose = Purpose.REMOVAL, token: str = TOKEN) -> BudgetGate:
    return BudgetGate(account=account, token=token, purpose=purpose)


def record(**values: Any) -> CallRecord:
    return CallRecord("GET", "/x", values.pop("status", 200), "ray", 0.1, **values)


def spend(gate: BudgetGate) -> int:
    """Calls until one is held back."""
    for made in range(10_000):
        try:
            gate.before_call()
        except BudgetExhausted:
            return made
    raise AssertionError("never held back")


def test_a_share_of_the_limit_is_kept_to_and_parts_of_it_are_kept_for_others(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "redis_counter", lambda: None)
    monkeypatch.setattr(gate, "SWEEP_BURST", 1000)
    assert spend(gate_for(account, Purpose.SWEEP)) == 140, "70 % of half of 400"
    assert spend(gate_for(account, Purpose.SWEEP)) == 0, "another process's sweep"
    assert spend(gate_for(account, Purpose.CA_DELETION)) == 30, "people still go"
    assert spend(gate_for(account, Purpose.CHANGE)) == 20, "and not every list of a CA before their hostnames"
    assert spend(gate_for(account, Purpose.REMOVAL)) == 10, "and adds have left room for removals"
    assert spend(gate_for(account, Purpose.REMOVAL, token="another")) == 200, "another token has its own"


def test_without_an_answer_of_redis_the_database_allows_half_and_never_everything(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "redis_counter", SilentRedis)
    assert spend(gate_for(account)) == 100


def test_few_sweeps_begin_in_one_moment_and_what_has_begun_goes_on(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "redis_counter", lambda: None)
    first = gate_for(account, Purpose.SWEEP)
    first.before_call()
    begun = 0
    with pytest.raises(BudgetExhausted):
        for begun in range(140):  # noqa: B007  (how far it came)
            gate_for(account, Purpose.SWEEP).before_call()
    assert 0 < begun < 140 / 4
    assert spend(first) == 140 - 1 - begun


def test_a_call_held_back_says_when_it_may_go(account: Account, counting: str) -> None:
    removal = gate_for(account)
    spend(removal)
    with pytest.raises(BudgetExhausted, match="share of Cloudflare's request limit") as held:
        removal.before_call()
    assert 0 < held.value.retry_after_s < WINDOW_S + 30
    assert held.value.category == "edge"


def test_what_is_reserved_goes_whatever_others_take(account: Account, counting: str) -> None:
    ours = gate_for(account)
    ours.reserve(8)
    ours.reserve(5)
    spend(gate_for(account))
    for _ in range(8):
        ours.before_call()
    with pytest.raises(BudgetExhausted):
        ours.before_call()
    with pytest.raises(BudgetExhausted):
        gate_for(account).reserve(2)


def test_a_reservation_beyond_the_budget_takes_what_there_is(account: Account, counting: str) -> None:
    gate_for(account).reserve(1000)
    with pytest.raises(BudgetExhausted):
        gate_for(account).before_call()


def test_one_429_pauses_every_process_even_for_what_was_reserved(account: Account, counting: str) -> None:
    ours, theirs = gate_for(account), gate_for(account)
    theirs.reserve(3)
    ours.on_response(record(status=429, retry_after_s=7.0))
    for held in (ours, theirs, gate_for(account)):
        with pytest.raises(BudgetExhausted, match="slow down") as caught:
            held.before_call()
        assert 6 < caught.value.retry_after_s < 10
    ours.on_response(record(status=429, retry_after_s=2.0))
    with pytest.raises(BudgetExhausted) as caught:
        ours.before_call()
    assert caught.value.retry_after_s > 4, "a shorter pause does not end a longer one"
    CallBudget.objects.update(paused_until=Now() - timedelta(seconds=1))
    theirs.before_call()


def test_an_answer_with_nothing_left_holds_the_next_call_back(account: Account, counting: str) -> None:
    ours = gate_for(account)
    ours.before_call()
    ours.on_response(record(ratelimit_remaining=0, ratelimit_reset_s=30))
    with pytest.raises(BudgetExhausted) as held:
        gate_for(account).before_call()
    assert 29 < held.value.retry_after_s < 36


@pytest.mark.parametrize("left", [0, 2])
def test_what_was_reserved_ends_where_the_far_side_has_less(account: Account, counting: str, left: int) -> None:
    ours = gate_for(account)
    ours.reserve(6)
    ours.before_call()
    ours.on_response(record(ratelimit_remaining=left, ratelimit_reset_s=30))
    for _ in range(left):
        ours.before_call()
        left -= 1
        ours.on_response(record(ratelimit_remaining=left, ratelimit_reset_s=30))
    with pytest.raises(BudgetExhausted):
        ours.before_call()


def test_sweeps_leave_a_part_of_what_the_far_side_has_left(account: Account, counting: str) -> None:
    gate_for(account).on_response(record(ratelimit_remaining=30, ratelimit_reset_s=60))
    with pytest.raises(BudgetExhausted):
        gate_for(account, Purpose.SWEEP).before_call()
    gate_for(account, Purpose.CHANGE).before_call()


def test_plenty_left_and_silence_change_nothing(account: Account, counting: str) -> None:
    ours = gate_for(account)
    ours.on_response(record(ratelimit_remaining=399, ratelimit_reset_s=60))
    ours.on_response(record(status=0))
    ours.before_call()
    assert CallBudget.objects.get().counts["left"] == -1


def test_a_lower_published_limit_is_learnt_and_a_higher_one_is_not_taken(account: Account, counting: str) -> None:
    ours = gate_for(account)
    ours.before_call()
    ours.on_response(record(ratelimit_quota=100, ratelimit_window_s=300))
    ours.on_response(record(ratelimit_quota=100, ratelimit_window_s=300))
    assert CallBudget.objects.get().published_limit == 100
    allowed = 50 if counting == "database" else 25
    assert 1 + spend(gate_for(account)) == allowed
    gate_for(account).on_response(record(ratelimit_quota=8000, ratelimit_window_s=600))
    assert gate_for(account)._allowed().total == 200


def test_the_redis_of_the_settings_counts_and_hears_what_is_left(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Counter:
        def take(self, token_hash: str, ask: Ask) -> float:
            asked.append((token_hash, ask))
            return 0.0

        def note(self, token_hash: str, told: Told) -> None:
            asked.append((token_hash, told))

    monkeypatch.setattr(gate, "redis_counter", Counter)
    ours = gate_for(account)
    ours.before_call()
    ours.on_response(record(ratelimit_remaining=3, ratelimit_reset_s=5000, ratelimit_quota=400, ratelimit_window_s=300))
    ours.on_response(record(status=429, retry_after_s=7.0))
    key = budget_key("a-token")
    assert asked == [(key, Ask(1, 200, 200, 0)), (key, Told(3, 900.0, 400, 300)), (key, Told(0, 7.0))]
    assert "a-token" not in key


def test_a_redis_that_falls_silent_leaves_a_database_that_knows_what_is_left(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counter:
        def note(self, *_told: Any) -> None:
            """Heard."""

    monkeypatch.setattr(gate, "redis_counter", Counter)
    gate_for(account).on_response(record(ratelimit_remaining=0, ratelimit_reset_s=30))
    monkeypatch.setattr(gate, "redis_counter", SilentRedis)
    with pytest.raises(BudgetExhausted):
        gate_for(account).before_call()


def test_the_counter_is_one_per_process_and_none_without_redis(settings: Any) -> None:
    settings.BYOCA_BUDGET_REDIS_URL = ""
    assert redis_counter() is None
    settings.BYOCA_BUDGET_REDIS_URL = "redis://127.0.0.1:1/0"
    assert redis_counter() is redis_counter()


def test_the_row_is_made_once(account: Account) -> None:
    row, now = database_counter.budget_row("key")
    again, later = database_counter.budget_row("key")
    assert row == again
    assert later >= now
    assert str(row).startswith("Budget key")


def test_sweeps_are_spread_so_that_they_fit(account: Account) -> None:
    assert sweep_calls_per_s(account) == pytest.approx(0.8 * 140 / WINDOW_S)
