"""What guards count as removed lately, and what a read proves while a rule is still on its way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.coverage.approved import write
from apps.coverage.models import Association
from apps.coverage.selectors import desired_zone
from apps.coverage.services import create_request
from apps.identity.permissions import Role
from apps.inventory.models import Zone
from apps.planning.diff import diff
from apps.planning.guards import Removal
from apps.planning.plan import ReplaceList
from apps.planning.simulate import apply_plan, prefixes
from apps.planning.state import ObservedZone
from apps.reconcile.edge import Observation
from apps.reconcile.models import Plan, PlanStep
from apps.reconcile.observe import store_observation
from apps.reconcile.removals import recent_removals
from tests.factories import actor, make_account, make_ca, make_team

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
NAME = "api.pay.example"


def sent(zone: Zone, before: set[str], after: set[str], *, hours_ago: float, state: str = PlanStep.State.DONE) -> None:
    step = ReplaceList.of("ca", frozenset(before), frozenset(after))
    number = Plan.objects.count() + 1
    plan = Plan.objects.create(number=number, zone=zone, state=Plan.State.APPLIED, digest="", base="", document={})
    PlanStep.objects.create(
        plan=plan, position=1, kind=step.kind, summary=step.summary(), document=step.to_dict(), state=state,
        started_at=timezone.now() - timedelta(hours=hours_ago),
    )  # fmt: skip


def test_removals_of_the_window_and_the_size_before_the_first_write() -> None:
    zone = Zone.objects.get(account=make_account(), name="pay.example")
    sent(zone, {"a", "b", "c", "d", "e"}, {"a", "b", "c", "d"}, hours_ago=25)
    sent(zone, {"a", "b", "c", "d"}, {"a", "b", "c"}, hours_ago=23)
    sent(zone, {"a", "b", "c"}, {"a", "b", "c", "x"}, hours_ago=2)
    sent(zone, {"a", "b", "c", "x"}, {"a", "x"}, hours_ago=1, state=PlanStep.State.UNKNOWN)
    sent(zone, {"a", "x"}, {"x"}, hours_ago=0.5, state=PlanStep.State.FAILED)
    recent = recent_removals(zone, window=DAY)
    assert [(r.zone, r.ca, r.hostname) for r in recent.removals] == [
        (zone.name, "ca", "d"),
        (zone.name, "ca", "b"),
        (zone.name, "ca", "c"),
    ]
    assert recent.sizes == {(zone.name, "ca"): 4}
    assert all(isinstance(r, Removal) and recent.now - DAY < r.at <= recent.now for r in recent.removals)


class Desk:
    """An account with two CAs; what is asked for is approved at once."""

    def __init__(self) -> None:
        self.account = make_account()
        self.zone = Zone.objects.get(account=self.account, name="pay.example")
        self.owner = actor(Role.OWNER, teams=(make_team("Payments"),))
        self.old, self.new = (make_ca(self.account, name=name, client_issuers="self") for name in ("Old", "New"))
        self.keys = {ca.fingerprint: ca.cloudflare_id for ca in (self.old, self.new)}
        self.edge = ObservedZone(self.zone.name, {key: frozenset() for key in self.keys})

    def ask(self, ca: CertificateAuthority) -> None:
        request = create_request(
            by=self.owner, kind="cover", ca=ca, mode="block", text=NAME, reason="Launch", override="x"
        )
        request.state = "approved"
        request.save()
        write(request, by_label="engineer")

    def read(self, observed: ObservedZone) -> list[str]:
        ended = store_observation(self.zone, Observation(observed, timezone.now()), self.keys)
        return [request.ca.name for request in ended]


def test_a_cut_off_rotation_is_not_done_before_its_rule_is() -> None:
    desk = Desk()
    desk.ask(desk.old)
    edge = apply_plan(desk.edge, diff(desired_zone(desk.zone), desk.edge, heal=False))
    assert desk.read(edge) == ["Old"]
    desk.ask(desk.new)
    # The last step only reads back, so the last two prefixes are the same edge.
    *parts, _, whole = prefixes(edge, diff(desired_zone(desk.zone), edge, heal=False))
    assert len(parts) > 5
    for part in parts:
        assert desk.read(part) == [], "a list that holds it, or a bridge that blocks it, is not the end"
    assert not Association.objects.get(ca=desk.new).live_at
    assert desk.read(whole) == ["New"]


def test_a_read_goes_on_when_the_approved_rules_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.ask(desk.old)
    monkeypatch.setattr("apps.planning.rule.MAX_EXPRESSION", 1)
    assert desk.read(desk.edge) == []
    assert Zone.objects.get(pk=desk.zone.pk).read_at
