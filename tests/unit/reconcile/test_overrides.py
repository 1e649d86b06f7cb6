"""A removal that a guard calls big: it waits for one more person, alone, and passes once."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.coverage.models import Approval, CoverageRequest, GuardOverride
from apps.coverage.overrides import may_override, needed_overrides, override_guard
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.errors import Conflict, Forbidden, Invalid
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.inventory.limits import set_limits
from apps.inventory.models import Zone
from apps.outbox.models import OutboxEntry
from apps.outbox.services import mark_due
from apps.reconcile.models import Plan
from apps.reconcile.services import withdraw
from apps.reconcile.zones import run_zone
from tests.factories import SETUP, actor
from tests.unit.reconcile.conftest import World

ZONE = "northwind.example"
MANY = [f"h{n:02}.{ZONE}" for n in range(14)]


def limited(world: World, **limits: int | None) -> None:
    set_limits(by=SETUP, zone_id=world.zone().pk, limits=limits, reason="A small zone")


def covered(world: World, name: str, *hostnames: str, mode: str = "verify") -> CertificateAuthority:
    ca = world.upload(name)
    assert world.approve(world.ask(ca, *hostnames, mode=mode)).state == "done"
    return ca


def digest(request: CoverageRequest) -> str:
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    return plan.digest


def document(request: CoverageRequest) -> dict[str, Any]:
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    return dict(plan.document)


def confirm(world: World, request: CoverageRequest, *, by: Actor | None = None, run: bool = True) -> CoverageRequest:
    """Approve as the page does, typing the number that the plan asks for."""
    approve_request(
        by=by or world.engineer, request_id=request.pk, digest=digest(request), confirm=document(request)["confirm"]
    )
    if run:
        world.run()
    return request_by_id(request.pk)


def override(
    world: World, request: CoverageRequest, guard: str = "ratio", by: Actor | None = None
) -> list[GuardOverride]:
    return override_guard(
        by=by or world.other_engineer, request_id=request.pk, digest=digest(request), guard=guard, reason="Planned"
    )


def big_removal(world: World, name: str) -> tuple[CertificateAuthority, CoverageRequest]:
    ca = covered(world, name, *MANY)
    return ca, world.ask(ca, *MANY[:12], kind="uncover")


def test_a_plan_says_before_it_is_approved_which_guards_it_trips(world: World) -> None:
    _, request = big_removal(world, "Forecast")
    guards = {row["guard"]: row for row in document(request)["guards"]}
    assert set(guards) == {"share", "ratio"}
    assert (guards["share"]["overridable"], guards["ratio"]["overridable"]) == (False, True)
    assert "of CA Forecast in northwind.example" in guards["ratio"]["message"]
    assert document(request)["confirm"] == 12
    small = world.ask(world.upload("Nothing to remove"), f"x.{ZONE}")
    assert (document(small)["guards"], document(small)["confirm"]) == ([], None)


def test_a_big_removal_waits_for_its_override_and_goes_when_it_is_given(world: World) -> None:
    ca, request = big_removal(world, "Waits")
    waiting = confirm(world, request)
    assert waiting.state == "approved", "it is not failed"
    assert "Waits for an override: 12 of 14 hostnames of CA Waits" in waiting.state_reason
    assert str(world.other_engineer.person) in waiting.state_reason
    assert str(world.engineer.person) not in waiting.state_reason.partition("let it pass: ")[2]
    assert len(world.edge.hostnames(ZONE, ca.cloudflare_id)) == 14
    refused = Plan.objects.get(state="refused")
    assert [(row["guard"], row["overridable"]) for row in refused.refusals] == [("ratio", True)]
    world.sweep()
    assert Plan.objects.filter(state="refused").count() == 1, "each sweep finds the same; it is told once"
    (given,) = override(world, request)
    world.run()
    request = request_by_id(request.pk)
    assert (request.state, request.state_reason, request.waits_for) == ("done", "", [])
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == MANY[12:]
    given.refresh_from_db()
    assert given.used_by == Plan.objects.get(state="applied", request_ids=[request.pk]).pk
    actions = list(AuditEvent.objects.order_by("seq").values_list("action", flat=True))
    for action in ("plan:refused", "request:waits_for_override", "guard:overridden", "guard:override_used"):
        assert actions.count(action) == 1, action
    assert world.edge.violations() == []


def test_what_else_is_approved_in_the_zone_goes_without_the_one_that_waits(world: World) -> None:
    ca, request = big_removal(world, "In front")
    confirm(world, request, run=False)
    blocked = world.ask(ca, f"new.{ZONE}", mode="block")
    assert world.approve(blocked).state == "done"
    assert request_by_id(request.pk).state == "approved"
    assert len(world.edge.hostnames(ZONE, ca.cloudflare_id)) == 15


def test_a_waiting_removal_keeps_the_rule_of_its_hostnames(world: World) -> None:
    limited(world, few=0)
    ca = covered(world, "Rule stays", *MANY[:3], mode="block")
    (rule,) = [row for row in world.edge.rules(ZONE) if row["ref"].startswith("byoca-")]
    request = confirm(world, world.ask(ca, *MANY[:2], kind="uncover"))
    assert request.waits_for
    assert world.approve(world.ask(ca, MANY[5])).state == "done"
    (after,) = [row for row in world.edge.rules(ZONE) if row["ref"] == rule["ref"]]
    assert all(name in after["expression"] for name in MANY[:3])


def test_neither_who_asked_nor_who_approved_gives_the_override(world: World) -> None:
    _, request = big_removal(world, "Three people")
    with pytest.raises(Conflict, match="waits for no override"):
        override(world, request)
    asker = actor(Role.ENGINEER)
    confirm(world, request)
    for person, words in ((world.engineer, "You approved this"), (world.owner, "Your role"), (asker, "")):
        allowed, why = may_override(person, request_by_id(request.pk))
        assert (allowed, why.startswith(words)) == (not words, True), why
        if words:
            with pytest.raises(Forbidden):
                override(world, request, by=person)
    with pytest.raises(Conflict, match="not the approved plan"):
        override_guard(by=asker, request_id=request.pk, digest="0" * 64, guard="ratio", reason="x")
    with pytest.raises(Conflict, match="does not wait for the guard total"):
        override(world, request, guard="total", by=asker)
    with pytest.raises(Invalid, match="Say why"):
        override_guard(by=asker, request_id=request.pk, digest=digest(request), guard="ratio", reason=" ")
    assert not GuardOverride.objects.exists()


def test_whoever_asked_is_told_that_someone_else_gives_it(world: World) -> None:
    ca = covered(world, "Own request", *MANY)
    world.owner = world.other_engineer
    request = confirm(world, world.ask(ca, *MANY[:12], kind="uncover"))
    allowed, why = may_override(world.other_engineer, request)
    assert (allowed, "You asked for this" in why) == (False, True)
    assert "nobody here has the role" in why


def test_the_database_refuses_an_override_by_the_wrong_people(world: World) -> None:
    _, request = big_removal(world, "By constraint")
    confirm(world, request)
    approval = Approval.objects.get(request=request)
    third = world.other_engineer.person
    assert third and world.engineer.person
    right = {
        "request": request, "plan": approval.plan, "approval": approval, "zone": world.zone(), "guard": "ratio",
        "digest": approval.digest, "reason": "x", "given_by": third, "given_by_label": "x",
        "requested_by": request.requested_by, "approved_by": world.engineer.person, "given_at": approval.approved_at,
    }  # fmt: skip
    for wrong in (
        {"given_by": world.engineer.person},
        {"given_by": request.requested_by},
        {"given_by": world.engineer.person, "approved_by": third},
        {"given_by": request.requested_by, "requested_by": third},
    ):
        with pytest.raises((IntegrityError, DatabaseError)), transaction.atomic():
            GuardOverride.objects.create(**right | wrong)
    row = GuardOverride.objects.create(**right)
    with pytest.raises((IntegrityError, DatabaseError)), transaction.atomic():
        GuardOverride.objects.filter(pk=row.pk).update(given_by=world.engineer.person, approved_by=third)
    with pytest.raises(IntegrityError), transaction.atomic():
        GuardOverride.objects.create(**right)


def test_an_override_ends_with_the_plan_it_was_given_for(world: World) -> None:
    ca, request = big_removal(world, "Rebuilt")
    confirm(world, request)
    world.edge.switch(down=True)
    (given,) = override(world, request)
    world.edge.switch(down=False)
    world.edge.edit(ZONE, ca.cloudflare_id, [*MANY, f"foreign.{ZONE}"])
    world.sweep()
    given.refresh_from_db()
    assert request_by_id(request.pk).state == "stale"
    assert given.void_at is not None
    assert given.used_at is None
    assert len(world.edge.hostnames(ZONE, ca.cloudflare_id)) == 15


def test_an_override_is_used_up_and_the_same_hostnames_again_need_another(world: World) -> None:
    ca, request = big_removal(world, "Again")
    confirm(world, request)
    override(world, request)
    world.run()
    assert world.approve(world.ask(ca, *MANY[:12], mode="verify")).state == "done"
    again = confirm(world, world.ask(ca, *MANY[:12], kind="uncover"))
    assert again.state == "approved"
    assert {row["guard"] for row in needed_overrides(again)} == {"ratio", "window"}
    override(world, again, guard="ratio")
    world.run()
    assert {row["guard"] for row in needed_overrides(request_by_id(again.pk))} == {"window"}
    override(world, again, guard="window")
    world.run()
    assert request_by_id(again.pk).state == "done"


def test_an_override_is_open_again_when_its_change_sent_no_removal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, request = big_removal(world, "Cut off")
    confirm(world, request)
    (given,) = override(world, request)
    monkeypatch.setattr("apps.reconcile.zones.Applier.run", _dies)
    with pytest.raises(KeyboardInterrupt):
        run_zone(world.zone().pk)
    given.refresh_from_db()
    assert given.used_at is not None
    monkeypatch.undo()
    OutboxEntry.objects.update(leased_by="", leased_until=None)
    mark_due(kind="zone", subject_id=world.zone().pk)
    world.run()
    assert request_by_id(request.pk).state == "done"
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == MANY[12:]
    assert sorted(Plan.objects.filter(zone=world.zone()).values_list("state", flat=True))[-1] == "superseded"


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


def test_one_that_has_its_override_goes_before_one_that_has_none(world: World) -> None:
    limited(world, few=2)
    ca = covered(world, "Two at once", *MANY)
    first, second = (confirm(world, world.ask(ca, *names, kind="uncover")) for names in (MANY[:4], MANY[4:8]))
    assert {first.state, second.state} == {"approved"}
    override(world, first)
    world.run()
    assert (request_by_id(first.pk).state, request_by_id(second.pk).state) == ("done", "approved")
    assert {row["guard"] for row in needed_overrides(request_by_id(second.pk))} == {"ratio", "window"}
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == MANY[4:]


def test_an_override_by_somebody_who_decided_beside_it_waits_for_its_own_round(world: World) -> None:
    limited(world, few=2)
    ca = covered(world, "Crossed", *MANY)
    first = confirm(world, world.ask(ca, *MANY[:4], kind="uncover"))
    second = confirm(world, world.ask(ca, *MANY[4:7], kind="uncover"), by=world.other_engineer)
    override(world, first)
    override(world, second, by=world.engineer)
    world.run()
    assert sorted(request_by_id(row.pk).state for row in (first, second)) == ["approved", "done"]


def test_an_approver_who_was_not_asked_to_confirm_is_asked_when_it_turns_out_needed(world: World) -> None:
    ca = covered(world, "Late", *MANY)
    other = covered(world, "Other", MANY[0])
    limited(world, percent=90, few=100)
    request = world.ask(other, MANY[0], kind="uncover")
    confirm(world, request, run=False)
    Approval.objects.filter(request=request).update(confirmed=None)
    world.run()
    stale = request_by_id(request.pk)
    assert (stale.state, "It needs a confirmation now" in stale.state_reason) == ("stale", True)
    assert world.edge.hostnames(ZONE, other.cloudflare_id) == [MANY[0]]
    assert len(world.edge.hostnames(ZONE, ca.cloudflare_id)) == 14


def test_a_confirmed_removal_goes_before_one_that_nobody_confirmed(world: World) -> None:
    ca = covered(world, "Confirmed first", *MANY)
    unasked = world.ask(ca, MANY[0], kind="uncover")
    asked = world.ask(ca, *MANY[1:4], kind="uncover")
    confirm(world, unasked, run=False)
    Approval.objects.filter(request=unasked).update(confirmed=None)
    confirm(world, asked)
    assert request_by_id(asked.pk).state == "done"
    assert request_by_id(unasked.pk).state == "stale", "four of fourteen within the window are a share"


def test_the_page_asks_for_the_number(world: World) -> None:
    ca = covered(world, "Typed", *MANY[:3])
    request = world.ask(ca, *MANY[:3], kind="uncover")
    for wrong in ("", "2", 4, "three"):
        with pytest.raises(Invalid, match="type 3"):
            approve_request(by=world.engineer, request_id=request.pk, digest=digest(request), confirm=wrong)
    assert confirm(world, request).state == "done"
    assert Approval.objects.get(request=request).confirmed == 3


def test_a_program_types_the_number_too_for_a_share_and_for_the_last(world: World) -> None:
    ca = covered(world, "By program", *MANY[:3])
    for names, guards, words in ((MANY[:2], {"share"}, "2"), (MANY[2:3], {"share", "emptied"}, "1")):
        request = world.ask(ca, *names, kind="uncover")
        assert {row["guard"] for row in document(request)["guards"]} >= guards
        with pytest.raises(Invalid, match=f"send `confirm` with the number {words}"):
            approve_request(by=world.engineer, request_id=request.pk, digest=digest(request))
        assert confirm(world, request).state == "done"


def test_a_removal_in_slices_by_digest_is_asked_for_the_number_when_it_is_sent(world: World) -> None:
    ca = covered(world, "Slices", *MANY[:4])
    slices = [world.ask(ca, name, kind="uncover") for name in MANY[:3]]
    for request in slices:
        assert document(request)["guards"] == []
        approve_request(by=world.engineer, request_id=request.pk, digest=digest(request))
    world.run()
    assert sorted(request_by_id(row.pk).state for row in slices) == ["done", "stale", "stale"]
    assert len(world.edge.hostnames(ZONE, ca.cloudflare_id)) == 3


def test_more_than_thirty_percent_of_a_list_of_ten_waits_for_an_override(world: World) -> None:
    ca = covered(world, "Ten", *MANY[:10])
    assert confirm(world, world.ask(ca, *MANY[:3], kind="uncover")).state == "done"
    fourth = confirm(world, world.ask(ca, MANY[3], kind="uncover"))
    assert (fourth.state, {row["guard"] for row in needed_overrides(fourth)}) == ("approved", {"window"})
    override(world, fourth, guard="window")
    world.run()
    assert request_by_id(fourth.pk).state == "done"


def test_a_program_types_the_number_too_when_an_override_is_needed(world: World) -> None:
    _, request = big_removal(world, "Program")
    with pytest.raises(Invalid, match="number 12") as refused:
        approve_request(by=world.engineer, request_id=request.pk, digest=digest(request))
    assert list(refused.value.details) == ["confirm"]
    assert confirm(world, request, run=False).state == "approved"
    assert {row["guard"] for row in needed_overrides(request_by_id(request.pk))} == {"ratio"}, "by the plan's own word"


def test_a_limit_over_all_lists_is_overridden_in_each_zone_of_the_plan(world: World) -> None:
    other = Zone.objects.filter(account=world.account, vanished_at=None).exclude(name=ZONE).first()
    assert other
    ca = world.upload("Everywhere")
    names = [*MANY[:2], f"a.{other.name}", f"b.{other.name}"]
    assert world.approve(world.ask(ca, *names, mode="verify")).state == "done"
    for zone in (world.zone(), other):
        set_limits(by=SETUP, zone_id=zone.pk, limits={"total": 3}, reason="x")
    request = world.ask(ca, *names, kind="uncover")
    assert [row["guard"] for row in document(request)["guards"] if row["overridable"]] == ["total"]
    waiting = confirm(world, request)
    assert waiting.state == "applying", "the zone that comes first is within the limit"
    assert [row["guard"] for row in waiting.waits_for] == ["total"]
    assert "Waits for an override" in waiting.state_reason
    assert len(override(world, request, guard="total")) == 2
    world.run()
    assert request_by_id(request.pk).state == "done"


def test_the_requester_may_withdraw_what_waits_for_an_override(world: World) -> None:
    ca, request = big_removal(world, "Given up")
    confirm(world, request, run=False)
    world.run()
    withdraw(by=world.owner, request_id=request.pk)
    world.sweep()
    assert request_by_id(request.pk).state == "withdrawn"
    assert needed_overrides(request_by_id(request.pk)) == []
    assert len(world.edge.hostnames(ZONE, ca.cloudflare_id)) == 14
    assert not AuditEvent.objects.filter(action="drift:found", hostnames__icontains=MANY[0]).exists()


def test_a_zone_without_room_for_a_rule_is_refused_before_its_first_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = covered(world, "Leaving", MANY[0])
    room = len(world.edge.rules(ZONE))
    allowed = "apps.reconcile.last_look.rules_allowed"
    monkeypatch.setattr(allowed, lambda plan: room if "Enterprise" in plan else 0)
    request = world.ask(ca, MANY[1])
    assert f"its Cloudflare plan allows {room}" in " ".join(document(request)["warnings"])
    leaving = world.ask(ca, MANY[0], kind="uncover")
    confirm(world, leaving, run=False)
    failed = world.approve(request)
    assert failed.state == "failed"
    assert f"its Cloudflare plan allows {room}" in failed.state_reason
    assert request_by_id(leaving.pk).state == "done", "a removal does not wait for room"
    assert len(world.edge.rules(ZONE)) == room


def test_what_was_set_aside_is_judged_alone_when_the_other_cannot_go(world: World) -> None:
    limited(world, few=2)
    ca = covered(world, "Set aside", *MANY)
    unasked, big = world.ask(ca, *MANY[:2], kind="uncover"), world.ask(ca, *MANY[2:8], kind="uncover")
    confirm(world, unasked, run=False)
    Approval.objects.filter(request=unasked).update(confirmed=None)
    assert [row["guard"] for row in confirm(world, big).waits_for] == ["ratio"]
    assert request_by_id(unasked.pk).state == "stale"
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == MANY
