"""Adopting is a word about what stands: it sends nothing, and is out of date once something else stands there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.authorities.intake import PeopleSay
from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import request_by_id
from apps.errors import Conflict
from apps.planning.rule import compile_rules
from apps.planning.state import DesiredZone, Mode
from apps.reconcile.differences import Decision
from apps.reconcile.drift_services import adopt_ca, ask
from apps.reconcile.services import rebuild_plan
from tests.certs import make_ca
from tests.unit.reconcile.conftest import World
from tests.unit.reconcile.test_drift_decisions import last, open_rows, proposed, writes

ZONE, NAME, OTHER = "northwind.example", "a.northwind.example", "b.northwind.example"


class Standing:
    """A lost database: two CAs, and a rule of ours that blocks for both, all of it unknown here."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cas = [self.adopted(name) for name in ("First", "Second")]
        for ca in self.cas:
            world.edge.edit(ZONE, ca.cloudflare_id, [NAME, OTHER])
        both = {ca.fingerprint: frozenset({NAME, OTHER}) for ca in self.cas}
        issuers = {ca.fingerprint: ca.issuer_skis for ca in self.cas}
        (rule,) = compile_rules(
            DesiredZone(ZONE, both, modes=dict.fromkeys((NAME, OTHER), Mode.BLOCK), issuers=issuers)
        )
        self.ref = rule.ref
        fields = {"description": rule.description, "action": rule.action, "expression": rule.expression}
        world.edge.add_rule(ZONE, {"ref": rule.ref, "enabled": True, **fields})
        world.sweep()

    def adopted(self, name: str) -> CertificateAuthority:
        ca_id = self.world.edge.add_certificate(name, make_ca(name).pem)
        self.world.run_account()
        people = PeopleSay(name, "Lost with the database", "self")
        return adopt_ca(by=self.world.engineer, account=self.world.account, cloudflare_id=ca_id, people=people)

    def asked(self, *hostnames: str) -> list[CoverageRequest]:
        rows = self.proposal_groups(hostnames)
        return ask(by=self.world.owner, groups=rows, reason="As it stands")

    def proposal_groups(self, hostnames: tuple[str, ...]) -> list[object]:
        found = []
        for group in proposed(self.world, Decision.ACCEPT, zone=ZONE).groups:
            if group.ca in self.cas:
                names = tuple(name for name in group.hostnames if name in hostnames)
                found.append(type(group)(group.kind, group.ca, group.mode, names, group.in_zones))
        return found


@pytest.fixture
def standing(world: World) -> Iterator[Standing]:
    yield Standing(world)
    for zone in world.edge.zones:
        for row in world.edge.state()["certificates"]:
            if row["id"] not in world.seeded:
                world.edge.edit(zone, row["id"], [])


def test_the_hostnames_of_two_cas_are_adopted_one_ca_after_the_other_and_nothing_is_sent(standing: Standing) -> None:
    """With the first CA adopted alone, the rule must not refuse the clients of the second."""
    world = standing.world
    before, since = world.edge.rules(ZONE), last(world)
    first, second = standing.asked(NAME, OTHER)
    assert [row.plans.get().document["zones"][0]["steps"] for row in (first, second)] == [[], []]
    assert world.approve(first).state == "done"
    assert {kind for kind, name in open_rows(world) if name == NAME} == {"unexpected", "altered"}, "half of it is known"
    assert world.approve(second).state == "done"
    assert [name for _, name in open_rows(world) if name in {NAME, OTHER}] == []
    assert ([row for row in writes(world, since) if "dry_run" not in row], world.edge.rules(ZONE)) == ([], before)


def test_a_part_of_a_rule_is_adopted_and_the_rest_of_it_stays_blocked(standing: Standing) -> None:
    world = standing.world
    before = world.edge.rules(ZONE)
    for request in standing.asked(NAME):
        assert world.approve(request).state == "done"
    assert world.edge.rules(ZONE) == before
    assert world.actions(OTHER) == "block"


def test_a_rule_that_somebody_took_away_meanwhile_is_not_put_back_by_adopting(standing: Standing) -> None:
    world = standing.world
    first, _ = standing.asked(NAME)
    world.edge.delete_rule(ZONE, standing.ref)
    world.sweep()
    assert request_by_id(first.pk).state == "stale"
    with pytest.raises(Conflict, match="Our block rule changed after this plan was built"):
        world.approve(first)
    assert world.actions(NAME) == ""


def test_nor_when_the_portal_learns_of_it_right_after_the_approval(standing: Standing) -> None:
    world = standing.world
    first, _ = standing.asked(NAME)
    world.edge.delete_rule(ZONE, standing.ref)
    assert world.approve(first).state == "stale"
    assert world.actions(NAME) == ""


def test_a_hostname_that_left_the_list_meanwhile_is_named(standing: Standing) -> None:
    world = standing.world
    first, _ = standing.asked(NAME, OTHER)
    assert not any("No longer at the edge" in words for words in first.plans.get().document["warnings"])
    world.edge.edit(ZONE, first.ca.cloudflare_id, [NAME])
    world.sweep()
    rebuild_plan(by=world.engineer, request_id=first.pk)
    (words,) = [w for w in first.plans.latest("number").document["warnings"] if "No longer at the edge" in w]
    assert (OTHER in words, NAME in words) == (True, False)
