"""A populated account is only read: nothing is sent, everything is unmanaged, and a failed read takes nothing away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.audit.models import AuditEvent
from apps.coverage.models import Association
from apps.inventory.models import EdgeList
from apps.reconcile.models import Drift, Plan
from apps.reconcile.rows import build_rows
from apps.reconcile.selectors import drift_open
from apps.sandbox.seed import LEGACY_CA, UNAPPROVED
from tests.sandbox_server import SandboxProcess
from tests.unit.reconcile.conftest import World

SEEDED = sorted(name for names in UNAPPROVED.values() for name in names)
ZONE = "northwind.example"


def writes(edge: SandboxProcess, since: int) -> list[str]:
    """What was sent to change something. What a token may do is tried with the API's own dry run."""
    sent = [call for call in edge.requests(since) if call["method"] != "GET"]
    return [f"{call['method']} {call['path']}" for call in sent if call["applied"] or "dry_run" not in call["query"]]


def legacy_id(world: World) -> str:
    return str(world.account.edge_certificates.get(name=LEGACY_CA).cloudflare_id)


@pytest.fixture
def restored(world: World) -> Iterator[World]:
    """The seeded lists come back, whatever the test made of them."""
    before = {name: world.edge.hostnames(name, legacy_id(world)) for name in world.edge.zones}
    yield world
    for name, hostnames in before.items():
        world.edge.edit(name, legacy_id(world), hostnames)


def foreign_changes() -> int:
    return AuditEvent.objects.filter(action="edge:list_changed_outside").count()


def test_the_first_run_and_the_sweeps_after_it_write_nothing(world: World) -> None:
    """INV-12: no write before a person has asked for one, although the account may be written to."""
    edge, since = world.edge, world.began_after
    world.sweep()
    world.run_account()
    assert world.account.mode == "read_write"
    assert len(edge.requests(since)) > 0
    assert writes(edge, since) == []
    assert sorted(row.hostname for row in drift_open(world.account)) == SEEDED
    assert {row.kind for row in drift_open(world.account)} == {"unexpected"}
    cells = {cell.state for row in build_rows(world.account, only=SEEDED) for cell in row.cells}
    assert "unexpected" in cells <= {"unexpected", "none"}
    assert (Association.objects.count(), Plan.objects.count()) == (0, 0)


def test_another_order_or_case_is_no_difference(restored: World) -> None:
    world = restored
    names = world.edge.hostnames(ZONE, legacy_id(world))
    rows = [row.pk for row in Drift.objects.order_by("pk")]
    world.edge.edit(ZONE, legacy_id(world), list(reversed([name.upper() for name in names])))
    world.sweep()
    assert foreign_changes() == 0
    assert [row.pk for row in Drift.objects.order_by("pk")] == rows
    assert sorted(row.hostname for row in drift_open(world.account)) == SEEDED


def test_a_failed_read_is_unknown_and_takes_nothing_away(restored: World) -> None:
    world = restored
    lists = list(EdgeList.objects.order_by("pk").values("hostnames", "read_at"))
    seen = list(Drift.objects.order_by("pk").values("last_seen_at", "resolved_at"))
    world.edge.switch(down=True)
    world.edge.edit(ZONE, legacy_id(world), [])
    world.sweep()
    assert list(EdgeList.objects.order_by("pk").values("hostnames", "read_at")) == lists
    assert list(Drift.objects.order_by("pk").values("last_seen_at", "resolved_at")) == seen
    assert world.zone().failing_since is not None
    world.edge.switch(down=False)
    world.run_account()
    world.sweep()
    assert foreign_changes() == 1
    assert "edi.northwind.example" not in {row.hostname for row in drift_open(world.account)}


def test_a_list_that_lags_behind_our_own_write_is_no_drift(world: World) -> None:
    ca = world.upload("Lagging")
    name = "api.northwind.example"
    world.edge.switch(association_lag_s=600)
    try:
        request = world.approve(world.ask(ca, name, mode="verify"))
        world.sweep()
        plan = Plan.objects.get()
        assert (request.state, plan.state) == ("applying", "verifying")
        (row,) = build_rows(world.account, only=[name])
        assert {cell.state for cell in row.cells} == {"pushing", "none"}
        assert Drift.objects.filter(hostname=name).count() == foreign_changes() == 0
    finally:
        world.edge.switch(association_lag_s=0)
    world.sweep()
    request.refresh_from_db()
    assert (request.state, Drift.objects.filter(hostname=name).count(), foreign_changes()) == ("done", 0, 0)
