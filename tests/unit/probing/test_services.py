"""Switching probing on, asking, what is due, and what a result leads to."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.coverage.models import Association, Enforcement
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.inventory.models import Account, EdgeRules, Zone
from apps.outbox.models import OutboxEntry
from apps.outbox.selectors import entries_due
from apps.outbox.services import claim
from apps.probing import services
from apps.probing.models import Probe, ProbeSetting, ProbeTarget
from apps.probing.selectors import may_ask, probe_contradictions, probe_of, setting_of
from apps.probing.services import ask_probe, find_due, may_contact, set_probing, skip_probe, store_probe, take_probe
from tests.factories import actor, make_account
from tests.unit.probing.desk import HOSTNAME, LOST, PASSED, REFUSED, SILENT, Desk, ready

pytestmark = pytest.mark.django_db


# Switching.


def test_probing_is_off_until_an_administrator_switches_it_on() -> None:
    desk = Desk()
    desk.approve(HOSTNAME)
    assert not setting_of(desk.account).enabled
    assert not ProbeTarget.objects.exists()
    set_probing(
        by=desk.admin, account_id=desk.account.pk, enabled=True, test_ranges="10.1.0.0/16", reason=" Proof for audit. "
    )
    assert setting_of(desk.account).test_ranges == ["10.1.0.0/16"]
    event = AuditEvent.objects.get(action="probe:setting_changed")
    assert event.reason == "Proof for audit."
    assert event.before == {"enabled": False, "test_ranges": []}
    assert event.after == {"enabled": True, "test_ranges": ["10.1.0.0/16"]}
    assert [entry.subject_id for entry in entries_due(kinds=["probe"])] == [desk.target().pk]
    assert "probe" not in {entry.kind for entry in entries_due()}


@pytest.mark.parametrize("role", [Role.ENGINEER, Role.OWNER, Role.AUDITOR, Role.APPROVER])
def test_nobody_else_switches_it(role: Role) -> None:
    account = make_account()
    with pytest.raises(Forbidden):
        set_probing(by=actor(role), account_id=account.pk, enabled=True, test_ranges="", reason="Because")
    assert not ProbeSetting.objects.exists()


def test_a_reason_and_good_ranges_are_needed() -> None:
    desk = Desk()
    with pytest.raises(Invalid) as caught:
        set_probing(by=desk.admin, account_id=desk.account.pk, enabled=True, test_ranges="", reason="  ")
    assert caught.value.field == "reason"
    with pytest.raises(Invalid):
        set_probing(by=desk.admin, account_id=desk.account.pk, enabled=True, test_ranges="10.0.0.1/8", reason="x")
    with pytest.raises(NotFound):
        set_probing(by=desk.admin, account_id=uuid.uuid4(), enabled=True, test_ranges="", reason="x")
    assert not ProbeSetting.objects.exists() and not AuditEvent.objects.filter(action__startswith="probe:").exists()


def test_switching_off_makes_nothing_due_and_hides_what_was_found() -> None:
    desk = ready()
    desk.saw(PASSED)
    assert probe_contradictions(desk.account)
    OutboxEntry.objects.filter(kind="probe").delete()
    desk.switch(on=False)
    assert not entries_due(kinds=["probe"])
    assert probe_contradictions(desk.account) == {}
    assert not may_contact(desk.target())


# Asking.


def test_who_may_ask() -> None:
    desk = ready()
    other = actor(Role.OWNER)
    assert may_ask(desk.owner, desk.zone, HOSTNAME) and may_ask(desk.engineer, desk.zone, HOSTNAME)
    assert may_ask(desk.admin, desk.zone, HOSTNAME)
    assert not may_ask(other, desk.zone, HOSTNAME) and not may_ask(actor(Role.AUDITOR), desk.zone, HOSTNAME)
    assert not may_ask(Actor.portal(), desk.zone, HOSTNAME)
    with pytest.raises(Forbidden):
        ask_probe(by=other, zone=desk.zone, hostname=HOSTNAME)
    assert "probe:asked" not in desk.events()


def test_asking_makes_it_urgent_once() -> None:
    desk = ready()
    desk.saw(REFUSED)
    assert not probe_of(desk.owner, desk.zone, HOSTNAME).pending
    ask_probe(by=desk.owner, zone=desk.zone, hostname=HOSTNAME)
    ask_probe(by=desk.owner, zone=desk.zone, hostname=HOSTNAME)
    assert probe_of(desk.owner, desk.zone, HOSTNAME).pending
    assert [entry.urgent for entry in entries_due(kinds=["probe"])] == [True]
    event = AuditEvent.objects.filter(action="probe:asked").first()
    assert event and event.hostnames == [HOSTNAME] and event.zone == "pay.example"


def test_a_hostname_without_approved_coverage_is_never_asked_for() -> None:
    desk = ready()
    with pytest.raises(Conflict) as caught:
        ask_probe(by=desk.engineer, zone=desk.zone, hostname="other.pay.example")
    assert caught.value.code == "not_covered"
    desk.switch(on=False)
    with pytest.raises(Conflict) as caught:
        ask_probe(by=desk.engineer, zone=desk.zone, hostname=HOSTNAME)
    assert caught.value.code == "probing_off"


# What is due.


def test_a_newly_approved_hostname_becomes_due_by_itself() -> None:
    desk = ready()
    desk.approve("new.pay.example", mode="verify")
    find_due(desk.account)
    find_due(desk.account)
    assert desk.entry("new.pay.example").wanted == 1
    assert not desk.entry("new.pay.example").urgent


def test_an_applied_change_makes_its_hostname_urgent_and_no_other() -> None:
    desk = ready(HOSTNAME, "settle.pay.example")
    desk.saw(REFUSED)
    desk.saw(REFUSED, "settle.pay.example")
    find_due(desk.account)
    assert not entries_due(kinds=["probe"])
    desk.edge(HOSTNAME, ago=timedelta(seconds=1))
    find_due(desk.account)
    assert [entry.subject_id for entry in entries_due(kinds=["probe"])] == [desk.target("settle.pay.example").pk]
    assert desk.entry("settle.pay.example").urgent
    assert desk.target("settle.pay.example").expected == {"cas": [], "rule": "none"}
    OutboxEntry.objects.filter(kind="probe").update(due_at=timezone.now() + timedelta(hours=1))
    find_due(desk.account)
    assert not entries_due(kinds=["probe"])


def test_a_zone_without_rules_is_compared_by_its_lists() -> None:
    desk = ready()
    desk.saw(REFUSED)
    EdgeRules.objects.all().delete()
    desk.edge(HOSTNAME, ago=timedelta(seconds=1), enabled=False)
    find_due(desk.account)
    assert desk.target().expected["rule"] == "none"


def test_what_may_be_contacted() -> None:
    desk = ready()
    assert may_contact(desk.target())
    Association.objects.update(state=Association.State.RELEASING)
    assert not may_contact(desk.target())
    Association.objects.update(state=Association.State.APPROVED)
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=timezone.now())
    assert not may_contact(desk.target())


def test_what_may_not_be_contacted_is_looked_at_again_later() -> None:
    desk = ready()
    taken = take_probe(target_id=desk.target().pk, worker="w")
    assert taken
    skip_probe(lease=taken[0])
    assert not entries_due(kinds=["probe"])
    assert not Probe.objects.exists()


# Taking.


def test_one_worker_at_a_time_has_a_hostname() -> None:
    desk = ready()
    assert take_probe(target_id=desk.target().pk, worker="w1")
    assert take_probe(target_id=desk.target().pk, worker="w2") is None


def test_a_killed_worker_gives_its_probe_to_the_next() -> None:
    desk = ready()
    first = take_probe(target_id=desk.target().pk, worker="w1")
    OutboxEntry.objects.filter(kind="probe").update(leased_until=timezone.now() - timedelta(seconds=1))
    second = take_probe(target_id=desk.target().pk, worker="w2")
    assert first and second and second[0].attempts == 2
    assert store_probe(lease=first[0], target=first[1], visit=PASSED) is None
    assert not Probe.objects.exists() and not desk.target().contradicts
    assert store_probe(lease=second[0], target=second[1], visit=REFUSED)


def test_no_more_run_at_once_than_allowed(settings: object) -> None:
    settings.BYOCA_PROBE_AT_ONCE = 1  # type: ignore[attr-defined]
    desk = ready(HOSTNAME, "settle.pay.example")
    assert take_probe(target_id=desk.target().pk, worker="w1")
    assert take_probe(target_id=desk.target("settle.pay.example").pk, worker="w2") is None
    settings.BYOCA_PROBE_AT_ONCE = 2  # type: ignore[attr-defined]
    assert take_probe(target_id=desk.target("settle.pay.example").pk, worker="w2")


def test_an_account_gets_its_share_per_minute(settings: object) -> None:
    settings.BYOCA_PROBE_RATE_PER_MIN = 1  # type: ignore[attr-defined]
    desk = ready(HOSTNAME, "settle.pay.example")
    desk.saw(REFUSED)
    assert take_probe(target_id=desk.target("settle.pay.example").pk, worker="w") is None
    Probe.objects.update(at=timezone.now() - timedelta(minutes=2))
    assert take_probe(target_id=desk.target("settle.pay.example").pk, worker="w")


def test_an_unknown_target_is_nobodys() -> None:
    assert take_probe(target_id=uuid.uuid4(), worker="w") is None


# Results.


def test_a_result_is_kept_and_agrees() -> None:
    desk = ready()
    probe = desk.saw(REFUSED)
    assert (probe.agreement, probe.status, probe.expected) == (
        "agrees", 403, {"cas": [desk.ca.cloudflare_id], "rule": "block"},
    )  # fmt: skip
    target = desk.target()
    assert (target.finding, target.contradicts, target.found_at) == ("agrees", False, probe.at)
    assert desk.events("probe:contradicts") == []
    assert probe_contradictions(desk.account) == {}


def test_a_contradiction_is_an_event_once_per_change() -> None:
    desk = ready()
    for visit in (PASSED, PASSED, LOST, PASSED, SILENT, SILENT, REFUSED, REFUSED, PASSED):
        desk.saw(visit)
    assert desk.events("probe:contradicts", "probe:contradiction_ended") == [
        "probe:contradicts", "probe:contradicts", "probe:contradiction_ended", "probe:contradicts",
    ]  # fmt: skip
    event = AuditEvent.objects.filter(action="probe:contradicts").order_by("seq")[0]
    assert (event.actor_kind, event.details["code"], event.hostnames) == ("portal", "lets_through", [HOSTNAME])
    assert "got 200" in probe_contradictions(desk.account)[HOSTNAME]


def test_a_probe_that_cannot_tell_leaves_the_contradiction() -> None:
    desk = ready()
    desk.saw(PASSED)
    lost = desk.saw(LOST)
    assert lost.agreement == "cannot_tell"
    view = probe_of(desk.owner, desk.zone, HOSTNAME)
    assert view.contradicts and view.latest == lost and "got 200" in view.sentence


def test_a_change_at_the_edge_ends_the_contradiction_it_was_about() -> None:
    desk = ready()
    desk.saw(PASSED)
    desk.edge(HOSTNAME, action="log", ago=timedelta(seconds=1))
    find_due(desk.account)
    assert desk.events("probe:contradiction_ended") == ["probe:contradiction_ended"]
    assert probe_contradictions(desk.account) == {}


def test_right_after_a_change_a_contradiction_waits_and_comes_back_soon(settings: object) -> None:
    settings.BYOCA_PROBE_SETTLE_S = 120.0  # type: ignore[attr-defined]
    desk = ready()
    desk.edge(HOSTNAME, ago=timedelta(seconds=1))
    assert desk.saw(PASSED).code == "settling"
    assert desk.entry().due_at < timezone.now() + timedelta(seconds=61)
    assert desk.events("probe:contradicts") == []


def test_what_was_never_read_cannot_be_compared() -> None:
    desk = ready()
    Zone.objects.update(read_at=None)
    assert desk.saw(PASSED).code == "edge_not_read"


def test_a_zone_without_any_stored_list_has_nothing_to_compare() -> None:
    desk = Desk()
    desk.approve(HOSTNAME)
    desk.switch()
    assert desk.saw(PASSED).code == "nothing_live"


def test_enforced_hostnames_are_probed_four_times_as_often(settings: object) -> None:
    settings.BYOCA_PROBE_INTERVAL_S = 900.0  # type: ignore[attr-defined]
    desk = ready()
    desk.saw(REFUSED)
    soon = (desk.entry().due_at - timezone.now()).total_seconds()
    Enforcement.objects.update(mode="verify")
    desk.saw(REFUSED)
    later = (desk.entry().due_at - timezone.now()).total_seconds()
    assert 700 < soon <= 900
    assert 2800 < later <= 3600


def test_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "KEEP_ROWS", 3)
    desk = ready()
    old = desk.saw(REFUSED)
    Probe.objects.filter(pk=old.pk).update(at=timezone.now() - timedelta(days=91))
    kept = [desk.saw(REFUSED).pk for _ in range(5)][-3:]
    assert sorted(Probe.objects.values_list("pk", flat=True)) == kept


def test_the_view_says_which_cas_the_handshake_named() -> None:
    desk = ready()
    own_name = desk.ca.facts["subject"]
    visit = REFUSED.__class__(**{**vars(REFUSED), "names": [own_name, "CN=Somebody"], "name_count": 2})
    desk.saw(visit)
    view = probe_of(desk.owner, desk.zone, HOSTNAME)
    assert [(seen.text, seen.ca) for seen in view.names] == [(own_name, desk.ca), ("CN=Somebody", None)]
    assert view.cas == ((desk.ca, True),)


def test_the_view_of_a_hostname_nobody_probed() -> None:
    desk = Desk()
    view = probe_of(desk.owner, desk.zone, HOSTNAME)
    assert (view.enabled, view.covered, view.may_ask, view.pending, view.latest) == (False, False, False, False, None)
    desk.approve(HOSTNAME)
    desk.switch()
    assert probe_of(desk.owner, desk.zone, HOSTNAME).pending
    assert not claim(kind="probe", subject_id=uuid.uuid4(), worker="w", lease_s=1)


def test_accounts_do_not_see_each_others_contradictions() -> None:
    desk = ready()
    desk.saw(PASSED)
    other: Account = make_account()
    assert probe_contradictions(other) == {}
