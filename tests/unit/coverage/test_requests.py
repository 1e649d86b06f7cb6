"""From asking to done, by the services alone: who may decide, on what, and what it leads to."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.coverage import settling
from apps.coverage.closing_services import cancel_request, reject_request, withdraw_request
from apps.coverage.models import Approval, Association, CoverageRequest, Enforcement
from apps.coverage.progress_services import (
    begin_applying,
    fail_requests,
    outdate_plan,
    put_off_planning,
    retry_requests,
)
from apps.coverage.selectors import (
    current_plan,
    desired_with,
    desired_zone,
    in_flight_requests,
    may_approve,
    request_by_id,
    requests_by,
    requests_in,
    requests_waiting_for,
)
from apps.coverage.services import (
    approve_request,
    create_request,
    retire_ca,
    store_plan,
)
from apps.coverage.uses import uses_of
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.inventory.models import Zone
from apps.outbox.models import OutboxEntry
from apps.planning.state import Mode
from tests.factories import actor, at_edge, make_account, make_ca, make_team

pytestmark = pytest.mark.django_db
WORKER = Actor.portal("worker")


def nothing_left(_request: CoverageRequest) -> bool:
    return False


def something_left(_request: CoverageRequest) -> bool:
    return True


class Desk:
    """One account with a live CA; an owner asks, an engineer decides."""

    def __init__(self) -> None:
        self.account = make_account()
        self.team = make_team("Payments")
        self.owner = actor(Role.OWNER, teams=(self.team,))
        self.engineer = actor(Role.ENGINEER)
        self.ca = make_ca(self.account, name="Partners", client_issuers="self")
        self.zone = Zone.objects.get(account=self.account, name="pay.example")

    def ask(  # type: ignore[no-untyped-def]
        self, text: str = "api.pay.example", *, kind: str = "cover", mode: str = "block", by=None, ca=None,
        override: str = "Tried in staging",
    ):  # fmt: skip
        return create_request(
            by=by or self.owner, kind=kind, ca=ca or self.ca, mode=mode, text=text, reason="Launch", override=override
        )

    def plan(self, request: CoverageRequest, digest: str = "d1") -> None:
        store_plan(by=WORKER, request_id=request.pk, document={"effects": []}, revisions={}, digest=digest)

    def planned(self, *args: str, **more: str) -> CoverageRequest:
        request = self.ask(*args, **more)
        self.plan(request)
        return request

    def approve(self, request: CoverageRequest, digest: str = "d1") -> CoverageRequest:
        return approve_request(by=self.engineer, request_id=request.pk, digest=digest)

    def approved(self, *args: str, **more: str) -> CoverageRequest:
        return self.approve(self.planned(*args, **more))

    def read(self, *hostnames: str, enforced: dict[str, str] | None = None, ca=None) -> None:  # type: ignore[no-untyped-def]
        """As if a complete read of the zone had shown this."""
        lists = {(ca or self.ca).fingerprint: frozenset(hostnames)}
        settling.settle_zone(by=WORKER, zone=self.zone, lists=lists, enforced=enforced or {})

    def live(self, hostname: str = "api.pay.example", mode: str = "block") -> CoverageRequest:
        request = self.approved(hostname, mode=mode)
        self.read(hostname, enforced={hostname: mode} if mode != "verify" else {})
        request.refresh_from_db()
        return request


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_request_is_stored_with_its_hostnames_and_made_due(desk: Desk) -> None:
    request = desk.ask("api.pay.example, b.shop.example\nAPI.pay.example")
    assert (request.state, request.team) == ("planning", desk.team)
    assert sorted(row.hostname for row in request.hostnames.all()) == ["api.pay.example", "b.shop.example"]
    event = AuditEvent.objects.get(action="request:created")
    assert (event.reason, event.hostnames) == ("Launch", ["api.pay.example", "b.shop.example"])
    assert OutboxEntry.objects.filter(kind="account", subject_id=desk.account.pk).exists()


def test_every_problem_is_named_at_once_and_nothing_is_stored(desk: Desk) -> None:
    other = make_team("Other")
    with pytest.raises(Invalid) as refused:
        create_request(
            by=desk.owner, kind="cover", ca=desk.ca, mode="maybe", text="*.pay.example x.other.example", reason=" ",
            team=other,
        )  # fmt: skip
    assert set(refused.value.details) == {"mode", "hostnames", "reason", "team"}
    assert len(refused.value.details["hostnames"]) == 2
    with pytest.raises(Invalid) as refused:
        create_request(by=desk.owner, kind="nope", ca=desk.ca, mode="verify", text="", reason="x" * 4001)
    assert set(refused.value.details) == {"kind", "reason"}
    with pytest.raises(Invalid, match="not sent"):
        desk.ask(" ")
    assert not CoverageRequest.objects.exists()


def test_who_may_ask(desk: Desk) -> None:
    with pytest.raises(Forbidden):
        desk.ask(by=actor(Role.AUDITOR))
    two_teams = actor(Role.OWNER, teams=(make_team(), make_team()))
    assert desk.ask(by=two_teams).team is None
    for_other = create_request(
        by=desk.engineer, kind="cover", ca=desk.ca, mode="verify", text="z.pay.example", reason="x", team=desk.team
    )
    assert for_other.team == desk.team


def test_the_requester_cannot_approve_by_service_nor_by_a_database_write(desk: Desk) -> None:
    request = desk.ask(by=desk.engineer)
    desk.plan(request)
    with pytest.raises(Forbidden, match="someone else must approve"):
        desk.approve(request)
    plan = current_plan(request_by_id(request.pk))
    values = {"request": request, "plan": plan, "digest": "d1", "approved_by": desk.engineer.person,
              "approved_at": timezone.now(), "approved_by_label": "x"}  # fmt: skip
    with pytest.raises(IntegrityError), transaction.atomic():
        Approval.objects.create(requested_by=desk.engineer.person, **values)
    with pytest.raises(DatabaseError), transaction.atomic():
        Approval.objects.create(requested_by=desk.owner.person, **values)
    with pytest.raises(DatabaseError), transaction.atomic():
        CoverageRequest.objects.filter(pk=request.pk).update(requested_by=desk.owner.person)
    request.refresh_from_db()
    assert (request.state, Approval.objects.count()) == ("waiting", 0)


def test_an_owner_cannot_approve_anybodys_request(desk: Desk) -> None:
    request = desk.planned()
    with pytest.raises(Forbidden):
        approve_request(by=actor(Role.OWNER), request_id=request.pk, digest="d1")


def test_approving_writes_the_approved_state_and_makes_the_zone_due(desk: Desk) -> None:
    request = desk.planned()
    OutboxEntry.objects.all().delete()
    desk.approve(request)
    row = Association.objects.get()
    assert (row.hostname, row.state, row.live_at, row.owner_team) == ("api.pay.example", "approved", None, desk.team)
    assert Enforcement.objects.get().mode == "block"
    assert OutboxEntry.objects.get().subject_id == desk.zone.pk
    assert AuditEvent.objects.get(action="request:approved").actor_label == desk.engineer.label


def test_approving_twice_is_one_approval(desk: Desk) -> None:
    request = desk.planned()
    desk.approve(request)
    assert desk.approve(request).pk == request.pk
    assert Approval.objects.count() == 1
    assert AuditEvent.objects.filter(action="request:approved").count() == 1


def test_only_the_plan_that_was_seen_is_approved(desk: Desk) -> None:
    request = desk.ask()
    with pytest.raises(Conflict, match="No plan yet"):
        desk.approve(request)
    desk.plan(request, "d1")
    desk.plan(request, "d2")
    with pytest.raises(Conflict, match="not the current plan"):
        desk.approve(request, "d1")
    desk.approve(request, "d2")
    with pytest.raises(Conflict, match="cannot be approved"):
        approve_request(by=actor(Role.ENGINEER), request_id=request.pk, digest="d2")
    with pytest.raises(Conflict, match="decided"):
        desk.plan(request, "d3")
    with pytest.raises(NotFound):
        approve_request(by=desk.engineer, request_id=request.pk + 99, digest="d1")


def test_what_could_not_be_planned_is_told_once_per_reason(desk: Desk) -> None:
    request, at = desk.ask(), timezone.now()
    for why in ("No such zone.", "No such zone.", "Refused."):
        put_off_planning(by=WORKER, request_id=request.pk, why=why, next_at=at)
    events = AuditEvent.objects.filter(action="request:not_planned").order_by("seq")
    assert [row.after["why"] for row in events] == ["No such zone.", "Refused."]
    assert may_approve(desk.engineer, request_by_id(request.pk)) == (False, "No plan yet. Refused.")
    with pytest.raises(Conflict, match="Refused"):
        desk.approve(request)
    desk.plan(request)
    put_off_planning(by=WORKER, request_id=request.pk, why="Too late.", next_at=at)
    assert request_by_id(request.pk).state_reason == ""


def test_a_plan_whose_edge_moved_cannot_be_approved_until_it_is_rebuilt(desk: Desk) -> None:
    request = desk.planned()
    plan = current_plan(request_by_id(request.pk))
    assert plan
    outdate_plan(by=WORKER, plan_id=plan.pk, reason="The edge list changed.")
    outdate_plan(by=WORKER, plan_id=plan.pk, reason="again")
    with pytest.raises(Conflict, match="Rebuild the plan"):
        desk.approve(request)
    assert AuditEvent.objects.filter(action="request:outdated").count() == 1
    desk.plan(request, "d2")
    assert desk.approve(request, "d2").state == "approved"


def test_an_approval_is_void_when_the_edge_moves_before_it_is_applied(desk: Desk) -> None:
    request = desk.approved()
    plan = current_plan(request_by_id(request.pk))
    assert plan
    outdate_plan(by=WORKER, plan_id=plan.pk, reason="The edge list changed.")
    request.refresh_from_db()
    assert (request.state, Association.objects.count(), Enforcement.objects.count()) == ("stale", 0, 0)
    assert Approval.objects.get().void_at is not None
    assert desired_zone(desk.zone).associations == {}


def test_voiding_a_removal_or_a_mode_change_brings_back_what_held_before(desk: Desk) -> None:
    desk.live()
    removal = desk.approved("api.pay.example", kind="uncover")
    assert desired_zone(desk.zone).modes == {"api.pay.example": Mode.VERIFY}
    plan = current_plan(request_by_id(removal.pk))
    assert plan
    outdate_plan(by=WORKER, plan_id=plan.pk, reason="moved")
    desired = desired_zone(desk.zone)
    assert desired.associations == {desk.ca.fingerprint: frozenset({"api.pay.example"})}
    assert desired.modes == {"api.pay.example": Mode.BLOCK} == desired.settled_modes


def test_rejecting_and_withdrawing_close_a_request(desk: Desk) -> None:
    request = desk.planned()
    with pytest.raises(Invalid, match="Say why"):
        reject_request(by=desk.engineer, request_id=request.pk, comment=" ")
    with pytest.raises(Forbidden):
        withdraw_request(by=desk.engineer, request_id=request.pk, has_left=nothing_left)
    assert reject_request(by=desk.engineer, request_id=request.pk, comment="Wrong CA").state == "rejected"
    with pytest.raises(Conflict):
        withdraw_request(by=desk.owner, request_id=request.pk, has_left=nothing_left)
    second = desk.planned("b.pay.example")
    assert withdraw_request(by=desk.owner, request_id=second.pk, has_left=nothing_left).state == "withdrawn"
    own = desk.ask("c.pay.example", by=desk.engineer)
    with pytest.raises(Forbidden, match="Withdraw it"):
        reject_request(by=desk.engineer, request_id=own.pk, comment="x")


def test_what_is_approved_can_be_called_off_until_a_write_of_it_has_left(desk: Desk) -> None:
    mine, yours = desk.approved("b.pay.example"), desk.approved("c.pay.example")
    begin_applying(by=WORKER, request_ids=[yours.pk])
    for close in (withdraw_request, lambda **more: cancel_request(reason="No", **more)):
        by = desk.owner if close is withdraw_request else desk.engineer
        with pytest.raises(Conflict, match="on its way"):
            close(by=by, request_id=mine.pk, has_left=something_left)
    with pytest.raises(Forbidden, match="Only the person who asked"):
        withdraw_request(by=desk.engineer, request_id=mine.pk, has_left=nothing_left)
    assert withdraw_request(by=desk.owner, request_id=mine.pk, has_left=nothing_left).state == "withdrawn"
    cancelled = cancel_request(by=desk.engineer, request_id=yours.pk, reason="Wrong CA", has_left=nothing_left)
    assert (cancelled.state, cancelled.state_reason) == ("withdrawn", f"Cancelled by {desk.engineer.label}: Wrong CA")
    assert not Association.objects.exists()
    assert not Enforcement.objects.exists()
    assert not Approval.objects.filter(void_at=None).exists()
    event = AuditEvent.objects.get(action="request:cancelled")
    assert (event.reason, event.actor_label, event.before) == ("Wrong CA", desk.engineer.label, {"state": "applying"})


def test_who_may_cancel_what(desk: Desk) -> None:
    request = desk.planned()
    with pytest.raises(Conflict, match="no approval to cancel"):
        cancel_request(by=desk.engineer, request_id=request.pk, reason="No", has_left=nothing_left)
    desk.approve(request)
    with pytest.raises(Forbidden):
        cancel_request(by=desk.owner, request_id=request.pk, reason="No", has_left=nothing_left)
    with pytest.raises(Invalid, match="Say why"):
        cancel_request(by=desk.engineer, request_id=request.pk, reason=" ", has_left=nothing_left)
    own = desk.ask("c.pay.example", by=desk.engineer)
    with pytest.raises(Forbidden, match="Withdraw it"):
        cancel_request(by=desk.engineer, request_id=own.pk, reason="No", has_left=nothing_left)
    CoverageRequest.objects.filter(pk=request.pk).update(kind="break_glass")
    with pytest.raises(Conflict, match="returns to block by itself"):
        cancel_request(by=desk.engineer, request_id=request.pk, reason="No", has_left=nothing_left)


def test_a_removal_that_is_called_off_leaves_the_hostname_as_it_was(desk: Desk) -> None:
    desk.live()
    removal = desk.approved("api.pay.example", kind="uncover")
    withdraw_request(by=desk.owner, request_id=removal.pk, has_left=nothing_left)
    desired = desired_zone(desk.zone)
    assert desired.associations == {desk.ca.fingerprint: frozenset({"api.pay.example"})}
    assert desired.modes == {"api.pay.example": Mode.BLOCK} == desired.settled_modes


def test_closing_what_went_in_part_takes_back_what_the_edge_never_showed(desk: Desk) -> None:
    request = desk.approved("a.pay.example, b.pay.example", mode="verify")
    desk.read("a.pay.example")
    plan = current_plan(request_by_id(request.pk))
    assert plan
    outdate_plan(by=WORKER, plan_id=plan.pk, reason="moved", keep=[desk.zone.pk])
    assert Association.objects.filter(live_at=None).count() == 1
    assert desired_zone(desk.zone).associations == {desk.ca.fingerprint: frozenset({"a.pay.example"})}
    reject_request(by=desk.engineer, request_id=request.pk, comment="No")
    assert [row.hostname for row in Association.objects.all()] == ["a.pay.example"]


def test_a_request_is_done_when_list_and_rule_were_read_and_not_before(desk: Desk) -> None:
    request = desk.approved()
    assert in_flight_requests(desk.zone) == [request]
    desk.read("api.pay.example")
    request.refresh_from_db()
    assert request.state == "approved"
    desk.read("api.pay.example", enforced={"api.pay.example": "block"})
    request.refresh_from_db()
    assert (request.state, in_flight_requests(desk.zone)) == ("done", [])
    desired = desired_zone(desk.zone)
    assert (desk.ca.fingerprint, "api.pay.example") in desired.settled
    assert desired.issuers == {desk.ca.fingerprint: frozenset({desk.ca.ski})}


def test_a_removal_is_done_when_the_hostname_is_gone_from_list_and_rule(desk: Desk) -> None:
    desk.live()
    removal = desk.approved("api.pay.example", kind="uncover")
    assert desired_zone(desk.zone).releases == {desk.ca.fingerprint: frozenset({"api.pay.example"})}
    desk.read("api.pay.example")
    removal.refresh_from_db()
    assert removal.state == "approved"
    desk.read()
    removal.refresh_from_db()
    assert (removal.state, Association.objects.count(), Enforcement.objects.count()) == ("done", 0, 0)


def test_a_removal_keeps_the_rule_while_another_ca_covers_the_hostname(desk: Desk) -> None:
    desk.live()
    second = make_ca(desk.account, name="Second")
    extra = desk.approved("api.pay.example", ca=second)  # type: ignore[arg-type]
    lists = {ca.fingerprint: frozenset({"api.pay.example"}) for ca in (desk.ca, second)}
    settling.settle_zone(by=WORKER, zone=desk.zone, lists=lists, enforced={"api.pay.example": "block"})
    extra.refresh_from_db()
    assert extra.state == "done"
    removal = desk.approved("api.pay.example", kind="uncover")
    assert desired_zone(desk.zone).modes == {"api.pay.example": Mode.BLOCK}
    lists = {desk.ca.fingerprint: frozenset(), second.fingerprint: frozenset({"api.pay.example"})}
    settling.settle_zone(by=WORKER, zone=desk.zone, lists=lists, enforced={"api.pay.example": "block"})
    removal.refresh_from_db()
    assert removal.state == "done"
    assert Enforcement.objects.get().mode == "block"


def test_a_second_ca_with_a_weaker_mode_keeps_the_stricter_one(desk: Desk) -> None:
    desk.live()
    request = desk.ask("api.pay.example", mode="verify", ca=make_ca(desk.account))
    assert desired_with(desk.zone, request).modes == {"api.pay.example": Mode.BLOCK}


def test_a_mode_change_on_the_same_ca_holds_as_asked(desk: Desk) -> None:
    desk.live()
    request = desk.ask("api.pay.example", mode="log")
    assert desired_with(desk.zone, request).modes == {"api.pay.example": Mode.LOG}
    desk.plan(request)
    desk.approve(request)
    assert Enforcement.objects.get().mode == "log"


def test_thinking_of_a_removal_stores_nothing(desk: Desk) -> None:
    desk.live()
    request = desk.ask("api.pay.example", kind="uncover")
    desired = desired_with(desk.zone, request)
    assert desired.releases == {desk.ca.fingerprint: frozenset({"api.pay.example"})}
    assert Association.objects.get().state == "approved"


def test_a_failed_request_is_held_back_until_it_is_retried(desk: Desk) -> None:
    request = desk.approved()
    begin_applying(by=WORKER, request_ids=[request.pk])
    begin_applying(by=WORKER, request_ids=[request.pk])
    fail_requests(by=WORKER, request_ids=[request.pk], why="Cloudflare refused.")
    request.refresh_from_db()
    assert (request.state, request.state_reason) == ("failed", "Cloudflare refused.")
    assert desired_zone(desk.zone).associations == {}
    with pytest.raises(Forbidden):
        retry_requests(by=desk.owner, zone=desk.zone)
    retry_requests(by=desk.engineer, zone=desk.zone)
    assert desired_zone(desk.zone).associations == {desk.ca.fingerprint: frozenset({"api.pay.example"})}


def test_a_failed_mode_change_or_removal_never_opens_the_hostname(desk: Desk) -> None:
    desk.live()
    change = desk.approved("api.pay.example", mode="log")
    fail_requests(by=WORKER, request_ids=[change.pk], why="no")
    assert desired_zone(desk.zone).modes == {"api.pay.example": Mode.BLOCK}
    CoverageRequest.objects.filter(pk=change.pk).update(state="rejected")
    Enforcement.objects.update(mode="block", live_at=timezone.now())
    removal = desk.approved("api.pay.example", kind="uncover")
    fail_requests(by=WORKER, request_ids=[removal.pk], why="no")
    desired = desired_zone(desk.zone)
    assert desired.associations == {desk.ca.fingerprint: frozenset({"api.pay.example"})}
    assert desired.modes == {"api.pay.example": Mode.BLOCK}


def test_what_was_reached_before_a_failure_is_said(desk: Desk) -> None:
    request = desk.approved("a.pay.example, b.pay.example", mode="verify")
    desk.read("a.pay.example")
    fail_requests(by=WORKER, request_ids=[request.pk], why="no")
    request.refresh_from_db()
    assert request.state == "partly_done"


def test_what_uses_a_ca_is_counted_in_listed_zones_only(desk: Desk) -> None:
    desk.live()
    desk.live("b.pay.example")
    desk.ask("c.pay.example")
    desk.ask("d.pay.example")
    at_edge(desk.ca, desk.zone, "api.pay.example", "z.pay.example")
    assert uses_of(desk.ca).refusal.startswith("2 hostnames still use it.")
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=timezone.now())
    uses = uses_of(desk.ca)
    assert (uses.hostnames, uses.requests, uses.unapproved) == (0, 2, ())
    assert uses.refusal.startswith("2 open requests name it.")
    assert uses_of(make_ca(desk.account, live=False)).refusal == ""


def test_a_removal_ends_for_a_ca_that_is_deleted(desk: Desk) -> None:
    """Its zone was gone when the CA was deleted, and came back."""
    desk.live()
    removal = desk.approved("api.pay.example", kind="uncover")
    CertificateAuthority.objects.filter(pk=desk.ca.pk).update(state="deleted")
    settling.settle_zone(by=WORKER, zone=desk.zone, lists={}, enforced={})
    removal.refresh_from_db()
    assert (removal.state, Association.objects.count()) == ("done", 0)


def test_a_retry_makes_each_zone_of_a_request_due(desk: Desk) -> None:
    request = desk.approved("a.pay.example, b.shop.example")
    fail_requests(by=WORKER, request_ids=[request.pk], why="no")
    OutboxEntry.objects.all().delete()
    retry_requests(by=desk.engineer, zone=desk.zone)
    due = set(OutboxEntry.objects.filter(kind="zone").values_list("subject_id", flat=True))
    assert due == set(request.hostnames.values_list("zone_id", flat=True))


def test_a_ca_is_retired_only_when_nothing_uses_or_wants_it(desk: Desk) -> None:
    import uuid

    request = desk.live()
    with pytest.raises(Conflict, match="1 hostname still uses it"):
        retire_ca(by=desk.engineer, ca_id=desk.ca.pk, reason="x")
    desk.approved("api.pay.example", kind="uncover")
    desk.read()
    pending = desk.ask("new.pay.example")
    with pytest.raises(Conflict, match="1 open request names it"):
        retire_ca(by=desk.engineer, ca_id=desk.ca.pk, reason="x")
    withdraw_request(by=desk.owner, request_id=pending.pk, has_left=nothing_left)
    unapproved = [f"{letter}.pay.example" for letter in "abcdefg"]
    at_edge(desk.ca, desk.zone, *unapproved)
    with pytest.raises(Conflict, match=r"Nobody approved a.pay.example.*e.pay.example and 2 more.*Adopt them") as why:
        retire_ca(by=desk.engineer, ca_id=desk.ca.pk, reason="x")
    assert "f.pay.example" not in why.value.message
    at_edge(desk.ca, desk.zone)
    assert retire_ca(by=desk.engineer, ca_id=desk.ca.pk, reason="Retired").state == "deleting"
    with pytest.raises(NotFound):
        retire_ca(by=desk.engineer, ca_id=uuid.uuid4(), reason="x")
    with pytest.raises(Forbidden):
        retire_ca(by=desk.owner, ca_id=desk.ca.pk, reason="x")
    assert CoverageRequest.objects.filter(pk=request.pk).exists()


def test_lists_of_requests_and_who_may_decide(desk: Desk) -> None:
    request = desk.planned()
    assert list(requests_waiting_for(desk.engineer)) == [request]
    assert list(requests_waiting_for(desk.owner)) == []
    assert list(requests_by(desk.owner)) == [request] == list(requests_in(desk.account))
    request.refresh_from_db()
    assert may_approve(desk.engineer, request) == (True, "")
    assert "someone else must approve" in may_approve(desk.owner, request)[1]
    assert "does not approve" in may_approve(actor(Role.AUDITOR), request)[1]
    for state, words in {"stale": "Rebuild", "planning": "No plan yet", "done": "decided"}.items():
        request.state = state
        assert words in may_approve(desk.engineer, request)[1]
    with pytest.raises(NotFound):
        request_by_id("x")
    with pytest.raises(NotFound):
        request_by_id(request.pk + 1)


def test_an_act_whose_event_cannot_be_written_did_not_happen(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request = desk.planned()

    def broken(**_values: object) -> None:
        raise DatabaseError("disk full")

    monkeypatch.setattr("apps.audit.models.AuditEvent.objects.create", broken)
    with pytest.raises(DatabaseError), transaction.atomic():
        desk.approve(request)
    request.refresh_from_db()
    assert (request.state, Approval.objects.count(), Association.objects.count()) == ("waiting", 0, 0)


def test_an_override_is_kept_only_where_it_was_needed(desk: Desk) -> None:
    assert desk.ask("a.pay.example", mode="block").override == "Tried in staging"
    assert desk.ask("b.pay.example", mode="log").override == ""
    with pytest.raises(Invalid) as refused:
        desk.ask("c.pay.example", mode="block", override=" ")
    assert "24 h in log" in refused.value.details["hostnames"][0]
    with pytest.raises(Invalid) as refused:
        desk.ask("c.pay.example", mode="block", override="x" * 2001)
    assert set(refused.value.details) == {"override"}
