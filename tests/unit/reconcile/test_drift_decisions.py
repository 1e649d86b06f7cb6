"""What people decide about drift: adopt, restore, accept, set aside. Everything about the edge goes by a request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.authorities.intake import PeopleSay
from apps.authorities.models import CertificateAuthority
from apps.coverage.models import Association, CoverageRequest, Enforcement
from apps.coverage.progress_services import fail_requests, retry_requests
from apps.errors import Forbidden, Invalid
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.planning.rule import compile_rules, expression_for
from apps.planning.state import DesiredZone, Mode
from apps.reconcile.differences import Decision, Proposal, drift_open, propose
from apps.reconcile.drift_services import adopt_ca, ask, ignore_drift, show_drift
from apps.reconcile.models import Drift, DriftIgnore
from apps.reconcile.observe import WORKER
from apps.sandbox.seed import UNAPPROVED
from tests.certs import make_ca
from tests.factories import actor, make_team
from tests.unit.reconcile.conftest import World

SEEDED = {name for names in UNAPPROVED.values() for name in names}
NAME, OTHER = "api.northwind.example", "edge.northwind.example"


def writes(world: World, since: int) -> list[str]:
    return [f"{r['method']} {r['path']}" for r in world.edge.requests(since) if r["method"] != "GET"]


def last(world: World) -> int:
    return world.edge.last_seq()


def differences(world: World, **filters: Any) -> list[Drift]:
    """Without those of the stand-in's own CA, which nobody here touches."""
    return [row for row in drift_open(world.account, **filters) if row.hostname not in SEEDED]


def open_rows(world: World, **filters: Any) -> list[tuple[str, str]]:
    return sorted((row.kind, row.hostname) for row in differences(world, **filters))


def proposed(world: World, decision: Decision, by: Actor | None = None, **filters: str) -> Proposal:
    rows = differences(world, **filters)
    return propose(by=by or world.engineer, account=world.account, rows=rows, decision=decision)


def decide(world: World, decision: Decision, **filters: str) -> CoverageRequest:
    proposal = proposed(world, decision, **filters)
    (request,) = ask(by=world.owner, groups=proposal.groups, reason="Seen in the morning")
    return request


class Covered:
    """One CA, live, in block mode on two hostnames of one zone."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ca = world.upload("Partners")
        assert world.approve(world.ask(self.ca, NAME, OTHER)).state == "done"

    def lose(self, *kept: str) -> None:
        self.world.edge.edit("northwind.example", self.ca.cloudflare_id, list(kept))
        self.world.sweep()

    def listed(self) -> list[str]:
        return sorted(self.world.edge.hostnames("northwind.example", self.ca.cloudflare_id))

    def rule(self) -> dict[str, object]:
        (rule,) = [r for r in self.world.edge.rules("northwind.example") if r["ref"].startswith("byoca-")]
        return rule


@pytest.fixture
def covered(world: World) -> Covered:
    return Covered(world)


@pytest.fixture
def outside(world: World) -> Iterator[str]:
    """A CA of somebody else with hostnames in two zones. Returns its Cloudflare id."""
    ca_id = world.edge.add_certificate("Outside Root", make_ca("Outside Root").pem)
    world.edge.edit("northwind.example", ca_id, ["a.northwind.example", "b.northwind.example"])
    world.edge.edit("northwind-pay.example", ca_id, ["c.northwind-pay.example"])
    world.run_account()
    yield ca_id
    for zone in world.edge.zones:
        world.edge.edit(zone, ca_id, [])


def test_a_ca_and_its_hostnames_are_adopted_and_nothing_is_sent(world: World, outside: str) -> None:
    since = last(world)
    assert len(open_rows(world, ca=outside)) == 3
    before = proposed(world, Decision.ACCEPT, ca=outside)
    assert (before.groups, {why for _, why in before.left_out}) == (
        [], {"The portal has no record of its CA. Adopt the CA first."},
    )  # fmt: skip
    ca = adopt_ca(
        by=world.engineer, account=world.account, cloudflare_id=outside,
        people=PeopleSay("Outside", "Partner's of 2023"),
    )  # fmt: skip
    assert {row.ca for row in drift_open(world.account, ca=str(ca.pk))} == {ca}
    team = make_team("Partner desk")
    proposal = proposed(world, Decision.ACCEPT, ca=outside, zone="northwind.example")
    (group,) = proposal.groups
    assert (group.kind, group.mode, len(group.hostnames)) == ("adopt", "verify", 2)
    (request,) = ask(by=world.other_engineer, groups=proposal.groups, reason="They are ours", team=team)
    assert (request.state, Association.objects.filter(ca=ca).count()) == ("waiting", 0)
    assert world.approve(request).state == "done"
    assert {row.owner_team for row in Association.objects.filter(ca=ca)} == {team}
    world.sweep()
    assert open_rows(world, ca=outside) == [("unexpected", "c.northwind-pay.example")]
    assert writes(world, since) == []


def test_the_rule_that_stands_is_adopted_as_it_is(world: World, outside: str) -> None:
    """A rule of ours without an approval, as after a restored backup: adopting leaves it byte for byte."""
    ca = adopt_ca(
        by=world.engineer, account=world.account, cloudflare_id=outside, people=PeopleSay("Outside", "x", "self"),
    )  # fmt: skip
    issuers = {ca.fingerprint: ca.issuer_skis}
    name = "a.northwind.example"
    approved = DesiredZone("x", {ca.fingerprint: frozenset({name})}, modes={name: Mode.BLOCK}, issuers=issuers)
    (rule,) = compile_rules(approved)
    world.edge.add_rule(
        "northwind.example",
        {
            "ref": rule.ref,
            "description": rule.description,
            "action": rule.action,
            "expression": rule.expression,
            "enabled": True,
        },
    )
    world.sweep()
    groups = {
        g.mode: g.hostnames for g in proposed(world, Decision.ACCEPT, ca=outside, zone="northwind.example").groups
    }
    assert groups == {"block": (name,), "verify": ("b.northwind.example",)}
    before, since = world.edge.rules("northwind.example"), last(world)
    proposal = proposed(world, Decision.ACCEPT, ca=outside, zone="northwind.example")
    with pytest.raises(Invalid, match="which team owns"):
        ask(by=world.other_engineer, groups=proposal.groups, reason="As it stands")
    for request in ask(by=world.owner, groups=proposal.groups, reason="As it stands"):
        assert (request.plans.get().document["zones"][0]["steps"], world.approve(request).state) == ([], "done")
    assert (world.edge.rules("northwind.example"), writes(world, since)) == (before, [])
    assert Enforcement.objects.get(hostname=name).settled_mode == "block"


def test_what_is_missing_is_put_back_by_an_approved_request_only(covered: Covered) -> None:
    world = covered.world
    covered.lose(OTHER)
    assert (open_rows(world), covered.listed()) == ([("missing", NAME)], [OTHER])
    request = decide(world, Decision.RESTORE)
    assert (request.kind, request.state, covered.listed()) == ("restore", "waiting", [OTHER])
    (effect,) = request.plans.get().document["effects"]
    assert (effect["operation"], effect["hostname"]) == ("associate", NAME)
    assert world.approve(request).state == "done"
    assert (covered.listed(), open_rows(world)) == ([NAME, OTHER], [])
    assert Association.objects.filter(hostname=NAME, live_at=None).count() == 0


def test_an_altered_rule_is_written_anew(covered: Covered) -> None:
    world = covered.world
    good = covered.rule()["expression"]
    world.edge.edit_rule("northwind.example", str(covered.rule()["id"]), expression=f'http.host eq "{NAME}"')
    world.sweep()
    assert {kind for kind, _ in open_rows(world)} == {"altered"}
    assert proposed(world, Decision.ACCEPT).groups == []
    request = decide(world, Decision.RESTORE)
    assert world.approve(request).state == "done"
    assert covered.rule()["expression"] == good
    assert open_rows(world) == []


def test_a_rule_with_other_pins_is_not_done_before_it_is_rewritten(covered: Covered) -> None:
    world = covered.world
    good = str(covered.rule()["expression"])
    world.edge.edit_rule(
        "northwind.example", str(covered.rule()["id"]), expression=expression_for([NAME, OTHER], frozenset({"FF"}))
    )
    world.sweep()
    assert world.approve(decide(world, Decision.RESTORE)).state == "done"
    assert covered.rule()["expression"] == good


def test_a_restore_that_failed_is_drift_again_and_can_be_retried(covered: Covered) -> None:
    world = covered.world
    covered.lose(OTHER)
    request = decide(world, Decision.RESTORE)
    world.edge.switch(down=True)
    world.approve(request)
    fail_requests(by=WORKER, request_ids=[request.pk], why="Down too long")
    world.edge.switch(down=False)
    retried = Association.objects.get(hostname=NAME)
    assert (retried.live_at is not None, Enforcement.objects.filter(live_at=None).count()) == (True, 0)
    world.sweep()
    assert (open_rows(world), covered.listed()) == ([("missing", NAME)], [OTHER])
    retry_requests(by=world.engineer, zone=world.zone())
    world.run()
    request.refresh_from_db()
    assert (request.state, covered.listed()) == ("done", [NAME, OTHER])


def test_accepting_what_is_missing_asks_for_its_removal(covered: Covered) -> None:
    world = covered.world
    covered.lose(OTHER)
    request = decide(world, Decision.ACCEPT)
    assert (request.kind, [row.hostname for row in request.hostnames.all()]) == ("uncover", [NAME])


def test_what_cannot_be_asked_says_why(covered: Covered) -> None:
    world = covered.world
    covered.lose(NAME, OTHER, "new.northwind.example")
    rule = {"ref": "byoca-log-0", "action": "log", "enabled": True, "description": "",
            "expression": expression_for(["stray.northwind.example"], None)}  # fmt: skip
    world.edge.add_rule("northwind.example", rule)
    world.sweep()
    whys = {row.hostname: why for row, why in proposed(world, Decision.RESTORE, zone="northwind.example").left_out}
    assert "Adopt it first" in whys["new.northwind.example"]
    assert "nothing to restore" in whys["stray.northwind.example"]
    stranger = actor(Role.OWNER, teams=(make_team("Strangers"),))
    covered.lose(OTHER)
    left = proposed(world, Decision.RESTORE, by=stranger, kind="missing")
    assert (left.hostnames, "Payments owns" in left.left_out[0][1]) == (0, True)
    with pytest.raises(Invalid, match="Nothing is left"):
        ask(by=stranger, groups=left.groups, reason="x")


def test_a_difference_is_set_aside_for_seven_days_and_comes_back_by_itself(covered: Covered) -> None:
    world = covered.world
    covered.lose(OTHER)
    (row,) = differences(world)
    with pytest.raises(Forbidden):
        ignore_drift(by=world.owner, account=world.account, drift_ids=[row.pk], reason="x")
    with pytest.raises(Invalid) as refused:
        ignore_drift(by=world.engineer, account=world.account, drift_ids=[row.pk], reason=" ")
    assert set(refused.value.details) == {"reason"}
    (made,) = ignore_drift(by=world.engineer, account=world.account, drift_ids=[row.pk], reason="Migration")
    assert made.until - timezone.now() > timedelta(days=6, hours=23)
    assert (open_rows(world), open_rows(world, ignored=True)) == ([], [("missing", NAME)])
    with pytest.raises(Invalid, match="Reload"):
        ignore_drift(by=world.engineer, account=world.account, drift_ids=[row.pk], reason="Again")
    world.sweep()
    assert open_rows(world) == []
    event = AuditEvent.objects.get(action="drift:ignored")
    assert (event.reason, event.hostnames) == ("Migration", [NAME])
    DriftIgnore.objects.update(until=timezone.now())
    assert open_rows(world) == [("missing", NAME)]


def test_it_comes_back_on_demand_and_when_it_becomes_something_else(covered: Covered) -> None:
    world = covered.world
    world.edge.edit_rule("northwind.example", str(covered.rule()["id"]), action="log")
    world.sweep()
    rows = [row.pk for row in differences(world)]
    ignore_drift(by=world.engineer, account=world.account, drift_ids=rows, reason="Known")
    with pytest.raises(Forbidden):
        show_drift(by=world.owner, account=world.account, drift_ids=rows)
    assert len(show_drift(by=world.engineer, account=world.account, drift_ids=rows[:1])) == 1
    assert show_drift(by=world.engineer, account=world.account, drift_ids=rows[:1]) == []
    assert [row.pk for row in differences(world)] == rows[:1]
    assert AuditEvent.objects.filter(action="drift:shown").count() == 1
    world.edge.edit_rule("northwind.example", str(covered.rule()["id"]), expression='http.host eq "x.example"')
    world.sweep()
    assert {row.pk for row in Drift.objects.filter(resolved_at=None)} >= {row.pk for row in drift_open(world.account)}
    assert differences(world, ignored=True) == []


def test_filters(covered: Covered, outside: str) -> None:
    world = covered.world
    covered.lose(OTHER)
    zone = world.zone()
    for reference in (str(zone.pk), zone.cloudflare_id, "Northwind.example"):
        assert ("missing", NAME) in open_rows(world, zone=reference)
        assert ("unexpected", "c.northwind-pay.example") not in open_rows(world, zone=reference)
    assert open_rows(world, kind="missing", ca=str(covered.ca.pk)) == [("missing", NAME)]
    assert open_rows(world, ca="unknown") == open_rows(world, zone="unknown") == []
    assert CertificateAuthority.objects.filter(cloudflare_id=outside).count() == 0
