"""One failing account stops no other, and the pages say which one fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.test import Client

from apps.cloudflare.zones import Zone as ZoneRecord
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.inventory.models import Account, Zone
from apps.inventory.services import store_account_read
from tests.factories import SETUP, make_account
from tests.sandbox_server import SandboxProcess
from tests.unit.reconcile.conftest import World

FAILS, WORKS = "Northwind", "Fabrikam"


def approve_only(world: World, request: CoverageRequest) -> None:
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest)


def shown(world: World, path: str, account: str) -> str:
    """The page, as it is while this account is the chosen one."""
    client = Client()
    assert world.engineer.person
    client.force_login(world.engineer.person)
    client.post("/accounts/switch/", {"account": str(Account.objects.get(name=account).pk)})
    return client.get(path).content.decode()


def test_a_revoked_token_of_one_account_leaves_the_other_to_go_on(world: World, settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    with SandboxProcess() as edge:
        edge.switch(rate_limit_on=False, rate_limit=1_000_000)
        other = World(edge, name=WORKS)
        ca, stuck = other.upload("Works"), world.ask(world.upload("Fails"), "stuck.northwind.example", mode="verify")
        goes = other.ask(ca, "goes.northwind.example")
        world.edge.revoke_token()
        try:
            # Both are due in the same round, the failing one first.
            approve_only(world, stuck)
            approve_only(other, goes)
            world.run()
            assert (request_by_id(stuck.pk).state, request_by_id(goes.pk).state) == ("approved", "done")
            assert other.edge.hostnames("northwind.example", ca.cloudflare_id) == ["goes.northwind.example"]
            before = dict(Zone.objects.filter(account=other.account).values_list("name", "read_at"))
            for each in (world, other):
                each.sweep()
            after = dict(Zone.objects.filter(account=other.account).values_list("name", "read_at"))
            assert all(after[name] > before[name] for name in before)
            assert not Zone.objects.filter(account=other.account).exclude(failing_since=None).exists()
            cards = shown(world, "/accounts/", WORKS).split('<section class="card"')
            (failing,) = [card for card in cards if f">{FAILS}</h2>" in card]
            (working,) = [card for card in cards if f">{WORKS}</h2>" in card]
            assert "Token refused" in failing and "Reading fails since" in failing
            assert "Token works" in working and "Reading fails" not in working
            assert "Cloudflare cannot be read since" in shown(world, "/associations/", FAILS)
            assert "Cloudflare cannot be read since" not in shown(world, "/associations/", WORKS)
            states = dict(Account.objects.values_list("name", "token_state"))
            assert states[WORKS] == "working" != states[FAILS]
        finally:
            world.edge.revoke_token(False)
        world.run_account()
        world.sweep()
        assert request_by_id(stuck.pk).state == "done"


def test_a_zone_that_moves_to_another_account_with_its_id_is_read_there_and_keeps_its_history_here(
    world: World,
) -> None:
    name = "passing.example"
    zone_id = world.edge.add_zone(name)
    try:
        earlier = make_account(name="Before", zones=())
        past = Zone.objects.create(account=earlier, cloudflare_id=zone_id, name=name)
        world.run_account()
        account = Account.objects.get(pk=world.account.pk)
        assert (account.last_error, account.failing_since) == ("", None)
        zone = world.zone(name)
        assert (zone.cloudflare_id, zone.pk != past.pk) == (zone_id, True)
        goes = world.ask(world.upload("Moved"), f"api.{name}")
        assert world.approve(goes).state == "done"
        other = ZoneRecord(id="0" * 32, name="stays.example", status="active", paused=False, account_id="", plan="")
        store_account_read(by=SETUP, account=earlier, zones=[other], certificates=[])
        past.refresh_from_db()
        zone.refresh_from_db()
        assert (past.vanished_at is None, zone.vanished_at) == (False, None)
    finally:
        world.edge.remove_zone(name)
