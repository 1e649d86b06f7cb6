"""Changing who signs a CA's clients: a request with a plan, and rules at the edge that say the same."""

from __future__ import annotations

import pytest

from apps.authorities.issuers import skis_of
from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca
from apps.coverage.issuer_changes import create_issuers_request
from apps.coverage.models import CoverageRequest, Enforcement
from apps.coverage.progress_services import fail_requests, retry_requests
from apps.coverage.selectors import desired_zone, request_by_id
from apps.errors import Conflict, Forbidden, Invalid
from apps.inventory.stops import lift_stop, stop_writes
from apps.planning.rule import pins_in
from apps.reconcile.models import Drift
from apps.reconcile.observe import WORKER
from apps.reconcile.services import rebuild_plan, submit_issuers
from tests.certs import Made, make_ca
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World

NAME = "api.northwind.example"


class Issuing:
    """A root, live and in `mode` on one hostname, with an intermediate below it."""

    def __init__(self, world: World, mode: str = "block", client_issuers: str = "self") -> None:
        self.world = world
        self.root: Made = make_ca("Partners")
        self.middle: Made = make_ca("Issuing", issuer=self.root)
        self.ca: CertificateAuthority = admit_ca(
            by=world.engineer, account=world.account, name="Partners", data=self.root.pem, client_issuers=client_issuers
        )
        world.run()
        self.ca.refresh_from_db()
        if mode:
            assert world.approve(world.ask(self.ca, NAME, mode=mode)).state == "done"

    def ask(self, *entries: str, override: str = "", reason: str = "New issuing CA") -> CoverageRequest:
        return submit_issuers(by=self.world.engineer, ca=self.ca, entries=entries, reason=reason, override=override)

    def approve(self, request: CoverageRequest) -> CoverageRequest:
        self.world.engineer, keep = self.world.other_engineer, self.world.engineer
        done = self.world.approve(request)
        self.world.engineer = keep
        self.ca.refresh_from_db()
        return done

    def pins(self) -> frozenset[str] | None:
        rules = [r for r in self.world.edge.rules("northwind.example") if r["ref"].startswith("byoca-")]
        (rule,) = rules
        return pins_in(rule["expression"])


def test_widening_reaches_the_rule_and_only_then_is_done(world: World) -> None:
    issuing = Issuing(world)
    before = issuing.pins()
    request = issuing.ask("self", issuing.middle.pem)
    assert request.state == "waiting"
    assert issuing.pins() == before
    rules = request.plans.get().document["zones"][0]["rules"]
    assert [rule["operation"] for rule in rules] == ["edit"]
    assert issuing.approve(request).state == "done"
    assert issuing.pins() == issuing.ca.issuer_skis == skis_of(request.issuers)
    assert len(issuing.pins() or ()) == 2
    assert issuing.ca.client_issuers == ""


def test_narrowing_on_a_blocked_hostname_waits_for_log_or_an_override(world: World) -> None:
    issuing = Issuing(world, client_issuers="")
    assert issuing.pins() is None
    with pytest.raises(Invalid) as refused:
        issuing.ask("self")
    assert "1 hostname is in block" in refused.value.details["override"][0]
    request = issuing.ask("self", override="All clients were moved in June")
    assert request.override == "All clients were moved in June"
    assert issuing.approve(request).state == "done"
    assert issuing.pins() == {issuing.ca.ski}
    assert issuing.ca.client_issuers == "self"


def test_narrowing_is_free_where_nothing_is_refused_and_dropping_the_pin_is_no_narrowing(world: World) -> None:
    issuing = Issuing(world, mode="log", client_issuers="")
    assert issuing.approve(issuing.ask("self")).state == "done"
    assert issuing.pins() == {issuing.ca.ski}
    assert issuing.approve(issuing.ask()).state == "done"
    assert issuing.pins() is None


def test_without_a_rule_the_approval_is_all(world: World) -> None:
    issuing = Issuing(world, mode="", client_issuers="")
    request = issuing.ask("self")
    assert issuing.approve(request).state == "done"
    assert issuing.ca.issuer_skis == {issuing.ca.ski}


def test_a_zone_that_is_gone_keeps_no_issuers_from_changing(world: World) -> None:
    world.edge.add_zone("passing.example")
    issuing = Issuing(world)
    assert world.approve(world.ask(issuing.ca, "api.passing.example")).state == "done"
    world.edge.remove_zone("passing.example")
    world.run_account()
    assert issuing.approve(issuing.ask("self", issuing.middle.pem)).state == "done"
    assert issuing.pins() == issuing.ca.issuer_skis and len(issuing.pins() or ()) == 2


def test_a_zone_that_goes_before_its_part_takes_no_issuers_back_from_the_others(world: World) -> None:
    world.edge.add_zone("passing.example")
    issuing = Issuing(world)
    assert world.approve(world.ask(issuing.ca, "api.passing.example")).state == "done"
    request = issuing.ask("self", issuing.middle.pem)
    stop = stop_writes(by=SETUP, reason="There alone", zone_id=world.zone("passing.example").pk)
    issuing.approve(request)
    world.edge.remove_zone("passing.example")
    world.run_account()
    request.refresh_from_db()
    assert request.state == "partly_done" and "no longer lists passing.example" in request.state_reason
    assert not Drift.objects.filter(kind="altered", resolved_at=None).exists()
    assert world.approve(world.ask(issuing.ca, "other.northwind.example")).state == "done"
    assert issuing.pins() == skis_of(request.issuers), "another change of the rule leaves them there"
    issuing.ca.refresh_from_db()
    assert issuing.ca.issuer_skis == skis_of(request.issuers)
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")


def pins_in_zone(world: World, zone: str) -> list[frozenset[str] | None]:
    return [pins_in(rule["expression"]) for rule in world.edge.rules(zone) if rule["ref"].startswith("byoca-")]


def test_a_hostname_covered_since_it_was_asked_for_is_in_the_next_plan(world: World) -> None:
    issuing = Issuing(world)
    request = issuing.ask("self", issuing.middle.pem)
    assert world.approve(world.ask(issuing.ca, "api.northwind-pay.example")).state == "done"
    with pytest.raises(Conflict, match=r"pay\.example would keep the issuers from before"):
        issuing.approve(request)
    rebuild_plan(by=world.engineer, request_id=request.pk)
    assert issuing.approve(request).state == "done"
    assert pins_in_zone(world, "northwind-pay.example") == [issuing.ca.issuer_skis]
    assert issuing.pins() == issuing.ca.issuer_skis == skis_of(request.issuers)
    world.sweep()
    assert not Drift.objects.filter(kind="altered", resolved_at=None).exists()


def test_a_hostname_covered_since_it_failed_is_in_the_retry(world: World) -> None:
    issuing = Issuing(world)
    request = issuing.ask("self", issuing.middle.pem)
    stop = stop_writes(by=SETUP, reason="Incident")
    issuing.approve(request)
    fail_requests(by=WORKER, request_ids=[request.pk], why="Down too long")
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    assert world.approve(world.ask(issuing.ca, "api.northwind-pay.example")).state == "done"
    retry_requests(by=world.engineer, zone=world.zone())
    world.run()
    request.refresh_from_db()
    assert request.state == "done"
    assert pins_in_zone(world, "northwind-pay.example") == [skis_of(request.issuers)]


def test_a_hostname_that_goes_to_block_meanwhile_wants_a_word_why_that_is_safe(world: World) -> None:
    issuing = Issuing(world, mode="log", client_issuers="")
    to_block = world.ask(issuing.ca, NAME)
    request = issuing.ask("self")
    assert world.approve(to_block).state == "done"
    rebuild_plan(by=world.engineer, request_id=request.pk)
    with pytest.raises(Conflict, match="went to block since"):
        issuing.approve(request)
    assert issuing.pins() is None


@pytest.mark.parametrize("approved_first", [True, False])
def test_a_hostname_that_is_removed_meanwhile_leaves_it_to_end(world: World, approved_first: bool) -> None:
    issuing, leaving = Issuing(world), "leaving.northwind.example"
    assert world.approve(world.ask(issuing.ca, leaving)).state == "done"
    removal = world.ask(issuing.ca, leaving, kind="uncover", mode="verify")
    request = issuing.ask("self", issuing.middle.pem)
    if approved_first:
        stop = stop_writes(by=SETUP, reason="Incident")
        issuing.approve(request)
        world.approve(removal)
        lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
        world.run()
    else:
        world.approve(removal)
        rebuild_plan(by=world.engineer, request_id=request.pk)
        issuing.approve(request)
    request.refresh_from_db()
    removal.refresh_from_db()
    assert (request.state, removal.state) == ("done", "done")
    assert issuing.pins() == skis_of(request.issuers)


def test_a_hostname_in_a_longer_zone_and_in_a_shorter_one_changes_in_both(world: World) -> None:
    issuing, longer = Issuing(world, mode=""), "team.northwind.example"
    assert world.approve(world.ask(issuing.ca, f"api.{longer}")).state == "done"
    world.edge.add_zone(longer)
    world.run_account()
    assert world.approve(world.ask(issuing.ca, f"api.{longer}")).state == "done"
    request = issuing.ask("self", issuing.middle.pem)
    assert issuing.approve(request).state == "done"
    assert pins_in_zone(world, longer) == [issuing.pins()] == [skis_of(request.issuers)]
    world.edge.remove_zone(longer)


def test_a_failed_change_goes_back_and_is_tried_again_on_demand(world: World) -> None:
    issuing = Issuing(world)
    request = issuing.ask("self", issuing.middle.pem)
    world.edge.switch(down=True)
    issuing.approve(request)
    assert desired_zone(world.zone()).settled_modes == {}
    fail_requests(by=WORKER, request_ids=[request.pk], why="Down too long")
    issuing.ca.refresh_from_db()
    assert issuing.ca.issuer_skis == {issuing.ca.ski}
    assert Enforcement.objects.get().live_at is not None
    world.edge.switch(down=False)
    retry_requests(by=world.engineer, zone=world.zone())
    world.run()
    request.refresh_from_db()
    assert request.state == "done"
    assert len(issuing.pins() or ()) == 2


def test_a_failed_change_is_not_tried_again_after_a_later_decision(world: World) -> None:
    issuing = Issuing(world)
    failed = issuing.ask("self", issuing.middle.pem)
    world.edge.switch(down=True)
    issuing.approve(failed)
    fail_requests(by=WORKER, request_ids=[failed.pk], why="Down too long")
    world.edge.switch(down=False)
    assert issuing.approve(issuing.ask(override="Any client of the account")).state == "done"
    retry_requests(by=world.engineer, zone=world.zone())
    world.run()
    failed.refresh_from_db()
    assert failed.state == "failed"
    assert "decided the same hostnames later" in failed.state_reason
    issuing.ca.refresh_from_db()
    assert (issuing.ca.issuer_skis, issuing.pins()) == (None, None)


def test_who_may_ask_and_what_is_refused(world: World) -> None:
    issuing = Issuing(world)
    with pytest.raises(Forbidden):
        submit_issuers(by=world.owner, ca=issuing.ca, entries=["self"], reason="x")
    with pytest.raises(Invalid) as refused:
        issuing.ask("self", reason=" ", override="x" * 2001)
    assert set(refused.value.details) == {"issuers", "reason", "override"}
    assert "known already" in refused.value.details["issuers"][0]
    with pytest.raises(Invalid) as refused:
        issuing.ask("garbage")
    assert set(refused.value.details) == {"issuers"}
    issuing.ask("self", issuing.middle.pem)
    with pytest.raises(Conflict, match="is open"):
        issuing.ask(issuing.middle.pem)
    queued = admit_ca(by=world.engineer, account=world.account, name="Queued", data=make_ca("Queued").pem)
    with pytest.raises(Conflict, match="is queued"):
        create_issuers_request(by=world.engineer, ca=queued, entries=["self"], reason="x")


def test_what_moves_in_another_zone_does_not_take_back_issuers_that_one_has(world: World) -> None:
    issuing = Issuing(world)
    pay = "northwind-pay.example"
    assert world.approve(world.ask(issuing.ca, f"api.{pay}")).state == "done"
    request = issuing.ask("self", issuing.middle.pem)
    stop = stop_writes(by=SETUP, reason="There alone", zone_id=world.zone(pay).pk)
    issuing.approve(request)
    world.edge.edit(pay, issuing.ca.cloudflare_id, [f"api.{pay}", f"foreign.{pay}"])
    world.sweep()
    assert request_by_id(request.pk).state == "applying"
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    assert request_by_id(request.pk).state == "done"
    assert not Drift.objects.filter(kind="altered", resolved_at=None).exists()
    assert world.edge.hostnames(pay, issuing.ca.cloudflare_id) == [f"api.{pay}", f"foreign.{pay}"]
    assert world.approve(world.ask(issuing.ca, "other.northwind.example")).state == "done"
    assert issuing.pins() == skis_of(request.issuers)
