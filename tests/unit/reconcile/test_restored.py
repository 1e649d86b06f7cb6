"""A restored database: what it does not know any more stays as it is at the edge, and nothing old goes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca, retry_ca
from apps.coverage.break_glass import use_break_glass
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import request_by_id
from apps.coverage.services import retire_ca
from apps.identity.permissions import Role
from apps.inventory.holds import stops_in_force
from apps.inventory.models import Stop
from apps.inventory.stops import lift_stop, stop_writes
from apps.inventory.watermark import check_history
from apps.reconcile.differences import drift_open
from apps.reconcile.services import rebuild_plan
from tests.certs import make_ca
from tests.factories import SETUP, actor
from tests.unit.reconcile.conftest import World
from tests.unit.reconcile.test_drift_decisions import NAME, OTHER
from tests.unit.reconcile.test_healing import switch

ZONE, NEW = "northwind.example", "new.northwind.example"


@pytest.fixture(autouse=True)
def marks(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR, settings.BYOCA_BUDGET_REDIS_URL = tmp_path, ""


class Backup:
    """The database as it is now. What lies outside of it stays when it is restored: the edge, and the marks."""

    def __init__(self, world: World) -> None:
        self.world, self.savepoint = world, transaction.savepoint()

    def restore(self) -> Stop:
        """Returns the stop that the portal sets by itself, after each zone was read."""
        assert check_history()
        transaction.savepoint_rollback(self.savepoint)
        assert not check_history()
        since = self.world.edge.last_seq()
        self.world.run_account()
        self.world.sweep()
        assert [row for row in self.world.edge.requests(since) if row["method"] != "GET"] == []
        return stops_in_force().get(cause__startswith="restored:")


def lift(*stops: Stop) -> None:
    for stop in stops:
        lift_stop(by=SETUP, stop_id=stop.pk, reason="Looked at Drift")


def approved_behind_a_stop(world: World, *requests: CoverageRequest) -> Stop:
    stop = stop_writes(by=world.engineer, reason="Tonight")
    for request in requests:
        world.approve(request)
    return stop


def listed(world: World, ca: CertificateAuthority) -> list[str]:
    return sorted(world.edge.hostnames(ZONE, ca.cloudflare_id))


def test_a_removal_that_was_sent_and_undone_after_the_backup_is_not_sent_again(world: World) -> None:
    ca = world.upload("Sent and undone")
    assert world.approve(world.ask(ca, NAME, OTHER)).state == "done"
    removal = world.ask(ca, NAME, kind="uncover")
    tonight = approved_behind_a_stop(world, removal)
    backup = Backup(world)
    lift(tonight)
    world.run()
    assert world.approve(world.ask(ca, NAME)).state == "done"
    restored = backup.restore()
    assert not [row for row in drift_open(world.account) if row.hostname == NAME], "Drift says nothing of it"
    removal = request_by_id(removal.pk)
    assert (removal.state, "restored from a backup" in removal.state_reason) == ("stale", True)
    lift(tonight, restored)
    world.run()
    assert (world.actions(NAME), listed(world, ca)) == ("block", [NAME, OTHER])
    rebuild_plan(by=world.engineer, request_id=removal.pk)
    assert world.approve(removal).state == "done", "with a new approval it goes"
    assert (world.actions(NAME), listed(world, ca)) == ("", [OTHER])


def test_a_copy_sends_nothing_of_what_was_approved_before_it_was_made(
    world: World, tmp_path: Path, settings: Any
) -> None:
    ca = world.upload("Copied")
    assert world.approve(world.ask(ca, NAME, OTHER)).state == "done"
    removal = world.ask(ca, NAME, kind="uncover")
    tonight = approved_behind_a_stop(world, removal)
    assert check_history()
    lift(tonight)
    settings.DATA_DIR = tmp_path / "elsewhere"
    settings.DATA_DIR.mkdir()
    world.run()
    assert (world.actions(NAME), listed(world, ca)) == ("block", [NAME, OTHER])
    lift(stops_in_force().get(cause__startswith="restored:copy:"))
    world.run()
    assert (request_by_id(removal.pk).state, listed(world, ca)) == ("stale", [NAME, OTHER])


def test_what_is_approved_after_the_restore_goes_when_the_stop_is_lifted(world: World) -> None:
    ca = world.upload("Afterwards")
    assert world.approve(world.ask(ca, NAME)).state == "done"
    backup = Backup(world)
    assert world.approve(world.ask(ca, OTHER)).state == "done"
    restored = backup.restore()
    fresh = world.ask(ca, NEW)
    assert world.approve(fresh).state == "approved"
    lift(restored)
    world.run()
    assert (request_by_id(fresh.pk).state, listed(world, ca)) == ("done", sorted([NAME, OTHER, NEW]))


def test_a_glass_that_was_on_its_way_goes_and_returns_by_itself(world: World) -> None:
    ca = world.upload("Glass")
    assert world.approve(world.ask(ca, NAME)).state == "done"
    tonight = stop_writes(by=world.engineer, reason="Tonight")
    responder = actor(Role.RESPONDER)
    use_break_glass(by=responder, account=world.account, hostname=NAME, reason="Locked out")
    backup = Backup(world)
    assert world.ask(ca, OTHER).state == "waiting"
    restored = backup.restore()
    lift(tonight, restored)
    world.run()
    assert world.actions(NAME) == "log"


def test_what_was_removed_after_the_backup_is_not_put_back(world: World) -> None:
    ca = world.upload("Removed since")
    assert world.approve(world.ask(ca, NAME, OTHER, mode="verify")).state == "done"
    switch(world, True)
    backup = Backup(world)
    assert world.approve(world.ask(ca, NAME, kind="uncover")).state == "done"
    lift(backup.restore())
    for _ in range(3):
        world.sweep()
    assert listed(world, ca) == [OTHER]
    assert [row.hostname for row in drift_open(world.account, kind="missing")] == [NAME], "a person decides"
    world.edge.edit(ZONE, ca.cloudflare_id, [])
    world.sweep()
    world.sweep()
    assert listed(world, ca) == [OTHER], "what goes missing afterwards is put back"


def stays_blocked(world: World, ca: CertificateAuthority) -> None:
    """NAME goes to block after a backup, which is restored; then its rule is written anew for another hostname."""
    backup = Backup(world)
    assert world.approve(world.ask(ca, NAME)).state == "done"
    lift(backup.restore())
    assert world.approve(world.ask(ca, NEW)).state == "done"
    assert [world.actions(name) for name in (NAME, OTHER, NEW)] == ["block"] * 3
    assert ("altered", NAME) in {(row.kind, row.hostname) for row in drift_open(world.account)}


def test_a_hostname_that_was_blocked_after_the_backup_stays_blocked(world: World) -> None:
    """Nobody approved that it opens."""
    ca = world.upload("Blocked since")
    assert world.approve(world.ask(ca, OTHER)).state == "done"
    stays_blocked(world, ca)


def test_clients_of_a_ca_that_came_after_the_backup_are_let_in_still(world: World) -> None:
    """The overlap of a rotation is lost with the backup; a change of another hostname must not end it."""
    old = world.upload("Old")
    assert world.approve(world.ask(old, NAME)).state == "done"
    backup = Backup(world)
    new = world.upload("New")
    assert world.approve(world.ask(new, NAME)).state == "done"
    pins = new.issuer_skis | old.issuer_skis
    lift(backup.restore())
    assert world.approve(world.ask(old, OTHER)).state == "done"
    (rule,) = [rule for rule in world.edge.rules(ZONE) if f'"{NAME}"' in rule["expression"]]
    assert all(ski in rule["expression"] for ski in pins)
    assert world.actions(OTHER) == "block"


def test_a_ca_that_was_uploaded_and_deleted_after_the_backup_is_not_uploaded_again(world: World) -> None:
    tonight = stop_writes(by=world.engineer, reason="Tonight")
    made = make_ca("Came and went")
    ca = admit_ca(by=world.engineer, account=world.account, name="Came and went", data=made.pem, client_issuers="self")
    backup = Backup(world)
    lift(tonight)
    world.run()
    ca.refresh_from_db()
    world.edge.delete_certificate(ca.cloudflare_id)
    retire_ca(by=world.engineer, ca_id=ca.pk, reason="Its key leaked")
    world.run()
    restored = backup.restore()
    lift(tonight, restored)
    world.run()
    ca.refresh_from_db()
    assert (ca.state, "restored from a backup" in ca.state_reason) == ("failed", True)
    assert ca.name not in {row["name"] for row in world.edge.state()["certificates"]}
    retry_ca(by=world.engineer, ca_id=ca.pk)
    world.run()
    ca.refresh_from_db()
    assert ca.state == "live", "a person decided"


def test_a_ca_whose_deletion_was_asked_for_before_the_backup_is_deleted_when_asked_again(world: World) -> None:
    kept, gone = world.upload("Kept"), world.upload("Gone")
    tonight = stop_writes(by=world.engineer, reason="Tonight")
    for ca in (kept, gone):
        retire_ca(by=world.engineer, ca_id=ca.pk, reason="Spare")
    backup = Backup(world)
    stop_writes(by=world.engineer, reason="Something happens", zone_id=world.zone().pk)
    world.edge.delete_certificate(gone.cloudflare_id)
    lift(tonight, backup.restore())
    world.run()
    kept.refresh_from_db()
    gone.refresh_from_db()
    assert (kept.state, gone.state) == ("live", "deleted")
    assert "Delete it again" in kept.state_reason
    retire_ca(by=world.engineer, ca_id=kept.pk, reason="Spare")
    world.run()
    kept.refresh_from_db()
    assert kept.state == "deleted"


@pytest.mark.parametrize("mode", ["verify", "log"])
def test_a_hostname_that_went_to_block_after_the_backup_stays_there(world: World, mode: str) -> None:
    ca = world.upload("Raised since")
    assert world.approve(world.ask(ca, OTHER)).state == "done"
    assert world.approve(world.ask(ca, NAME, mode=mode)).state == "done"
    stays_blocked(world, ca)
    assert world.approve(world.ask(ca, NAME, mode="block")).state == "done"
    assert NAME not in {row.hostname for row in drift_open(world.account)}


def test_a_hostname_that_went_to_block_after_the_backup_is_weakened_by_an_approval_that_names_it(world: World) -> None:
    ca = world.upload("Weakened")
    assert world.approve(world.ask(ca, OTHER)).state == "done"
    assert world.approve(world.ask(ca, NAME, mode="verify")).state == "done"
    backup = Backup(world)
    assert world.approve(world.ask(ca, NAME)).state == "done"
    lift(backup.restore())
    assert world.approve(world.ask(ca, NAME, mode="log")).state == "done"
    assert world.actions(NAME) == "log"
    assert world.approve(world.ask(ca, NAME, kind="uncover")).state == "done"
    assert (world.actions(NAME), world.actions(OTHER)) == ("", "block")
