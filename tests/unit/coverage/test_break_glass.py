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
from apps.coverage.models import BreakGlass, CoverageRequest, Enforcement
from apps.coverage.selectors import desired_zone
from apps.coverage.services import approve_request
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.planning.state import Mode
from tests.factories import actor
from tests.unit.coverage.test_requests import Desk

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
