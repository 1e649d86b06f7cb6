"""Stops, read-only mode and freeze windows: who may, what it holds back, and that the log tells of it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.permissions import Role
from apps.inventory.freezes import add_freeze_window, describe, remove_freeze_window
from apps.inventory.holds import as_window, freeze_windows, hold_on_account, hold_on_zone, stops_in_force, stops_lifted
from apps.inventory.models import Account, FreezeWindow, Stop, Zone
from apps.inventory.services import set_budget, set_mode
from apps.inventory.stops import lift_stop, stop_writes
from apps.outbox.models import OutboxEntry
from tests.factories import SETUP, actor, make_account

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)  # a Wednesday; 14:00 in Berlin
WEEKLY: dict[str, Any] = {"name": "Office hours", "effect": "deny", "repeats": "weekly", "timezone": "Europe/Berlin",
                          "weekdays": [2], "opens": time(9), "closes": time(18)}  # fmt: skip


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def zone(account: Account) -> Zone:
    return account.zones.get(name="pay.example")


def kind(of: Any) -> str | None:
    hold = hold_on_zone(of.pk) if isinstance(of, Zone) else hold_on_account(of.pk)
    return hold.kind if hold else None


def test_a_stop_holds_what_it_names_and_nothing_else(account: Account, zone: Zone) -> None:
    other_zone, other_account = account.zones.get(name="shop.example"), make_account()
    assert kind(zone) is None
    of_zone = stop_writes(by=SETUP, reason="Odd list", zone_id=zone.pk)
    assert [kind(x) for x in (zone, other_zone, account, other_account)] == ["stop", None, None, None]
    of_account = stop_writes(by=SETUP, reason="Odd account", account_id=account.pk)
    assert [kind(x) for x in (zone, other_zone, account, other_account)] == ["stop", "stop", "stop", None]
    of_all = stop_writes(by=SETUP, reason="Incident 7")
    assert [kind(x) for x in (other_account, other_account.zones.first())] == ["stop", "stop"]
    assert [stop.where for stop in stops_in_force()] == ["in pay.example", f"in {account}", "everywhere"]
    for stop in (of_all, of_account, of_zone):
        lift_stop(by=SETUP, stop_id=stop.pk, reason="Found")
    assert [kind(x) for x in (zone, other_zone, account, other_account)] == [None] * 4
    assert stops_lifted().count() == 3


def test_whoever_is_on_duty_stops_and_an_administrator_lets_go(account: Account) -> None:
    for role in (Role.OWNER, Role.APPROVER, Role.AUDITOR, Role.VIEWER):
        with pytest.raises(Forbidden):
            stop_writes(by=actor(role), reason="x")
    engineer = actor(Role.ENGINEER)
    stop = stop_writes(by=engineer, reason=" Wrong lists are sent ")
    hold = hold_on_account(account.pk)
    assert hold
    assert hold.sentence == (
        f"Writes are stopped everywhere, by {engineer.label}: Wrong lists are sent. Approved changes wait. "
        "Reading goes on."
    )
    with pytest.raises(Forbidden):
        lift_stop(by=engineer, stop_id=stop.pk, reason="x")
    OutboxEntry.objects.all().delete()
    lift_stop(by=actor(Role.ADMIN), stop_id=stop.pk, reason="Lists are right again.")
    assert OutboxEntry.objects.count() == 1 + account.zones.count(), "what waited is looked at at once"
    events = AuditEvent.objects.filter(subject_type="stop").order_by("seq")
    assert [(event.action, event.reason) for event in events] == [
        ("writes:stopped", "Wrong lists are sent"),
        ("writes:resumed", "Lists are right again."),
    ]


def test_a_stop_of_one_zone_or_account_wakes_only_that(account: Account, zone: Zone) -> None:
    make_account()
    OutboxEntry.objects.all().delete()
    lift_stop(by=SETUP, stop_id=stop_writes(by=SETUP, reason="x", zone_id=zone.pk).pk, reason="y")
    assert [entry.subject_id for entry in OutboxEntry.objects.all()] == [zone.pk]
    lift_stop(by=SETUP, stop_id=stop_writes(by=SETUP, reason="x", account_id=account.pk).pk, reason="y")
    assert OutboxEntry.objects.count() == 1 + account.zones.count()


def test_what_cannot_be_stopped_or_lifted_is_refused(account: Account, zone: Zone) -> None:
    with pytest.raises(Invalid, match="Say why"):
        stop_writes(by=SETUP, reason=" ")
    with pytest.raises(Invalid, match="not both"):
        stop_writes(by=SETUP, reason="x", account_id=account.pk, zone_id=zone.pk)
    for wrong in ({"account_id": zone.pk}, {"zone_id": account.pk}):
        with pytest.raises(NotFound):
            stop_writes(by=SETUP, reason="x", **wrong)
    stop = stop_writes(by=SETUP, reason="x", zone_id=zone.pk)
    with pytest.raises(Conflict, match="already"):
        stop_writes(by=SETUP, reason="again", zone_id=zone.pk)
    with pytest.raises(Invalid, match="safe"):
        lift_stop(by=SETUP, stop_id=stop.pk, reason="")
    with pytest.raises(NotFound):
        lift_stop(by=SETUP, stop_id=0, reason="x")
    lift_stop(by=SETUP, stop_id=stop.pk, reason="x")
    with pytest.raises(Conflict, match="lifted"):
        lift_stop(by=SETUP, stop_id=stop.pk, reason="x")
    assert Stop.objects.count() == 1


def test_a_read_only_account_holds_until_somebody_opens_it(account: Account, zone: Zone) -> None:
    set_mode(by=SETUP, account_id=account.pk, mode="read_only")
    assert (kind(zone), kind(account)) == ("read_only", "read_only")


@time_machine.travel(NOON, tick=False)
def test_a_deny_window_says_until_when_in_both_clocks(account: Account, zone: Zone) -> None:
    window = add_freeze_window(by=actor(Role.ADMIN), account_id=account.pk, **WEEKLY)
    hold = hold_on_zone(zone.pk)
    assert hold
    assert hold.until == NOON.replace(hour=16)
    assert hold.sentence == (
        "Changes are frozen (Office hours) until 01 Jul 2026 16:00 UTC (18:00 Europe/Berlin). "
        "What is approved goes by itself then."
    )
    assert kind(account) == "frozen"
    OutboxEntry.objects.all().delete()
    remove_freeze_window(by=SETUP, window_id=window.pk)
    assert kind(zone) is None
    assert OutboxEntry.objects.filter(subject_id=zone.pk).exists()
    events = AuditEvent.objects.filter(subject_type="freeze window").order_by("seq")
    assert [event.action for event in events] == [
        "freeze_window:added",
        "freeze_window:removed",
    ]
    with pytest.raises(Conflict, match="removed already"):
        remove_freeze_window(by=SETUP, window_id=window.pk)


@time_machine.travel(NOON, tick=False)
def test_a_window_of_one_zone_holds_only_that_zone(account: Account, zone: Zone) -> None:
    once = {"name": "Move", "effect": "deny", "repeats": "once", "timezone": "UTC"}
    add_freeze_window(
        by=SETUP, account_id=account.pk, zone_id=zone.pk, starts_at=NOON.replace(tzinfo=None),
        ends_at=NOON + timedelta(hours=1), **once,
    )  # fmt: skip
    assert (kind(zone), kind(account), kind(account.zones.get(name="shop.example"))) == ("frozen", None, None)
    with time_machine.travel(NOON + timedelta(hours=1), tick=False):
        assert kind(zone) is None


@time_machine.travel(NOON, tick=False)
def test_outside_every_allow_window_nothing_goes(account: Account, zone: Zone) -> None:
    add_freeze_window(by=SETUP, account_id=account.pk, **{**WEEKLY, "effect": "allow", "weekdays": [0]})
    hold = hold_on_zone(zone.pk)
    assert hold
    assert "no window that allows them is open until 06 Jul 2026 07:00 UTC" in hold.sentence
    whole_day = {**WEEKLY, "name": "Closed", "weekdays": range(7), "opens": time(0), "closes": time(0)}
    add_freeze_window(by=SETUP, account_id=account.pk, **whole_day)
    hold = hold_on_zone(zone.pk)
    assert hold
    assert (hold.until, "No end is in sight" in hold.sentence) == (None, True)


@pytest.mark.parametrize(
    ("effect", "utc"),
    [
        ("deny", ("2099-03-29T00:30", "2099-10-25T01:30")),
        ("allow", ("2099-03-29T01:30", "2099-10-25T00:30")),
    ],
)
def test_one_window_takes_the_careful_reading_where_the_clock_skips_or_repeats_an_hour(
    account: Account, effect: str, utc: tuple[str, str]
) -> None:
    window = add_freeze_window(
        by=SETUP, account_id=account.pk, name="Move", effect=effect, repeats="once", timezone="Europe/Berlin",
        starts_at=datetime(2099, 3, 29, 2, 30), ends_at=datetime(2099, 10, 25, 2, 30),  # noqa: DTZ001
    )  # fmt: skip
    assert (window.starts_at, window.ends_at) == tuple(datetime.fromisoformat(f"{at}Z") for at in utc)


def test_every_problem_of_a_window_is_named_at_once(account: Account, zone: Zone) -> None:
    def problems(**values: Any) -> set[str]:
        with pytest.raises(Invalid) as refused:
            add_freeze_window(by=SETUP, account_id=account.pk, **{**WEEKLY, **values})
        return set(refused.value.details)

    assert problems(name=" ", effect="x", repeats="x", timezone="Mars") == {"name", "effect", "repeats", "timezone"}
    assert problems(weekdays=[], opens=None, closes=None) == {"weekdays", "opens", "closes"}
    assert problems(weekdays=[7]) == {"weekdays"}
    assert problems(repeats="once") == {"starts_at", "ends_at"}
    now = timezone.now()
    assert problems(repeats="once", starts_at=now, ends_at=now) == {"ends_at"}
    assert problems(repeats="once", starts_at=now - timedelta(2), ends_at=now - timedelta(1)) == {"ends_at"}
    assert problems(repeats="once", timezone="Mars") == {"timezone"}
    with pytest.raises(NotFound):
        add_freeze_window(by=SETUP, account_id=zone.pk, **WEEKLY)
    with pytest.raises(NotFound):
        add_freeze_window(by=SETUP, account_id=make_account(zones=()).pk, zone_id=zone.pk, **WEEKLY)
    with pytest.raises(NotFound):
        remove_freeze_window(by=SETUP, window_id=0)
    with pytest.raises(Forbidden):
        add_freeze_window(by=actor(Role.ENGINEER), account_id=account.pk, **WEEKLY)
    assert not freeze_windows(account)


def test_a_window_says_in_words_when_it_holds(account: Account, zone: Zone) -> None:
    window = add_freeze_window(by=SETUP, account_id=account.pk, zone_id=zone.pk, **{**WEEKLY, "weekdays": [1, 0]})
    assert (str(window), describe(window)) == ("Office hours", "Monday, Tuesday 09:00 to 18:00 Europe/Berlin")
    every_day = add_freeze_window(by=SETUP, account_id=account.pk, **{**WEEKLY, "weekdays": list(range(7))})
    assert describe(every_day) == "every day 09:00 to 18:00 Europe/Berlin"
    once = add_freeze_window(
        by=SETUP, account_id=account.pk, name="Sale", effect="deny", repeats="once", timezone="Europe/Berlin",
        starts_at=datetime(2099, 11, 27), ends_at=datetime(2099, 11, 30, 8),  # noqa: DTZ001  (the wall clock's)
    )  # fmt: skip
    assert describe(once) == "27 Nov 2099 00:00 to 30 Nov 2099 08:00 Europe/Berlin"
    assert once.starts_at == datetime(2099, 11, 26, 23, tzinfo=UTC)
    remove_freeze_window(by=SETUP, window_id=window.pk)
    assert AuditEvent.objects.get(action="freeze_window:removed").zone == "pay.example"


def test_a_row_without_times_stops_everything_rather_than_nothing(account: Account) -> None:
    with pytest.raises(ValueError, match="no times"):
        as_window(FreezeWindow(account=account, name="x", effect="deny", repeats="weekly", timezone="UTC"))


def test_the_budget_of_an_account_is_set_and_told(account: Account) -> None:
    for wrong in ({"call_limit": 5, "call_share_percent": 0}, {"call_limit": 10**9, "call_share_percent": 101}):
        with pytest.raises(Invalid) as refused:
            set_budget(by=SETUP, account_id=account.pk, **wrong)
        assert set(refused.value.details) == {"call_limit", "call_share_percent"}
    set_budget(by=actor(Role.ADMIN), account_id=account.pk, call_limit=4000, call_share_percent=80)
    set_budget(by=actor(Role.ADMIN), account_id=account.pk, call_limit=None, call_share_percent=50)
    event = AuditEvent.objects.filter(action="account:budget_set").latest("seq")
    assert event.before == {"call_limit": 4000, "call_share_percent": 80}
    assert event.after == {"call_limit": None, "call_share_percent": 50}
