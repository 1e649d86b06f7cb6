"""Block to log without an approver: recorded, limited in time, and reviewed by somebody else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.coverage.break_glass import (
    break_glass_by_id,
    end_break_glass,
    open_break_glasses,
    return_due_break_glasses,
    review_break_glass,
    use_break_glass,
)
from apps.coverage.closing_services import cancel_request
from apps.coverage.issuer_changes import create_issuers_request
from apps.coverage.models import BreakGlass, CoverageRequest, Enforcement
from apps.coverage.progress_services import fail_requests
from apps.coverage.selectors import desired_zone
from apps.coverage.services import approve_request
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.planning.state import Mode
from tests.factories import actor
from tests.unit.coverage.test_requests import Desk, nothing_left

pytestmark = pytest.mark.django_db
WORKER = Actor.portal("worker")
NAME = "api.pay.example"


class Night(Desk):
    """The desk at night: one hostname in block, and somebody on call."""

    def __init__(self) -> None:
        super().__init__()
        self.responder = actor(Role.RESPONDER, Role.ENGINEER)
        self.live(NAME, mode="block")

    def use(self, minutes: int = 60) -> BreakGlass:
        return use_break_glass(
            by=self.responder, account=self.account, hostname=NAME, reason="Partners are locked out", minutes=minutes
        )

    def time_is_up(self) -> None:
        BreakGlass.objects.update(until=timezone.now() - timedelta(seconds=1))

    @property
    def mode(self) -> Mode:
        return desired_zone(self.zone).modes[NAME]


@pytest.fixture
def night() -> Night:
    return Night()


def test_it_goes_to_log_at_once_and_returns_by_itself(night: Night) -> None:
    broken = night.use()
    assert (night.mode, broken.request.state, broken.request.kind) == (Mode.LOG, "approved", "break_glass")
    assert list(open_break_glasses(night.account)) == [broken]
    event = AuditEvent.objects.get(action="break_glass:used")
    assert (event.reason, event.hostnames) == ("Partners are locked out", [NAME])
    night.read(NAME, enforced={NAME: "log"})
    broken.request.refresh_from_db()
    assert broken.request.state == "done"
    assert return_due_break_glasses(by=WORKER) == 0
    night.time_is_up()
    assert return_due_break_glasses(by=WORKER) == 1
    assert return_due_break_glasses(by=WORKER) == 0
    assert night.mode is Mode.BLOCK
    assert AuditEvent.objects.get(action="break_glass:returned").after == {"mode": "block"}
    back = break_glass_by_id(broken.pk).return_request
    assert back and (back.kind, back.state) == ("return", "approved")
    night.read(NAME, enforced={NAME: "block"})
    back.refresh_from_db()
    assert back.state == "done"


def test_it_returns_even_if_log_never_reached_the_edge(night: Night) -> None:
    night.use()
    night.time_is_up()
    return_due_break_glasses(by=WORKER)
    assert night.mode is Mode.BLOCK
    night.read(NAME, enforced={NAME: "block"})
    assert set(CoverageRequest.objects.values_list("state", flat=True)) == {"done"}


def test_who_may_use_it_and_on_what(night: Night) -> None:
    with pytest.raises(Forbidden, match="responder"):
        use_break_glass(by=night.engineer, account=night.account, hostname=NAME, reason="x")
    with pytest.raises(Forbidden):
        use_break_glass(by=WORKER, account=night.account, hostname=NAME, reason="x")
    with pytest.raises(Invalid) as refused:
        use_break_glass(by=night.responder, account=night.account, hostname="other.pay.example", reason=" ", minutes=1)
    assert set(refused.value.details) == {"hostname", "reason", "minutes"}
    night.use()
    with pytest.raises(Conflict, match="broken already"):
        night.use()


def test_somebody_else_reviews_it_afterwards(night: Night) -> None:
    broken = night.use()
    with pytest.raises(Conflict, match="not returned"):
        review_break_glass(by=night.engineer, break_glass_id=broken.pk, comment="x")
    end_break_glass(by=night.responder, break_glass_id=broken.pk)
    with pytest.raises(Conflict, match="returned to block already"):
        end_break_glass(by=night.engineer, break_glass_id=broken.pk)
    with pytest.raises(Forbidden, match="someone else"):
        review_break_glass(by=night.responder, break_glass_id=broken.pk, comment="It was fine")
    with pytest.raises(IntegrityError), transaction.atomic():
        BreakGlass.objects.filter(pk=broken.pk).update(reviewed_by=night.responder.person)
    with pytest.raises(Invalid):
        review_break_glass(by=night.engineer, break_glass_id=broken.pk, comment=" ")
    assert open_break_glasses(night.account).exists()
    review_break_glass(by=night.engineer, break_glass_id=broken.pk, comment="Their CA had expired.")
    assert not open_break_glasses(night.account).exists()
    assert AuditEvent.objects.get(action="break_glass:reviewed").reason == "Their CA had expired."
    with pytest.raises(Conflict, match="reviewed it already"):
        review_break_glass(by=night.engineer, break_glass_id=broken.pk, comment="again")


def test_ending_it_early_takes_a_role(night: Night) -> None:
    broken = night.use()
    with pytest.raises(Forbidden):
        end_break_glass(by=night.owner, break_glass_id=broken.pk)
    with pytest.raises(NotFound):
        end_break_glass(by=night.engineer, break_glass_id=broken.pk + 1)
    with pytest.raises(NotFound):
        break_glass_by_id(broken.pk + 1)
    end_break_glass(by=night.engineer, break_glass_id=broken.pk)
    assert night.mode is Mode.BLOCK


def test_what_was_approved_meanwhile_holds(night: Night) -> None:
    night.use()
    night.read(NAME, enforced={NAME: "log"})
    request = night.ask(NAME, mode="verify")
    night.plan(request)
    approve_request(by=night.engineer, request_id=request.pk, digest="d1")
    night.time_is_up()
    return_due_break_glasses(by=WORKER)
    assert Enforcement.objects.get().mode == "verify"
    assert BreakGlass.objects.get().return_request is None
    assert AuditEvent.objects.get(action="break_glass:returned").after == {"mode": "verify"}


def at_log(night: Night) -> BreakGlass:
    broken = night.use()
    night.read(NAME, enforced={NAME: "log"})
    return broken


def returned(night: Night) -> None:
    """The time is up, and a read shows the block again: the hostname is where it was before the glass was broken."""
    night.time_is_up()
    return_due_break_glasses(by=WORKER)
    assert night.mode is Mode.BLOCK
    night.read(NAME, enforced={NAME: "block"})
    back = BreakGlass.objects.get().return_request
    assert back is not None and back.state == "done"
    rule = Enforcement.objects.get()
    assert (rule.mode, rule.settled_mode, rule.live_at is not None) == ("block", "block", True)


def change_issuers(night: Night) -> CoverageRequest:
    request = create_issuers_request(by=night.engineer, ca=night.ca, entries=[], reason="The pin lacks an issuer")
    night.plan(request)
    return approve_request(by=night.responder, request_id=request.pk, digest="d1")


def call_off(night: Night, request: CoverageRequest) -> None:
    cancel_request(by=actor(Role.ENGINEER), request_id=request.pk, reason="Wrong", has_left=nothing_left)
    assert night.mode is Mode.LOG, "the glass is broken still"


def test_it_returns_though_the_issuers_were_changed_meanwhile(night: Night) -> None:
    at_log(night)
    request = change_issuers(night)
    assert night.mode is Mode.LOG
    night.read(NAME, enforced={NAME: "log"})
    request.refresh_from_db()
    assert request.state == "done"
    returned(night)


def test_it_returns_though_changed_issuers_are_on_their_way_or_were_called_off(night: Night) -> None:
    broken = night.use()
    call_off(night, change_issuers(night))
    night.read(NAME, enforced={NAME: "block"})
    broken.request.refresh_from_db()
    assert broken.request.state == "approved", "log is to reach the edge yet"
    night.read(NAME, enforced={NAME: "log"})
    change_issuers(night)
    returned(night)


def test_it_returns_though_the_hostname_was_restored_meanwhile(night: Night) -> None:
    at_log(night)
    night.approved(NAME, kind="restore")
    assert night.mode is Mode.LOG
    night.read(NAME, enforced={NAME: "log"})
    returned(night)


@pytest.mark.parametrize("asked", [{"kind": "uncover"}, {"mode": "verify"}])
@pytest.mark.parametrize("at_edge", [True, False])
def test_it_returns_though_another_mode_was_approved_and_called_off(
    night: Night, asked: dict[str, str], at_edge: bool
) -> None:
    request = night.planned(NAME, **asked)
    broken = at_log(night) if at_edge else night.use()
    call_off(night, night.approve(request))
    rule = Enforcement.objects.get()
    assert (rule.request_id, rule.live_at is not None) == (broken.request_id, at_edge)
    returned(night)


def test_it_returns_though_block_was_approved_and_called_off(night: Night) -> None:
    at_log(night)
    call_off(night, night.approved(NAME, mode="block"))
    returned(night)


def test_it_returns_though_another_mode_was_approved_and_failed(night: Night) -> None:
    at_log(night)
    request = night.approved(NAME, mode="verify")
    fail_requests(by=WORKER, request_ids=[request.pk], why="Cloudflare refused it")
    returned(night)


def test_it_returns_though_its_return_was_overtaken_by_what_was_called_off(night: Night) -> None:
    broken = at_log(night)
    end_break_glass(by=night.responder, break_glass_id=broken.pk)
    request = change_issuers(night)
    cancel_request(by=actor(Role.ENGINEER), request_id=request.pk, reason="Wrong", has_left=nothing_left)
    returned(night)


def test_what_was_approved_before_changed_issuers_holds_too(night: Night) -> None:
    at_log(night)
    verify = night.planned(NAME, mode="verify")
    issuers = create_issuers_request(by=night.engineer, ca=night.ca, entries=[], reason="The pin lacks an issuer")
    night.plan(issuers)
    night.approve(verify)
    approve_request(by=night.responder, request_id=issuers.pk, digest="d1")
    night.time_is_up()
    return_due_break_glasses(by=WORKER)
    assert night.mode is Mode.VERIFY
