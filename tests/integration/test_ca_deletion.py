"""Deleting a CA: every list read empty, once, however many zones there are; then one DELETE, then seen gone (F10)."""

from __future__ import annotations

import json

import pytest

from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import slots_of
from apps.authorities.services import delete_ca
from apps.inventory.budget import gate
from apps.inventory.models import Account, CallBudget, EdgeList, Zone
from apps.inventory.stops import lift_stop, stop_writes
from apps.outbox.models import OutboxEntry
from apps.reconcile import certificates
from apps.reconcile.faults import PARK_AFTER_ATTEMPTS
from tests.factories import SETUP
from tests.integration.account_desk import CERTIFICATES, Desk, actions, listing, state

pytestmark = pytest.mark.django_db
LISTS = "hostname_associations"
IN_USE = b'{"success": false, "errors": [{"code": 1473, "message": "Certificate is in use by one or more services"}]}'


def deleting(desk: Desk) -> CertificateAuthority:
    ca = desk.arrived()
    return delete_ca(by=desk.engineer, ca_id=ca.pk, reason="Retired")


def test_a_deletion_reads_every_list_deletes_once_and_sees_it_gone(desk: Desk) -> None:
    ca = deleting(desk)
    desk.run()
    assert (state(ca), desk.at_edge(ca)) == ("deleted", [])
    assert actions(ca)[-3:] == ["ca:deletion_requested", "ca:deletion_sent", "ca:deleted"]
    assert desk.proxy.count("GET", "hostname_associations") == Zone.objects.count()


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_to_a_deletion_is_resolved_by_reading(desk: Desk, applied: bool) -> None:
    ca = deleting(desk)
    (desk.proxy.lose_answer if applied else desk.proxy.lose_request)("DELETE", CERTIFICATES)
    desk.run()
    desk.run()
    assert desk.proxy.count("DELETE", CERTIFICATES) == 1
    assert state(ca) == ("deleted" if applied else "deleting")
    desk.run_later(ca)
    assert (state(ca), desk.at_edge(ca)) == ("deleted", [])


def test_a_deletion_that_spreads_slowly_is_waited_for_without_a_second_one(desk: Desk) -> None:
    ca = deleting(desk)
    row = next(r for r in desk.edge.state()["certificates"] if r["id"] == ca.cloudflare_id)
    shown = json.dumps({"success": True, "errors": [], "messages": [], "result": {**row, "certificates": ca.pem}})
    desk.proxy.answer("GET", f"{CERTIFICATES}/{ca.cloudflare_id}", 200, shown.encode(), times=-1)
    for _ in range(PARK_AFTER_ATTEMPTS * 2 + 3):
        desk.run()
    assert (state(ca), desk.proxy.count("DELETE", CERTIFICATES)) == ("deleting", 1)
    assert slots_of(desk.account).used == 2, "its slot is not free before it is gone"
    assert OutboxEntry.objects.get(kind="account").parked_at is None
    desk.proxy.clear()
    desk.run()
    assert (state(ca), slots_of(desk.account).used) == ("deleted", 1)


def test_a_listing_that_still_names_a_deleted_ca_does_not_bring_it_back(desk: Desk) -> None:
    ca = deleting(desk)
    ghost = next(r for r in desk.edge.state()["certificates"] if r["id"] == ca.cloudflare_id) | {"certificates": ca.pem}
    desk.proxy.change("GET", CERTIFICATES, listing(lambda rows: [*(r for r in rows if r["id"] != ghost["id"]), ghost]))
    desk.run()
    desk.run()
    assert state(ca) == "deleted"
    assert [holder.label for holder in slots_of(desk.account).holders] == ["Legacy Partners Root 2023"]


def test_a_deletion_that_cloudflare_refuses_for_good_is_parked_with_its_reason(desk: Desk) -> None:
    ca = deleting(desk)
    desk.proxy.answer("DELETE", CERTIFICATES, 400, IN_USE, times=-1)
    for _ in range(12):
        desk.run()
    assert (state(ca), desk.proxy.count("DELETE", CERTIFICATES)) == ("live", 9)
    assert "after 9 tries" in ca.state_reason
    assert "still in use" in ca.state_reason


def test_hostnames_that_others_put_on_a_ca_stop_its_deletion(desk: Desk) -> None:
    ca = deleting(desk)
    desk.edge.edit("northwind.example", ca.cloudflare_id, ["theirs.northwind.example"])
    desk.run()
    assert (state(ca), desk.proxy.count("DELETE", CERTIFICATES)) == ("live", 0)
    assert "theirs.northwind.example" in ca.state_reason


def in_many_zones(desk: Desk) -> CertificateAuthority:
    """A CA that is to be deleted in an account of thirty zones and more."""
    desk.edge.seed(*[f"many{number:02}.example" for number in range(30)])
    return deleting(desk)


def reads(desk: Desk, since: int = 0) -> list[str]:
    """Zones whose lists were read, in order."""
    names = dict(Zone.objects.values_list("cloudflare_id", "name"))
    calls = [row for row in desk.edge.requests(since) if row["method"] == "GET" and LISTS in row["path"]]
    return [names[row["path"].split("/zones/")[1].split("/")[0]] for row in calls]


def calls_counted() -> int:
    """What the budget counts as made, or kept for a run."""
    return sum(sum(row.counts["slots"].values()) for row in CallBudget.objects.all())


def test_a_deletion_that_the_budget_cuts_off_goes_on_where_it_was(desk: Desk) -> None:
    ca = in_many_zones(desk)
    Account.objects.update(call_limit=30, call_share_percent=100)
    desk.run()
    first = reads(desk)
    zones = Zone.objects.count()
    assert (state(ca), 0 < len(first) < zones) == ("deleting", True)
    assert f"Its list is empty in {len(first)} of {zones} zones" in ca.state_reason
    Account.objects.update(call_limit=1_000_000)
    since = desk.edge.last_seq()
    desk.run()
    assert (state(ca), desk.at_edge(ca)) == ("deleted", [])
    assert sorted(first + reads(desk, since)) == sorted(Zone.objects.values_list("name", flat=True)), "each list once"
    assert actions(ca)[-3:] == ["ca:deletion_requested", "ca:deletion_sent", "ca:deleted"]


def test_a_deletion_that_is_held_back_takes_no_calls_from_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # The database counts here, whether there is a Redis or not.
    monkeypatch.setattr(gate, "redis_counter", lambda: None)
    ca = in_many_zones(desk)
    stop = stop_writes(by=SETUP, reason="Incident")
    before, since = calls_counted(), desk.edge.last_seq()
    desk.run()
    assert calls_counted() - before == len(desk.edge.requests(since))
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    desk.run()
    assert state(ca) == "deleted"


def test_a_deletion_that_has_no_time_left_goes_on_and_so_does_what_else_the_account_needs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = in_many_zones(desk)
    monkeypatch.setattr(certificates, "READ_FOR_S", -1.0)
    other = desk.admit("Meanwhile")
    desk.run()
    assert (state(ca), state(other), reads(desk)) == ("deleting", "live", [])
    assert "The portal goes on by itself" in ca.state_reason
    monkeypatch.undo()
    desk.run()
    assert (state(ca), len(reads(desk))) == ("deleted", Zone.objects.count())


def test_what_a_sweep_found_on_a_list_that_was_read_empty_stops_the_deletion(desk: Desk) -> None:
    ca = deleting(desk)
    desk.proxy.answer("DELETE", CERTIFICATES, 400, IN_USE)
    desk.run()
    zone = Zone.objects.get(name="northwind.example")
    desk.edge.edit(zone.name, ca.cloudflare_id, ["theirs.northwind.example"])
    at = {"read_at": zone.account.created_at, "changed_at": zone.account.created_at}
    EdgeList.objects.create(zone=zone, ca_cloudflare_id=ca.cloudflare_id, hostnames=["theirs.northwind.example"], **at)
    since = desk.edge.last_seq()
    desk.run()
    assert (state(ca), reads(desk, since)) == ("live", [zone.name])
    assert "1 hostname in northwind.example still uses it at the edge: theirs.northwind.example" in ca.state_reason
    assert desk.proxy.count("DELETE", CERTIFICATES) == 1


def test_what_nobody_has_read_yet_is_found_by_reading_all_anew_after_some_refusals(desk: Desk) -> None:
    ca = deleting(desk)
    desk.proxy.answer("DELETE", CERTIFICATES, 400, IN_USE)
    desk.run()
    desk.edge.edit("northwind.example", ca.cloudflare_id, ["theirs.northwind.example"])
    for _ in range(3):
        desk.run()
    assert (state(ca), desk.proxy.count("DELETE", CERTIFICATES)) == ("live", 3)
    assert "theirs.northwind.example" in ca.state_reason


def test_a_deletion_that_is_asked_for_again_reads_every_list_again(desk: Desk) -> None:
    ca = deleting(desk)
    desk.proxy.answer("DELETE", CERTIFICATES, 422, IN_USE)
    desk.run()
    assert state(ca) == "live"
    delete_ca(by=desk.engineer, ca_id=ca.pk, reason="Retired, again")
    since = desk.edge.last_seq()
    desk.run()
    assert (state(ca), len(reads(desk, since))) == ("deleted", Zone.objects.count())
