"""What only a person can mend in an account is told once an hour, whatever number of calls meet it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.audit.models import AuditEvent
from apps.cloudflare.errors import ServerFault, TlsFailure, Unauthorized
from apps.inventory.models import Account, CallBudget
from apps.inventory.services import replace_token
from apps.outbox.models import OutboxEntry
from apps.reconcile import troubles
from apps.reconcile.faults import handling
from apps.reconcile.troubles import store_trouble
from apps.reconcile.zones import run_zone
from tests.factories import SETUP, make_account
from tests.tls_server import TlsServer
from tests.unit.reconcile.conftest import World


@pytest.fixture
def impostor() -> Iterator[TlsServer]:
    server = TlsServer("api.cloudflare.test")
    yield server
    server.stop()


def told(account: Account) -> list[tuple[str, str]]:
    events = AuditEvent.objects.filter(subject_type="account", subject_id=str(account.pk)).order_by("seq")
    return [(e.action, e.reason) for e in events if e.action in {"account:token_refused", "account:impostor_met"}]


def run_again(world: World) -> None:
    """What waits after a failure comes now, breaker or not."""
    CallBudget.objects.update(paused_until=None, pause_reason="")
    OutboxEntry.objects.update(due_at=Now())
    world.run()


def test_whoever_cannot_prove_to_be_cloudflare_is_told_once(world: World, impostor: TlsServer) -> None:
    account = Account.objects.filter(pk=world.account.pk)
    account.update(base_url=f"https://127.0.0.1:{impostor.port}/client/v4")
    for _ in range(3):
        run_again(world)
    account.update(base_url=world.edge.base_url)
    assert impostor.connections > 3
    assert impostor.requests == []
    [(action, reason)] = told(account.get())
    assert (action, "could not prove to be Cloudflare" in reason) == ("account:impostor_met", True)
    assert "could not prove to be Cloudflare" in account.get().last_error


def test_a_zone_that_meets_an_impostor_says_so_in_the_account(world: World, impostor: TlsServer) -> None:
    account = Account.objects.filter(pk=world.account.pk)
    account.update(base_url=f"https://127.0.0.1:{impostor.port}/client/v4")
    OutboxEntry.objects.filter(kind="zone").update(due_at=Now())
    run_zone(world.zone().pk)
    account.update(base_url=world.edge.base_url)
    assert "could not prove to be Cloudflare" in account.get().last_error
    assert account.get().token_state == "working", "nobody refused it"
    assert [action for action, _ in told(account.get())] == ["account:impostor_met"]


def test_a_refused_token_is_told_once_and_so_is_the_next_one(world: World) -> None:
    world.edge.revoke_token()
    for _ in range(3):
        run_again(world)
    assert [action for action, _ in told(world.account)] == ["account:token_refused"]
    replace_token(by=SETUP, account_id=world.account.pk, token="another-that-is-not-known")
    run_again(world)
    world.edge.revoke_token(False)
    assert [action for action, _ in told(world.account)] == ["account:token_refused"] * 2


@pytest.mark.django_db
def test_an_outage_is_nobodys_to_mend_and_the_rest_is_told_again_an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    account = make_account()
    for error in (ServerFault("It failed."), TlsFailure("Who is it?"), Unauthorized("No."), TlsFailure("Who is it?")):
        store_trouble(account, error, handling(error, 1))
    expected = [("account:impostor_met", "Who is it?"), ("account:token_refused", "No.")]
    assert told(account) == expected
    monkeypatch.setattr(troubles, "TOLD_EVERY", timedelta(0))
    error = Unauthorized("No.")
    store_trouble(account, error, handling(error, 1))
    assert told(account) == [*expected, ("account:token_refused", "No.")]


@pytest.mark.django_db
def test_a_refusal_of_the_token_before_says_nothing_of_the_next_one() -> None:
    """A run that began with the old token ends after it was replaced."""
    before, error = make_account(), Unauthorized("No.")
    after = replace_token(by=SETUP, account_id=before.pk, token="fresh")
    store_trouble(before, error, handling(error, 1))
    assert told(before) == []
    assert Account.objects.get(pk=before.pk).token_state == "unknown"
    store_trouble(after, error, handling(error, 1))
    assert told(before) == [("account:token_refused", "No.")]
