"""The circuit breaker of one token: what opens it, who may try, what closes it. No time passes but in the database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now

from apps.cloudflare.client import CallRecord, Health
from apps.inventory.budget import gate
from apps.inventory.budget.breaker import COOLDOWN_S, LONGEST_COOLDOWN_S, claim_trial
from apps.inventory.budget.gate import BudgetExhausted, BudgetGate, Purpose, budget_key, budget_of
from apps.inventory.models import Account, CallBudget
from tests.factories import make_account

pytestmark = pytest.mark.django_db
TOKEN = "a-token"
ONE, TWO = f"/zones/{'1' * 32}/rulesets", f"/zones/{'2' * 32}/rulesets"
LISTING = f"/accounts/{'a' * 32}/mtls_certificates"


@pytest.fixture(autouse=True)
def _database_counts(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(gate, "redis_counter", lambda: None)
    settings.BYOCA_BREAKER_FAULTS = 3


@pytest.fixture
def account() -> Account:
    return make_account(zones=(), call_limit=1000)


def gate_for(account: Account, token: str = TOKEN) -> BudgetGate:
    return BudgetGate(account=account, token=token, purpose=Purpose.CHANGE)


def called(account: Account, *paths: str, health: Health = "down", token: str = TOKEN, **values: Any) -> None:
    """Calls of a process each, with the same end. Raises BudgetExhausted for one that is held back."""
    for path in paths:
        asked = gate_for(account, token)
        asked.before_call()
        asked.on_response(CallRecord("GET", path, 503, "ray", 0.1, health=health, **values))


def held_s(account: Account) -> float:
    """Seconds for which every call is held, without jitter."""
    row = CallBudget.objects.annotate(left=F("paused_until") - Now()).get()
    assert row.left is not None
    return float(row.left.total_seconds())


def cooled() -> None:
    CallBudget.objects.update(paused_until=Now() - timedelta(seconds=1))


def test_faults_in_a_row_hold_every_call_of_the_token_and_of_no_other(account: Account) -> None:
    called(account, ONE, TWO)
    assert budget_of(account).down_since is None
    called(account, LISTING)
    with pytest.raises(
        BudgetExhausted, match=r"Cloudflare does not answer .*3 calls in a row.* goes on by itself"
    ) as held:
        gate_for(account).before_call()
    assert 0 < held.value.retry_after_s < COOLDOWN_S + 3
    with pytest.raises(BudgetExhausted):
        gate_for(account).reserve(1)
    called(account, ONE, TWO, health="answered", token="another")


def test_an_answer_begins_the_count_anew_a_refusal_too(account: Account) -> None:
    called(account, ONE, TWO)
    called(account, LISTING, health="answered")
    called(account, ONE, TWO)
    gate_for(account).before_call()
    called(account, LISTING, retry_after_s=1.0, health="answered")
    assert CallBudget.objects.get().faults == 0


def test_what_could_not_be_read_is_neither(account: Account) -> None:
    called(account, ONE, TWO)
    called(account, *[LISTING] * 5, health="unclear")
    assert CallBudget.objects.get().faults == 2


def test_one_zone_alone_never_opens_it(account: Account) -> None:
    called(account, *[ONE] * 20)
    gate_for(account).before_call()
    called(account, TWO)
    with pytest.raises(BudgetExhausted, match="does not answer"):
        gate_for(account).before_call()


def test_one_call_tries_after_the_cool_down_and_its_answer_closes(account: Account) -> None:
    called(account, ONE, TWO, LISTING)
    cooled()
    trial = gate_for(account)
    trial.reserve(2)
    trial.before_call()
    with pytest.raises(BudgetExhausted, match="does not answer") as held:
        gate_for(account).before_call()
    assert held.value.retry_after_s < 10, "the trial may be answered at once"
    trial.on_response(CallRecord("GET", ONE, 200, "ray", 0.1))
    row = CallBudget.objects.get()
    assert (row.faults, row.open_since, row.paused_until, row.failed_trials) == (0, None, None, 0)
    gate_for(account).before_call()
    trial.before_call()


def test_each_failed_trial_doubles_the_cool_down_up_to_a_bound(account: Account) -> None:
    called(account, ONE, TWO, LISTING)
    seen = [held_s(account)]
    for _ in range(6):
        cooled()
        called(account, ONE)
        seen.append(held_s(account))
    wanted = [min(COOLDOWN_S * 2**n, LONGEST_COOLDOWN_S) for n in range(7)]
    assert all(most - 2 < left <= most for left, most in zip(seen, wanted, strict=True)), seen
    cooled()
    called(account, ONE, health="answered")
    called(account, ONE, TWO, LISTING)
    assert held_s(account) <= COOLDOWN_S, "it begins anew"


def test_a_call_from_before_it_opened_changes_no_cool_down(account: Account) -> None:
    late = gate_for(account)
    late.before_call()
    called(account, ONE, TWO, LISTING)
    late.on_response(CallRecord("GET", ONE, 0, "", 30.0, health="down"))
    assert CallBudget.objects.get().failed_trials == 0


def test_a_trial_whose_process_died_is_given_up(account: Account) -> None:
    called(account, ONE, TWO, LISTING)
    cooled()
    gate_for(account).before_call()
    CallBudget.objects.update(trial_until=Now() - timedelta(seconds=1))
    called(account, ONE, health="answered")
    gate_for(account).before_call()


def test_of_two_that_ask_at_once_one_tries(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    called(account, ONE, TWO, LISTING)
    cooled()
    late = gate_for(account)
    take = late._take

    def then_another(*args: Any) -> None:
        take(*args)
        assert claim_trial(budget_key(TOKEN))

    monkeypatch.setattr(late, "_take", then_another)
    with pytest.raises(BudgetExhausted, match="does not answer"):
        late.before_call()


def test_a_trial_that_failed_meanwhile_lets_no_second_one_go(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many workers wait for the same moment: the trial of the first is over before the others have asked for theirs."""
    called(account, ONE, TWO, LISTING)
    cooled()
    late = gate_for(account)
    take = late._take

    def then_another_fails(*args: Any) -> None:
        take(*args)
        called(account, TWO)

    monkeypatch.setattr(late, "_take", then_another_fails)
    with pytest.raises(BudgetExhausted, match="does not answer"):
        late.before_call()
    assert CallBudget.objects.get().failed_trials == 1


def test_a_pause_after_a_429_outlives_the_answer_that_closes_it(account: Account) -> None:
    called(account, ONE, TWO, LISTING)
    cooled()
    called(account, ONE, health="answered", retry_after_s=60.0)
    assert budget_of(account).down_since is None
    with pytest.raises(BudgetExhausted, match="slow down"):
        gate_for(account).before_call()
