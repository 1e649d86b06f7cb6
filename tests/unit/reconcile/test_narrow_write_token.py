"""A write token for fewer zones than the read token has: what it does not list is not gone."""

from __future__ import annotations

from apps.audit.models import AuditEvent
from apps.authorities.services import admit_ca
from apps.inventory.services import replace_token
from apps.inventory.token_services import store_read_token
from tests.certs import make_ca
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World


def test_a_run_that_writes_takes_no_zone_for_gone_that_the_read_token_lists(world: World) -> None:
    zone = next(name for name in world.edge.zones if name != "northwind.example")
    assert world.zone(zone).vanished_at is None
    store_read_token(by=SETUP, account_id=world.account.pk, token=world.edge.make_token("Reading"))
    narrow = world.edge.make_token("Narrow", zones=["northwind.example"])
    replace_token(by=SETUP, account_id=world.account.pk, token=narrow)
    world.run()
    assert world.zone(zone).vanished_at is None, "the read token lists it"
    world.account.refresh_from_db()
    admit_ca(by=world.engineer, account=world.account, name="N", data=make_ca("N").pem, client_issuers="self")
    world.run()
    assert world.zone(zone).vanished_at is None
    assert not AuditEvent.objects.filter(action="zone:vanished").exists()
