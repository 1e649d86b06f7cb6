"""A retry of what failed, beside what later requests decided for the same hostnames."""

from __future__ import annotations

import pytest

from apps.audit.models import AuditEvent
from apps.coverage.closing_services import withdraw_request
from apps.coverage.models import Association, CoverageRequest
from apps.coverage.progress_services import fail_requests, outdate_plan, retry_requests
from apps.coverage.selectors import current_plan, desired_zone, request_by_id
from apps.planning.state import Mode
from tests.unit.coverage.test_requests import WORKER, Desk, nothing_left

pytestmark = pytest.mark.django_db
A, B = "a.pay.example", "b.pay.example"


@pytest.fixture
def desk() -> Desk:
    return Desk()


def failed(desk: Desk, *args: str, **more: str) -> CoverageRequest:
    request = desk.approved(*args, **more)
    fail(request)
    return request


def fail(*requests: CoverageRequest) -> None:
    fail_requests(by=WORKER, request_ids=[request.pk for request in requests], why="Cloudflare refused.")


def retried(desk: Desk, *requests: CoverageRequest) -> list[str]:
    retry_requests(by=desk.engineer, zone=desk.zone)
    return states(*requests)


def states(*requests: CoverageRequest) -> list[str]:
    return [request_by_id(request.pk).state for request in requests]


def test_a_removal_that_failed_does_not_take_back_a_later_cover(desk: Desk) -> None:
    desk.live(A)
    removal = failed(desk, A, kind="uncover")
    cover = desk.approved(A)
    desk.read(A, enforced={A: "block"})
    assert states(removal, cover) == ["failed", "done"]
    assert retried(desk, removal) == ["failed"]
    told = request_by_id(removal.pk).state_reason
    assert told == f"Not tried again: {cover} decided the same hostnames later. Ask anew if this is still wanted."
    assert retried(desk, removal) == ["failed"]
    events = AuditEvent.objects.filter(action="request:superseded", subject_id=str(removal.pk))
    assert [event.after["why"] for event in events] == [told], "it is told once"
    assert desired_zone(desk.zone).associations == {desk.ca.fingerprint: frozenset({A})}


def test_a_cover_that_failed_does_not_take_back_a_later_removal(desk: Desk) -> None:
    cover = failed(desk, A)
    removal = desk.approved(A, kind="uncover")
    desk.read()
    assert states(cover, removal) == ["failed", "done"]
    assert retried(desk, cover) == ["failed"]
    assert (desired_zone(desk.zone).associations, Association.objects.count()) == ({}, 0)


def test_a_later_request_on_its_way_speaks_for_the_hostname_until_it_is_given_up(desk: Desk) -> None:
    desk.live(A)
    removal = failed(desk, A, kind="uncover")
    cover = desk.approved(A)
    assert retried(desk, removal) == ["failed"]
    withdraw_request(by=desk.owner, request_id=cover.pk, has_left=nothing_left)
    assert retried(desk, removal) == ["approved"]
    desk.read()
    assert states(removal) == ["done"]


def removal_half_decided_later(desk: Desk) -> CoverageRequest:
    """A failed removal of A and B, of which A was approved anew since."""
    desk.live(A)
    desk.live(B)
    removal = failed(desk, f"{A}, {B}", kind="uncover")
    desk.approved(A, mode="log")
    desk.read(A, B, enforced={A: "log", B: "block"})
    return removal


def test_only_the_hostnames_that_nobody_decided_later_are_tried_again(desk: Desk) -> None:
    removal = removal_half_decided_later(desk)
    assert retried(desk, removal) == ["approved"]
    desired = desired_zone(desk.zone)
    assert desired.associations == {desk.ca.fingerprint: frozenset({A})}
    assert desired.releases == {desk.ca.fingerprint: frozenset({B})}
    desk.read(A, enforced={A: "log"})
    assert states(removal) == ["done"]
    event = AuditEvent.objects.get(action="request:completed", subject_id=str(removal.pk))
    assert event.hostnames == [B]


def test_a_new_approval_decides_again_what_a_retry_left_to_others(desk: Desk) -> None:
    removal = removal_half_decided_later(desk)
    retried(desk, removal)
    plan = current_plan(request_by_id(removal.pk))
    assert plan is not None
    outdate_plan(by=WORKER, plan_id=plan.pk, reason="The edge changed")
    desk.plan(removal, digest="d2")
    desk.approve(removal, digest="d2")
    assert desired_zone(desk.zone).releases == {desk.ca.fingerprint: frozenset({A, B})}


def test_of_two_that_failed_the_later_decision_is_tried(desk: Desk) -> None:
    cover = failed(desk, A)
    removal = failed(desk, A, kind="uncover")
    assert retried(desk, cover, removal) == ["failed", "approved"]
    desk.read()
    assert states(removal) == ["done"]


def test_a_removal_is_not_tried_against_a_cover_that_failed_after_it(desk: Desk) -> None:
    """The cover may have begun elsewhere, and is retried with its own zone."""
    desk.live(A)
    removal = failed(desk, A, kind="uncover")
    cover = failed(desk, f"{A}, b.shop.example")
    CoverageRequest.objects.filter(pk=cover.pk).update(state="stale")
    assert retried(desk, removal) == ["failed"]
    assert desired_zone(desk.zone).modes == {A: Mode.BLOCK}


def test_a_removal_takes_again_what_a_later_one_took_over_and_gave_up(desk: Desk) -> None:
    desk.live(A)
    removal = failed(desk, A, kind="uncover")
    later = desk.approved(A, kind="uncover")
    withdraw_request(by=desk.owner, request_id=later.pk, has_left=nothing_left)
    assert retried(desk, removal) == ["approved"]
    assert desired_zone(desk.zone).releases == {desk.ca.fingerprint: frozenset({A})}
