"""Changed issuers that one zone has when another refuses them: the request says where they are, and what helps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.authorities.issuers import skis_of
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import request_by_id
from apps.inventory.stops import lift_stop, stop_writes
from apps.reconcile.differences import Decision, drift_open, propose
from apps.reconcile.drift_services import ask
from apps.reconcile.services import retry_zone
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World
from tests.unit.reconcile.test_issuer_changes import NAME, Issuing, pins_in_zone

ZONE, PAY = "northwind.example", "northwind-pay.example"
SAYS = f"{ZONE} has the changed issuers, which is drift now. Retry, or restore it on Drift."


@pytest.fixture(autouse=True)
def _no_fault_stays(world: World) -> Iterator[None]:
    yield
    world.edge.clear_faults()


def half_way(world: World, mode: str = "block") -> tuple[Issuing, CoverageRequest]:
    """The first zone has them; the second one's rule is refused."""
    issuing = Issuing(world, mode=mode)
    assert world.approve(world.ask(issuing.ca, f"api.{PAY}", mode=mode)).state == "done"
    request = issuing.ask("self", issuing.middle.pem)
    stop = stop_writes(by=SETUP, reason="There alone", zone_id=world.zone(PAY).pk)
    issuing.approve(request)
    match = {"method": "PATCH", "zone": PAY, "times": None}
    world.edge.fault("status", match, status=400, code=20127, message="too costly")
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    world.edge.clear_faults()
    issuing.ca.refresh_from_db()
    assert (request_by_id(request.pk).state, issuing.ca.issuer_skis) == ("partly_done", {issuing.ca.ski})
    return issuing, request_by_id(request.pk)


def altered(world: World) -> list[str]:
    return [row.hostname for row in drift_open(world.account) if row.kind == "altered"]


def test_the_request_names_the_zones_that_have_them(world: World) -> None:
    issuing, request = half_way(world)
    assert request.state_reason.endswith(f"too costly. {SAYS}")
    assert altered(world) == [NAME]
    assert (issuing.pins(), pins_in_zone(world, PAY)) == (skis_of(request.issuers), [{issuing.ca.ski}])


def test_a_retry_brings_them_to_the_others(world: World) -> None:
    issuing, request = half_way(world)
    retry_zone(by=world.engineer, zone_id=world.zone().pk)
    world.run()
    request = request_by_id(request.pk)
    assert (request.state, request.state_reason, altered(world)) == ("done", "", [])
    assert [issuing.pins()] == pins_in_zone(world, PAY) == [skis_of(request.issuers)]


def test_a_restore_takes_them_back_from_the_zone_that_has_them(world: World) -> None:
    issuing, request = half_way(world)
    rows = [row for row in drift_open(world.account) if row.kind == "altered"]
    proposal = propose(by=world.owner, account=world.account, rows=rows, decision=Decision.RESTORE)
    (restore,) = ask(by=world.owner, groups=proposal.groups, reason="The change failed")
    assert world.approve(restore).state == "done"
    assert (issuing.pins(), altered(world)) == ({issuing.ca.ski}, [])
    assert request_by_id(request.pk).state == "partly_done"


def test_where_a_rule_only_logs_nothing_is_said_of_drift(world: World) -> None:
    _, request = half_way(world, mode="log")
    world.sweep()
    assert "Drift" not in request.state_reason
    assert altered(world) == []
