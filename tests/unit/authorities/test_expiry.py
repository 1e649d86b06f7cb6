"""Thresholds before a CA's end are recorded once each, whoever looks and however often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.audit.models import AuditEvent
from apps.authorities.expiry import THRESHOLDS_DAYS, days_left, threshold_at
from apps.authorities.models import CertificateAuthority, ExpiryNotice
from apps.authorities.selectors import cas_ending
from apps.authorities.services import move_ca, record_expiry
from apps.authorities.states import CaState
from tests.factories import SETUP, make_account, make_ca

END = datetime(2027, 3, 1, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def ending(live: bool = True) -> CertificateAuthority:
    ca = make_ca(make_account(), live=live)
    CertificateAuthority.objects.filter(pk=ca.pk).update(not_after=END)
    return ca


def look(ca: CertificateAuthority, days: float) -> list[int]:
    """What is recorded `days` before the end."""
    found = record_expiry(by=SETUP, account=ca.account, now=END - timedelta(days=days))
    return [notice.threshold_days for notice in found]


@pytest.mark.parametrize(
    ("days", "threshold"),
    [(121, None), (120.001, None), (120, 120), (91, 120), (90, 90), (29.5, 30), (1, 1), (0.5, 1), (0, 0), (-400, 0)],
)
def test_a_threshold_holds_from_its_own_second_on(days: float, threshold: int | None) -> None:
    assert threshold_at(END, END - timedelta(days=days)) == threshold


def test_days_left_are_whole_days() -> None:
    assert [days_left(END, END - timedelta(days=days)) for days in (28.9, 0.5, -0.5)] == [28, 0, -1]


def test_every_threshold_is_recorded_once_on_the_way_to_the_end() -> None:
    ca = ending()
    seen = [day for days in range(130, -5, -1) for _ in range(2) for day in look(ca, days)]
    assert seen == list(THRESHOLDS_DAYS)
    assert ExpiryNotice.objects.count() == AuditEvent.objects.filter(action="ca:expiry_reached").count() == 9
    event = AuditEvent.objects.filter(action="ca:expiry_reached").order_by("seq")[3]
    assert event.after == {"threshold_days": 30, "days_left": 30, "not_after": "2027-03-01T12:00:00Z"}


def test_a_ca_that_comes_late_records_the_most_urgent_threshold_only() -> None:
    ca = ending()
    assert look(ca, 20) == [30]
    assert look(ca, 20) == []
    assert look(ca, 100) == [], "a clock that goes back makes nothing less urgent"
    assert look(ca, 14) == [15]
    assert look(ca, -3) == [0]


def test_a_deleted_or_failed_ca_records_none_and_one_far_from_its_end_neither() -> None:
    gone, failed = ending(), ending(live=False)
    move_ca(by=SETUP, ca_id=gone.pk, target=CaState.DELETING, action="ca:deletion_requested")
    move_ca(by=SETUP, ca_id=gone.pk, target=CaState.DELETED, action="ca:deleted")
    move_ca(by=SETUP, ca_id=failed.pk, target=CaState.FAILED, action="ca:push_failed")
    assert (look(gone, 5), look(failed, 5)) == ([], [])
    assert look(ending(), 200) == []


def test_the_first_to_end_comes_first() -> None:
    ca = ending()
    other = make_ca(ca.account)
    CertificateAuthority.objects.filter(pk=other.pk).update(not_after=END - timedelta(days=10))
    assert cas_ending(ca.account) == []
    look(ca, 100)
    assert cas_ending(ca.account) == [other, ca]
