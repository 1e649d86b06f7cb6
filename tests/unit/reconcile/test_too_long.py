"""A rule that would be longer than Cloudflare takes fails the request that makes it so, and nobody else's."""

from __future__ import annotations

from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca
from apps.coverage.selectors import request_by_id
from apps.inventory.stops import lift_stop, stop_writes
from apps.planning.rule import pins_in
from apps.reconcile.services import submit_issuers
from tests.certs import make_ca
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World
from tests.unit.reconcile.test_glasses import asked_for, break_glass, returned

ZONE = "northwind.example"
FULL, NIGHT, LEAVES = f"full.{ZONE}", f"night.{ZONE}", f"leaves.{ZONE}"
MOST = 20


def with_issuers(world: World, number: int) -> CertificateAuthority:
    """A CA with as many known issuers as it may have. Those of four fit into one rule, those of five do not."""
    ca = world.upload(f"Issuers {number}")
    issuers = [{"ski": f"{number:02X}{turn:038X}", "source": "sample"} for turn in range(MOST)]
    CertificateAuthority.objects.filter(pk=ca.pk).update(issuers=issuers)
    ca.refresh_from_db()
    return ca


def test_it_keeps_no_glass_and_no_removal_and_no_other_request_from_going(world: World) -> None:
    cas = [with_issuers(world, number) for number in range(5)]
    for ca in cas[:3]:
        assert world.approve(world.ask(ca, FULL)).state == "done"
    assert world.approve(world.ask(cas[0], NIGHT, LEAVES)).state == "done"
    asked = [world.ask(ca, FULL) for ca in cas[3:]]
    removal = world.ask(cas[0], LEAVES, kind="uncover", mode="verify")
    other = world.ask(cas[1], f"other.{ZONE}", mode="log")
    stop = stop_writes(by=SETUP, reason="Incident")
    for request in (*asked, removal, other):
        assert world.approve(request).state == "approved"
    broken = break_glass(world, NIGHT)
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    assert (request_by_id(broken.request_id).state, world.actions(NIGHT)) == ("done", "log")
    assert (request_by_id(removal.pk).state, world.actions(LEAVES)) == ("done", "")
    assert (request_by_id(other.pk).state, world.actions(f"other.{ZONE}")) == ("done", "log")
    assert [request_by_id(request.pk).state for request in asked] == ["done", "failed"]
    assert "too many known issuers" in request_by_id(asked[1].pk).state_reason
    _, back = asked_for(returned(world, broken))
    assert (back.state, world.actions(NIGHT)) == ("done", "block")


def test_issuers_that_make_it_too_long_go_back_and_the_rest_goes(world: World) -> None:
    cas = [with_issuers(world, number) for number in range(4)]
    root = make_ca("Partners")
    growing = admit_ca(
        by=world.engineer, account=world.account, name="Partners", data=root.pem, client_issuers="self"
    )  # fmt: skip
    world.run()
    growing.refresh_from_db()
    for ca in (*cas[:3], growing):
        assert world.approve(world.ask(ca, FULL)).state == "done"
    assert world.approve(world.ask(cas[0], NIGHT)).state == "done"
    cover = world.ask(cas[3], FULL)
    entries = ["self", *(make_ca(f"Issuing {turn}", issuer=root).pem for turn in range(MOST - 1))]
    change = submit_issuers(by=world.other_engineer, ca=growing, entries=entries, reason="New issuing CAs")
    stop = stop_writes(by=SETUP, reason="Incident")
    assert world.approve(cover).state == "approved"
    assert world.approve(change).state == "approved"
    broken = break_glass(world, NIGHT)
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    assert (request_by_id(broken.request_id).state, world.actions(NIGHT)) == ("done", "log")
    assert (request_by_id(cover.pk).state, request_by_id(change.pk).state) == ("done", "failed")
    growing.refresh_from_db()
    assert growing.issuer_skis == {growing.ski}
    (rule,) = [rule for rule in world.edge.rules(ZONE) if f'"{FULL}"' in rule["expression"]]
    assert pins_in(rule["expression"]) == {ski for ca in (growing, *cas) for ski in ca.issuer_skis or ()}


def test_a_read_proves_no_rule_right_that_cannot_be_written(world: World) -> None:
    cas = [with_issuers(world, number) for number in range(5)]
    for ca in cas[:3]:
        assert world.approve(world.ask(ca, FULL)).state == "done"
    world.edge.edit(ZONE, cas[3].cloudflare_id, [FULL])
    world.sweep()
    adopted, cover = world.ask(cas[3], FULL, kind="adopt"), world.ask(cas[4], FULL)
    stop = stop_writes(by=SETUP, reason="Incident")
    for request in (cover, adopted):
        assert world.approve(request).state == "approved"
    world.sweep()
    assert request_by_id(adopted.pk).state == "approved", "no rule lets in the clients of its CA yet"
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
