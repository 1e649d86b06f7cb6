"""From stored reads and approved rows to the word of a hostname: the facts that the answer stands on."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.coverage import settling
from apps.coverage.models import CoverageRequest
from apps.coverage.progress_services import fail_requests
from apps.coverage.services import approve_request, create_request, store_plan
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.inventory.models import EdgeRules, Zone
from apps.planning.rule import expression_for
from apps.planning.state import RuleState
from apps.reconcile.row_types import HostnameRow
from apps.reconcile.rows import build_rows
from apps.reconcile.selectors import hostname_detail
from tests.factories import actor, at_edge, make_account, make_ca, make_team

pytestmark = pytest.mark.django_db
WORKER = Actor.portal("worker")
HOST = "api.pay.example"


class Shown:
    """One hostname in block mode under one CA, and the edge as the test wants it read."""

    def __init__(self) -> None:
        self.account = make_account()
        self.owner = actor(Role.OWNER, teams=(make_team("Payments"),))
        self.ca = make_ca(self.account, name="Partners", client_issuers="self")
        self.zone = Zone.objects.get(account=self.account, name="pay.example")
        self.decide("cover")
        settling.settle_zone(
            by=WORKER, zone=self.zone, lists={self.ca.fingerprint: frozenset({HOST})}, enforced={HOST: "block"}
        )
        self.block = RuleState(
            "1" * 32, "byoca-0-0", "", "block", expression_for([HOST], frozenset({self.ca.ski})), True, 0
        )

    def decide(self, kind: str) -> CoverageRequest:
        request = create_request(
            by=self.owner, kind=kind, ca=self.ca, mode="block", text=HOST, reason="Launch",
            override="Tried in staging",
        )  # fmt: skip
        store_plan(by=WORKER, request_id=request.pk, document={"effects": []}, revisions={}, digest="d")
        return approve_request(by=actor(Role.ENGINEER), request_id=request.pk, digest="d")

    def row(self, *rules: RuleState, listed: bool = True) -> HostnameRow:
        now = timezone.now()
        Zone.objects.filter(pk=self.zone.pk).update(read_at=now)
        at_edge(self.ca, self.zone, *([HOST] if listed else []))
        values = {"rules": [asdict(rule) for rule in rules], "read_at": now, "changed_at": now}
        EdgeRules.objects.update_or_create(zone=self.zone, defaults=values)
        (row,) = build_rows(self.account, only=[HOST])
        return row


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_in_order(shown: Shown) -> None:
    row = shown.row(shown.block)
    assert (row.answer, row.sentence) == ("protected", "Clients without a certificate from Partners are refused.")
    assert (row.rule.state, row.rule.pinned, row.bypasses) == ("enforced", True, ())


def test_a_pin_that_no_client_can_meet_is_a_lock_out(shown: Shown) -> None:
    row = shown.row(replace(shown.block, expression=expression_for([HOST], frozenset({"FF"}))))
    assert row.answer == "locked_out"
    assert shown.row(shown.block, listed=False).answer == "locked_out"


def test_a_ca_outside_its_validity_verifies_nobody(shown: Shown) -> None:
    day = timedelta(days=1)
    for values in ({"not_before": timezone.now() + day}, {"not_after": timezone.now() - day}):
        type(shown.ca).objects.filter(pk=shown.ca.pk).update(**values)
        assert shown.row(shown.block).answer == "locked_out"
        assert shown.row().answer == "not_protected"
        shown.ca.save()


def test_a_rule_ahead_that_skips_is_named(shown: Shown) -> None:
    skip = RuleState("2" * 32, "theirs", "Health checks", "skip", 'http.request.uri.path eq "/health"', True, 0)
    row = shown.row(skip, replace(shown.block, position=1))
    assert (row.answer, row.bypasses) == ("not_enforced", ("Health checks",))
    assert "Health checks" in row.sentence
    assert hostname_detail(shown.account, HOST).rules_ahead == ("Health checks",)
    assert shown.row(shown.block, skip).answer == "protected"


def test_a_rule_off_an_edited_rule_and_a_rule_of_others(shown: Shown) -> None:
    assert shown.row(replace(shown.block, enabled=False)).answer == "not_enforced"
    edited = replace(shown.block, expression=f'http.host eq "{HOST}"')
    assert shown.row(edited).answer == "drift"
    row = shown.row(replace(edited, ref="theirs"), shown.block)
    assert (row.answer, row.sentence[-8:]) == ("protected", " theirs.")


def test_a_removal_that_failed_leaves_the_ca_live(shown: Shown) -> None:
    """The edge still asks and refuses: nobody is locked out, whatever became of the request."""
    request = shown.decide("uncover")
    fail_requests(by=WORKER, request_ids=[request.pk], why="Cloudflare refused.")
    row = shown.row(shown.block)
    assert row.answer == "drift"
    assert row.sentence.endswith("Clients without a certificate from Partners are refused.")


def test_a_paused_zone_protects_nothing(shown: Shown) -> None:
    assert shown.row(shown.block).answer == "protected"
    Zone.objects.filter(pk=shown.zone.pk).update(paused=True)
    row = shown.row(shown.block)
    assert row.answer == "not_protected"
    assert row.sentence == "pay.example is paused at Cloudflare, so what stands here checks nobody before it is active."
