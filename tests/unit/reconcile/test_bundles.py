"""A slot that somebody filled with several certificates is not taken for the CA of ours that is among them."""

from __future__ import annotations

from apps.authorities.services import admit_ca
from apps.coverage.selectors import desired_zone
from apps.reconcile.models import Drift
from tests.certs import make_ca
from tests.unit.reconcile.conftest import World

ZONE = "northwind.example"
NAME, OTHER = f"bundle.{ZONE}", f"second.{ZONE}"


def test_a_slot_that_begins_with_our_ca_has_a_list_of_its_own(world: World) -> None:
    ca = world.upload("Ours")
    assert world.approve(world.ask(ca, NAME)).state == "done"
    bundle = world.edge.add_certificate("Bundle", ca.pem + make_ca("Partner").pem)
    world.edge.edit(ZONE, bundle, [f"theirs.{ZONE}"])
    world.run_account()
    open_drift = Drift.objects.filter(resolved_at=None, zone=world.zone())
    assert set(open_drift.filter(ca_cloudflare_id=bundle).values_list("kind", "hostname")) == {
        ("unexpected", f"theirs.{ZONE}")
    }
    assert not open_drift.filter(hostname=NAME).exists()
    assert world.approve(world.ask(ca, OTHER)).state == "done"
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == [NAME, OTHER]
    assert world.approve(world.ask(ca, NAME, kind="uncover", mode="verify")).state == "done"
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == [OTHER]
    assert world.edge.hostnames(ZONE, bundle) == [f"theirs.{ZONE}"]
    assert desired_zone(world.zone()).associations == {ca.fingerprint: frozenset({OTHER})}


def test_a_ca_of_ours_that_stands_behind_another_in_its_slot_can_be_used(world: World) -> None:
    made = make_ca("Second in it")
    slot = world.edge.add_certificate("Bundle", make_ca("First in it").pem + made.pem)
    world.run_account()
    ca = admit_ca(by=world.engineer, account=world.account, name="Behind", data=made.pem, client_issuers="self")
    world.run()
    ca.refresh_from_db()
    assert ca.cloudflare_id == slot
    assert world.approve(world.ask(ca, NAME)).state == "done"
    assert world.edge.hostnames(ZONE, slot) == [NAME]
