"""INV-44: with a read token stored, what only reads uses that one; the stand-in enforces what each token may."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from apps.audit.models import AuditEvent
from apps.authorities.services import admit_ca
from apps.coverage.selectors import request_by_id
from apps.inventory.budget.gate import budget_key
from apps.inventory.models import Account, CallBudget
from apps.inventory.services import set_healing
from apps.inventory.stops import lift_stop, stop_writes
from apps.inventory.token_services import remove_read_token, store_read_token
from apps.outbox.services import mark_due
from apps.reconcile import accounts
from apps.reconcile.accounts import run_account
from apps.reconcile.edge import client_for
from tests.certs import make_ca
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World

READ = ["account:ssl_and_certificates:read", "zone:zone:read", "zone:ssl_and_certificates:read", "zone:waf:read"]
NAMES = ("api.northwind.example", "pay.northwind.example")


class Desk:
    """The world's account with two tokens, and what each of them was used for."""

    def __init__(self, world: World) -> None:
        self.world, self.edge = world, world.edge
        self.read = self.read_token()
        self.store(self.read)
        self.ids = {"write": world.edge.state()["tokens"][0]["id"], "read": world.edge.state()["tokens"][-1]["id"]}
        world.run()
        self.seen = self.last()

    def read_token(self, permissions: list[str] = READ) -> str:
        return self.edge.make_token("Reading", permissions=permissions)

    def store(self, token: str) -> None:
        store_read_token(by=SETUP, account_id=self.world.account.pk, token=token)

    def last(self) -> int:
        return max((call["seq"] for call in self.edge.requests()), default=0)

    def calls(self, kind: str) -> list[dict[str, Any]]:
        """Since the last time anybody asked to forget."""
        return [row for row in self.edge.requests(self.seen) if row["token_id"] == self.ids[kind]]

    def forget(self) -> None:
        self.seen = self.last()

    def account(self) -> Account:
        return Account.objects.get()


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    desk = Desk(world)
    yield desk
    desk.edge.change_token(desk.ids["write"], revoked=False)


def test_sweeps_listings_drift_and_previews_read_with_the_token_that_cannot_write(desk: Desk, world: World) -> None:
    ca = world.upload("Reads")
    world.approve(world.ask(ca, NAMES[0]))
    desk.forget()
    world.edge.edit("northwind.example", ca.cloudflare_id, [NAMES[0], "x.northwind.example"])
    world.run_account()
    world.sweep()
    assert desk.calls("write") == []
    assert {row["method"] for row in desk.calls("read")} == {"GET"}
    assert all(row["status"] == 200 or row["status"] == 404 for row in desk.calls("read"))
    assert AuditEvent.objects.filter(action="drift:found").exists(), "drift was read"
    assert desk.account().read_token_state == "working"
    desk.forget()
    request = world.ask(ca, NAMES[1], mode="log")
    assert request_by_id(request.pk).plans.get().document["zones"][0]["dry_run"] == {
        "outcome": "accepted",
        "reason": "",
    }
    assert {row["method"] for row in desk.calls("read")} == {"GET"}
    rehearsed = desk.calls("write")
    assert rehearsed
    assert all(row["query"] == {"dry_run": ["true"]} for row in rehearsed), "the reading was not repeated with it"


def test_a_run_that_writes_has_the_write_token_for_its_reads_too(desk: Desk, world: World) -> None:
    desk.edge.change_token(desk.ids["read"], revoked=True)
    ca = admit_ca(
        by=world.engineer, account=world.account, name="Goes", data=make_ca("Goes").pem, client_issuers="self"
    )
    world.run()
    ca.refresh_from_db()
    assert ca.state == "live"
    of_the_account = [row for row in desk.calls("read") if "/zones/" not in row["path"]]
    assert of_the_account == [], "neither to read before the upload nor after it"
    desk.edge.change_token(desk.ids["read"], revoked=False)
    request = world.ask(ca, *NAMES)
    desk.edge.change_token(desk.ids["read"], revoked=True)
    desk.forget()
    assert world.approve(request).state == "done", "what is approved goes while the read token is refused"
    of_the_zone = [row for row in desk.edge.requests(desk.seen) if world.zone().cloudflare_id in row["path"]]
    before_the_put = itertools.takewhile(lambda row: row["method"] != "PUT", of_the_zone)
    assert {(row["method"], row["token_id"]) for row in before_the_put} == {("GET", desk.ids["write"])}


def test_a_refused_read_token_is_named_and_the_other_does_not_read_for_it(desk: Desk, world: World) -> None:
    ca = world.upload("Refused")
    desk.edge.change_token(desk.ids["read"], revoked=True)
    desk.forget()
    world.run_account()
    world.sweep()
    request = world.ask(ca, NAMES[0])
    account = desk.account()
    assert (account.read_token_state, account.token_state) == ("broken", "working")
    assert account.failing_since
    assert account.last_error.startswith("Read token: ")
    assert world.zone().last_error.startswith("Read token: ")
    assert request.state == "planning", "no plan without a reading"
    assert desk.calls("write") == []
    desk.store(desk.read_token())
    world.run()
    account = desk.account()
    assert (account.read_token_state, account.failing_since, account.last_error) == ("working", None, "")


def test_a_read_token_that_cannot_be_decrypted_is_named_and_changes_go_on(desk: Desk, world: World) -> None:
    Account.objects.update(read_token_encrypted=desk.account().token_encrypted, read_scope_checked_at=None)
    world.run_account()
    account = desk.account()
    assert (account.read_token_state, account.token_state) == ("broken", "working")
    assert account.last_error.startswith("Read token: The stored Cloudflare token cannot be decrypted.")
    assert world.upload("Undecrypted").state == "live"
    assert [row["result"] for row in desk.account().read_scope_check] == ["failed"]


def test_a_refused_write_token_leaves_reading_alone_and_stores_no_plan_each_minute(desk: Desk, world: World) -> None:
    ca = world.upload("Write refused")
    request = world.ask(ca, NAMES[0])
    desk.edge.change_token(desk.ids["write"], revoked=True)
    assert world.approve(request).state == "approved"
    assert (desk.account().token_state, desk.account().failing_since) == ("broken", None)
    desk.forget()
    for _ in range(2):
        world.sweep()
    world.run_account()
    assert {row["status"] for row in desk.calls("read")} <= {200, 404}, "reading goes on"
    assert any(world.zone().cloudflare_id in row["path"] for row in desk.calls("read")), (
        "there too, where a change waits"
    )
    assert {row["method"] for row in desk.calls("write")} == {"GET"}, "it is asked whether it works by now"
    assert request_by_id(request.pk).state == "approved"
    assert not world.zone().plans.exists()
    refused = world.ask(ca, NAMES[1], mode="log")
    assert request_by_id(refused.pk).plans.get().document["zones"][0]["dry_run"]["outcome"] == "not_tried"
    desk.edge.change_token(desk.ids["write"], revoked=False)
    world.sweep()
    assert request_by_id(request.pk).state == "done"
    assert desk.account().token_state == "working"


def test_with_both_refused_the_write_token_is_tried_for_what_is_approved(desk: Desk, world: World) -> None:
    ca = world.upload("Both refused")
    request = world.ask(ca, NAMES[0])
    for kind in ("read", "write"):
        desk.edge.change_token(desk.ids[kind], revoked=True)
    world.run_account()
    world.approve(request)
    assert (desk.account().read_token_state, desk.account().token_state) == ("broken", "broken")
    desk.edge.change_token(desk.ids["write"], revoked=False)
    world.sweep()
    assert request_by_id(request.pk).state == "done"


def test_healing_reads_with_one_token_and_puts_back_with_the_other(desk: Desk, world: World) -> None:
    ca = world.upload("Healed")
    world.approve(world.ask(ca, NAMES[0], mode="log"))
    set_healing(by=SETUP, account_id=world.account.pk, enabled=True, reason="Trial")
    world.run()
    world.edge.edit("northwind.example", ca.cloudflare_id, [])
    desk.forget()
    world.sweep()
    world.sweep()
    puts = [row for row in desk.calls("write") if row["method"] == "PUT"]
    assert len(puts) == 1
    assert NAMES[0] in str(puts[0]["body"])
    assert {row["method"] for row in desk.calls("read")} == {"GET"}


def test_a_ca_that_is_admitted_while_the_account_is_read_goes_with_the_write_token(
    desk: Desk, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_account = accounts.read_account
    admitted = []

    def then_admit(*args: Any) -> Any:
        found = read_account(*args)
        if not admitted:
            pem = make_ca("In between").pem
            admitted.append(admit_ca(by=world.engineer, account=world.account, name="In between", data=pem))
        return found

    monkeypatch.setattr(accounts, "read_account", then_admit)
    mark_due(kind="account", subject_id=world.account.pk)
    run_account(world.account.pk)
    admitted[0].refresh_from_db()
    assert admitted[0].state == "live"
    assert desk.calls("write")[0]["method"] == "POST"


def test_both_tokens_are_checked_and_one_that_may_write_is_named(desk: Desk, world: World) -> None:
    found = {row["scope"]: row["result"] for row in desk.account().read_scope_check}
    assert found["Writing rules is refused"] == "passed"
    assert "failed" not in found.values() and "excess" not in found.values()
    assert desk.account().scope_checked_at
    desk.store(desk.read_token([*READ, "zone:waf:write"]))
    world.run()
    row = next(row for row in desk.account().read_scope_check if row["result"] == "excess")
    assert (row["scope"], row["detail"]) == (
        "Zone: Zone WAF, Edit",
        "A read token must not write. Take it off the token.",
    )
    assert AuditEvent.objects.filter(action="account:read_token_checked").count() == 2
    Account.objects.update(read_scope_checked_at=None)
    world.run()
    accounts.ask_for_token_checks()
    assert desk.account().read_scope_checked_at is None, "a worker that starts checks it too"
    desk.forget()
    world.run()
    assert desk.account().read_scope_checked_at
    assert desk.calls("write") == [], "that one was checked within the hour"


def test_both_count_in_one_budget_and_a_pause_of_one_holds_both(desk: Desk, world: World) -> None:
    with client_for(desk.account()) as reader, client_for(desk.account(), writes=True) as writer:
        assert (reader.kind.name, writer.kind.name) == ("READ", "WRITE")
        assert reader.gate.token_hash == writer.gate.token_hash == budget_key(world.edge.token)
    world.sweep()
    assert not CallBudget.objects.filter(pk=budget_key(desk.read)).exists()


def test_without_it_one_token_reads_and_writes_again(desk: Desk, world: World) -> None:
    remove_read_token(by=SETUP, account_id=world.account.pk)
    desk.forget()
    world.run()
    assert desk.calls("read") == []
    assert desk.calls("write")
    assert desk.account().token_state == "working"


def test_nothing_is_rehearsed_with_a_read_token_while_writes_are_stopped(desk: Desk, world: World) -> None:
    stop = stop_writes(by=SETUP, reason="Incident")
    Account.objects.update(read_scope_checked_at=None)
    world.run_account()
    found = {row["scope"]: row["result"] for row in desk.account().read_scope_check}
    assert found["Writing rules is refused"] == "unknown"
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
