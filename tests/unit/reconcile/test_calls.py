"""What the reconciler asks of Cloudflare, call by call, against a real stand-in; and what it does when held back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.authorities.services import delete_ca
from apps.cloudflare.errors import RateLimited, ServerFault
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import confirmation_of
from apps.coverage.services import approve_request
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.inventory.budget import database_counter, gate
from apps.inventory.budget.gate import BudgetExhausted, Purpose, budget_key
from apps.inventory.holds import Hold
from apps.inventory.models import Account, CallBudget, EdgeList, Zone
from apps.inventory.services import replace_token
from apps.inventory.stops import stop_writes
from apps.outbox.models import OutboxEntry
from apps.outbox.services import claim, holds, mark_due
from apps.reconcile import accounts, apply, certificates, zones
from apps.reconcile.accounts import ask_for_token_checks, run_account
from apps.reconcile.edge import ca_keys, client_for, next_run_in_s, sweep_interval_s
from apps.reconcile.faults import held_back_s
from apps.reconcile.models import Plan
from apps.reconcile.services import submit_request
from apps.reconcile.zones import run_zone
from tests.factories import SETUP, actor, make_account, make_ca
from tests.sandbox_server import SandboxProcess

pytestmark = pytest.mark.django_db
LISTS, RULES = "/hostname_associations", "/rulesets"


@pytest.fixture(scope="module")
def edge() -> Iterator[SandboxProcess]:
    with SandboxProcess() as running:
        running.switch(quota=500, rate_limit_on=False, rate_limit=1_000_000)
        yield running


@pytest.fixture
def account(edge: SandboxProcess, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The stand-in's account, read once. The database counts the calls, in what this test alone can see."""
    monkeypatch.setattr(gate, "redis_counter", lambda: None)
    monkeypatch.setattr(gate, "SWEEP_BURST", 1000)
    settings.CLOUDFLARE_API_BASE_URL = edge.base_url
    settings.BYOCA_PREVIEW_DEADLINE_S = 30.0
    account = make_account(zones=(), cloudflare_id=edge.account_id, call_limit=100_000)
    account = replace_token(by=SETUP, account_id=account.pk, token=edge.token)
    run_account(account.pk)
    return account


@pytest.fixture
def cas(edge: SandboxProcess, account: Account) -> Iterator[list[CertificateAuthority]]:
    """Two CAs uploaded by the worker, and every zone read once with them. Taken off the edge afterwards."""
    made = [make_ca(account, live=False, client_issuers="self") for _ in range(2)]
    again(account)
    for zone in account.zones.all():
        again(zone)
    for ca in made:
        ca.refresh_from_db()
    yield made
    edge.switch(rate_limit_on=False, rate_limit=1_000_000, rate_window_s=300)
    CallBudget.objects.all().delete()
    for zone, zone_id in edge.zones.items():
        for ca in made:
            edge.edit(zone_id, ca.cloudflare_id, [])
        for rule in edge.rules(zone):
            if rule["ref"].startswith("byoca-"):
                edge.delete_rule(zone_id, rule["ref"])
    with client_for(account) as client:
        for ca in made:
            client.certificates.delete(account.cloudflare_id, ca.cloudflare_id)


def again(subject: Account | Zone) -> None:
    """One run, now."""
    kind = "account" if isinstance(subject, Account) else "zone"
    mark_due(kind=kind, subject_id=subject.pk, urgent=False)
    OutboxEntry.objects.filter(subject_id=subject.pk).update(due_at=Now())
    (run_account if kind == "account" else run_zone)(subject.pk)


def last_seq(edge: SandboxProcess) -> int:
    return edge.last_seq()


def calls(edge: SandboxProcess, since: int) -> Counter[str]:
    """`GET lists`, `PUT lists`, `GET rules`, `POST rules` ... and `GET account`."""
    found: Counter[str] = Counter()
    for row in edge.requests(since):
        part = "lists" if row["path"].endswith(LISTS) else "rules" if RULES in row["path"] else "account"
        found[f"{row['method']} {part}"] += 1
    return found


def approved(cas: list[CertificateAuthority], *hostnames: str, mode: str = "block") -> list[CoverageRequest]:
    engineer, other = actor(Role.ENGINEER), actor(Role.ENGINEER)
    requests = []
    for ca in cas:
        made = submit_request(
            by=engineer,
            kind="cover",
            ca=ca,
            mode=mode,
            hostnames=list(hostnames),
            reason="x",
            override="Tried in staging",
        )
        requests.append(decided(other, made))
    return requests


def decided(by: Actor, request: CoverageRequest) -> CoverageRequest:
    plan = request.plans.latest("number")
    approve_request(by=by, request_id=request.pk, digest=plan.digest, confirm=confirmation_of(plan))
    return request


def zone_named(account: Account, name: str = "northwind.example") -> Zone:
    return account.zones.get(name=name)


def test_an_idle_cycle_reads_each_list_and_the_rules_once_and_writes_nothing(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority]
) -> None:
    pairs = account.zones.count() * account.edge_certificates.filter(is_ca=True, kind="custom").count()
    since = last_seq(edge)
    for _ in range(3):
        again(account)
        for zone in account.zones.all():
            again(zone)
    assert calls(edge, since) == {
        "GET lists": 3 * pairs,
        "GET rules": 3 * account.zones.count(),
        "GET account": 3 * 2,
    }


def test_a_change_costs_three_calls_per_list_and_three_for_the_rules(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority]
) -> None:
    zone = zone_named(account)
    untouched = account.edge_certificates.filter(is_ca=True, kind="custom").count() - len(cas)
    requests = approved(cas, *[f"calls{n}.northwind.example" for n in range(20)])
    since = last_seq(edge)
    again(zone)
    assert calls(edge, since) == {
        "GET lists": 2 * len(cas) + untouched,
        "PUT lists": len(cas),
        "GET rules": 2,
        "POST rules": 1,
    }
    for request in requests:
        request.refresh_from_db()
        assert request.state == "done"
        assert len(edge.hostnames("northwind.example", request.ca.cloudflare_id)) == 20
    assert EdgeList.objects.get(zone=zone, ca_cloudflare_id=cas[0].cloudflare_id).hostnames[0].startswith("calls0")
    removal = submit_request(
        by=actor(Role.ENGINEER), kind="uncover", ca=cas[0], mode="verify", reason="x",
        hostnames=[f"calls{n}.northwind.example" for n in range(6)],
    )  # fmt: skip
    decided(actor(Role.ENGINEER), removal)
    since = last_seq(edge)
    again(zone)
    counted = calls(edge, since)
    assert (counted["GET lists"], counted["PUT lists"], counted["GET rules"]) == (len(cas) + untouched + 1, 1, 2)
    assert len(edge.hostnames("northwind.example", cas[0].cloudflare_id)) == 14
    assert edge.violations() == []


def test_a_list_read_too_long_ago_is_read_again_before_it_is_replaced(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority], monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = zone_named(account)
    approved(cas[:1], "fresh.northwind.example", mode="verify")
    ca_id = cas[0].cloudflare_id
    monkeypatch.setattr(apply, "READ_FRESH_S", -1.0)
    read_zone = zones.read_zone

    def read_then_foreign_edit(*args: Any) -> Any:
        observation = read_zone(*args)
        edge.edit("northwind.example", ca_id, ["foreign.northwind.example"])
        return observation

    monkeypatch.setattr(zones, "read_zone", read_then_foreign_edit)
    since = last_seq(edge)
    again(zone)
    assert calls(edge, since)["PUT lists"] == 0
    assert Plan.objects.get(zone=zone).state == "superseded"
    assert edge.hostnames("northwind.example", ca_id) == ["foreign.northwind.example"]


def test_rules_read_too_long_ago_are_read_again_before_the_first_is_written(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lists take a while; meanwhile somebody edits our rule by hand."""
    zone = zone_named(account)
    approved(cas[:1], "first.northwind.example")
    again(zone)
    ours = next(rule["ref"] for rule in edge.rules("northwind.example") if rule["ref"].startswith("byoca-"))
    (request,) = approved(cas[:1], "second.northwind.example")
    monkeypatch.setattr(apply, "READ_FRESH_S", -1.0)
    read_back = apply.Applier._read_back_lists

    def then_edited(*args: Any) -> apply.Outcome:
        edge.edit_rule("northwind.example", ours, action="log")
        return read_back(*args)

    monkeypatch.setattr(apply.Applier, "_read_back_lists", then_edited)
    since = last_seq(edge)
    again(zone)
    assert calls(edge, since).keys() <= {"GET lists", "PUT lists", "GET rules"}
    plan = Plan.objects.filter(zone=zone).order_by("number").last()
    assert plan
    assert plan.state == "diverged"
    assert plan.steps.get(kind="edit_rule").error.startswith("Somebody changed a rule of ours before this call")
    monkeypatch.setattr(apply.Applier, "_read_back_lists", read_back)
    again(zone)
    assert [r["action"] for r in edge.rules("northwind.example") if r["ref"] == ours] == ["log"], "not written over"
    assert AuditEvent.objects.filter(action="edge:rule_changed_outside").count() == 1
    request.refresh_from_db()
    assert (request.state, request.state_reason.startswith("Change ")) == ("failed", True)


def test_rules_of_others_that_changed_meanwhile_are_planned_with_afresh(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority], monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = zone_named(account)
    (request,) = approved(cas[:1], "beside.northwind.example")
    monkeypatch.setattr(apply, "READ_FRESH_S", -1.0)
    read_back = apply.Applier._read_back_lists

    def then_edited(*args: Any) -> apply.Outcome:
        edge.edit_rule("northwind.example", "appsec-wp-login", description="Edited by its owner")
        return read_back(*args)

    monkeypatch.setattr(apply.Applier, "_read_back_lists", then_edited)
    again(zone)
    assert Plan.objects.get(zone=zone).state == "superseded"
    monkeypatch.setattr(apply.Applier, "_read_back_lists", read_back)
    again(zone)
    request.refresh_from_db()
    assert request.state == "done"


@pytest.mark.parametrize("mode", ["block", "log"])
def test_rules_that_nobody_changed_meanwhile_are_written_after_one_more_reading(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    approved(cas, "slow.northwind.example", mode=mode)
    monkeypatch.setattr(apply, "READ_FRESH_S", -1.0)
    since = last_seq(edge)
    again(zone_named(account))
    assert (calls(edge, since)["GET rules"], calls(edge, since)["POST rules"]) == (3, 1)
    assert Plan.objects.get(zone=zone_named(account)).state == "applied"


def test_what_the_budget_holds_back_is_postponed_and_no_failure(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority]
) -> None:
    zone = zone_named(account)
    approved(cas[:1], "later.northwind.example", mode="verify")
    database_counter.pause(budget_key(edge.token), 120, "Cloudflare answered 429.")
    since = last_seq(edge)
    for subject in (zone, account):
        again(subject)
        entry = OutboxEntry.objects.get(subject_id=subject.pk)
        assert (entry.attempts, entry.parked_at) == (0, None)
        assert "slow down" in entry.last_error
        subject.refresh_from_db()
        assert (subject.failing_since, subject.last_error) == (None, "")
    assert last_seq(edge) == since
    waiting = submit_request(
        by=actor(Role.ENGINEER), kind="cover", ca=cas[0], mode="verify", hostnames=["x.northwind.example"], reason="x"
    )
    assert waiting.state == "planning"
    assert last_seq(edge) == since, "a page does not wait and does not call"
    zone.refresh_from_db()
    assert zone.failing_since is None
    CallBudget.objects.update(paused_until=None)
    again(zone)
    assert edge.hostnames("northwind.example", cas[0].cloudflare_id) == ["later.northwind.example"]


def test_a_change_that_does_not_fit_with_its_reading_is_not_read_for(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority]
) -> None:
    (request,) = approved(cas[:1], "fits.northwind.example")
    zone = zone_named(account)
    lists = len(ca_keys(account))
    used = sum(CallBudget.objects.get(pk=budget_key(edge.token)).counts["slots"].values())
    # What is left takes the reading and two calls: the list could not be read back, nor its rule be written.
    Account.objects.update(call_limit=math.ceil((used + lists + 1 + 2) / 0.95 + 1) * 2)
    since = last_seq(edge)
    again(zone)
    assert not calls(edge, since)
    request.refresh_from_db()
    assert request.state == "approved"
    Account.objects.update(call_limit=100_000)
    again(zone)
    request.refresh_from_db()
    assert request.state == "done"
    assert calls(edge, since)["GET lists"] == lists + 1, "each list once, and the one that was written twice"


def test_a_429_in_the_middle_of_a_plan_is_no_failure_of_the_change(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority], monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = zone_named(account)
    (request,) = approved(cas[:1], "busy.northwind.example")
    store_plan = zones.store_plan

    def then_full(**values: Any) -> Plan:
        # Somebody at the dashboard uses up the limit between our reading and our first write.
        edge.fault("rate_limited", {"method": "PUT"}, seconds=2)
        return store_plan(**values)

    monkeypatch.setattr(zones, "store_plan", then_full)
    again(zone)
    monkeypatch.setattr(zones, "store_plan", store_plan)
    plan = Plan.objects.get(zone=zone)
    assert "Cloudflare asked the portal to slow down" in " ".join(step.error for step in plan.steps.all())
    assert {step.state for step in plan.steps.all()} <= {"done", "not_started"}
    entry = OutboxEntry.objects.get(subject_id=zone.pk)
    assert entry.attempts == 0
    request.refresh_from_db()
    assert request.state == "applying"
    assert CallBudget.objects.get(pk=budget_key(edge.token)).paused_until


@pytest.mark.parametrize("deleting", [False, True])
def test_a_pause_right_before_a_ca_is_written_counts_no_attempt_of_it(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority], monkeypatch: pytest.MonkeyPatch,
    deleting: bool,
) -> None:  # fmt: skip
    ca = make_ca(account, live=False, client_issuers="self")
    if deleting:
        again(account)
        delete_ca(by=actor(Role.ENGINEER), ca_id=ca.pk, reason="x")
    begin_write = certificates.begin_write

    def then_pause(**values: Any) -> CertificateAuthority:
        database_counter.pause(budget_key(edge.token), 120, "Cloudflare answered 429.")
        return begin_write(**values)

    monkeypatch.setattr(certificates, "begin_write", then_pause)
    since = last_seq(edge)
    again(account)
    assert {row["method"] for row in edge.requests(since)} == {"GET"}
    ca.refresh_from_db()
    assert (ca.state, ca.write_attempts, ca.write_sent_at) == ("deleting" if deleting else "pushing", 0, None)
    entry = OutboxEntry.objects.get(subject_id=account.pk)
    assert (entry.attempts, entry.parked_at) == (0, None)
    assert AuditEvent.objects.filter(action="ca:write_held_back", subject_id=str(ca.pk)).exists()
    monkeypatch.setattr(certificates, "begin_write", begin_write)
    CallBudget.objects.update(paused_until=None)
    again(account)
    ca.refresh_from_db()
    assert ca.state == ("deleted" if deleting else "live")
    cas.extend([] if deleting else [ca])


def test_a_stop_between_the_reading_and_a_write_of_a_ca_ends_the_write(
    edge: SandboxProcess, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = make_ca(account, live=False, client_issuers="self")
    read_account = accounts.read_account

    def then_stop(*args: Any) -> Any:
        found = read_account(*args)
        monkeypatch.setattr(accounts, "hold_on_account", lambda _account: None)
        stop_writes(by=SETUP, reason="Now")
        return found

    monkeypatch.setattr(accounts, "read_account", then_stop)
    since = last_seq(edge)
    again(account)
    assert {row["method"] for row in edge.requests(since)} == {"GET"}
    ca.refresh_from_db()
    assert (ca.state, ca.write_attempts) == ("queued", 0)


def test_each_answer_renews_the_lease_and_counts_against_the_budget(account: Account, settings: Any) -> None:
    settings.BYOCA_LEASE_S = 1000.0
    mark_due(kind="account", subject_id=account.pk)
    lease = claim(kind="account", subject_id=account.pk, worker="w", lease_s=60.0)
    assert lease
    counted = CallBudget.objects.get().counts
    with client_for(account, lease=lease) as client:
        client.zones.list(account.cloudflare_id)
    assert holds(lease, for_s=900.0)
    assert CallBudget.objects.get().counts != counted


def test_a_stop_between_plan_and_write_leaves_the_edge_alone(
    edge: SandboxProcess, account: Account, cas: list[CertificateAuthority], monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = zone_named(account)
    approved(cas[:1], "halted.northwind.example")
    begin = zones.begin_applying

    def then_stop(**values: Any) -> None:
        begin(**values)
        stop_writes(by=SETUP, reason="Now")

    monkeypatch.setattr(zones, "begin_applying", then_stop)
    since = last_seq(edge)
    again(zone)
    assert calls(edge, since).keys() == {"GET lists", "GET rules"}
    assert "Writes are stopped everywhere" in Plan.objects.get(zone=zone).steps.get(position=1).error


@pytest.mark.parametrize(("left_s", "puts"), [(5, 1), (-1, 0)])
def test_a_change_that_took_long_to_work_out_is_sent_while_its_lease_lasts(
    edge: SandboxProcess,
    account: Account,
    cas: list[CertificateAuthority],
    monkeypatch: pytest.MonkeyPatch,
    left_s: int,
    puts: int,
) -> None:
    zone = zone_named(account)
    approved(cas[:1], "long.northwind.example", mode="verify")
    begin = zones.begin_applying

    def after_long(**values: Any) -> None:
        begin(**values)
        OutboxEntry.objects.filter(subject_id=zone.pk).update(leased_until=Now() + timedelta(seconds=left_s))

    monkeypatch.setattr(zones, "begin_applying", after_long)
    since = last_seq(edge)
    again(zone)
    assert calls(edge, since)["PUT lists"] == puts


def test_calls_are_made_for_removals_changes_or_sweeps(account: Account, cas: list[CertificateAuthority]) -> None:
    zone = zone_named(account)
    assert zones._purpose(zone) is Purpose.SWEEP
    approved(cas[:1], "why.northwind.example", mode="verify")
    assert zones._purpose(zone) is Purpose.CHANGE
    again(zone)
    removal = submit_request(
        by=actor(Role.ENGINEER),
        kind="uncover",
        ca=cas[0],
        mode="verify",
        hostnames=["why.northwind.example"],
        reason="x",
    )
    decided(actor(Role.ENGINEER), removal)
    assert zones._purpose(zone) is Purpose.REMOVAL
    stop_writes(by=SETUP, reason="x")
    assert zones._purpose(zone) is Purpose.SWEEP, "what may not go needs no place before others"


def test_readings_are_spread_and_fit_into_what_sweeps_may_have(account: Account, settings: Any) -> None:
    settings.BYOCA_SWEEP_INTERVAL_S = 100.0
    intervals = {sweep_interval_s(account) for _ in range(20)}
    assert len(intervals) > 1
    assert all(90 <= interval <= 110 for interval in intervals)
    Account.objects.update(call_limit=60)
    account.refresh_from_db()
    calls_per_cycle = account.zones.count() * 2 + 3
    assert sweep_interval_s(account) >= 0.9 * calls_per_cycle * 300 / (60 * 0.5 * 0.7)


def test_what_a_window_holds_back_is_looked_at_when_the_window_ends(account: Account) -> None:
    soon = Hold("frozen", "x", timezone.now() + timedelta(seconds=5))
    assert 4 < next_run_in_s(account, soon) <= 5
    assert next_run_in_s(account, Hold("frozen", "x", timezone.now())) == 0.1
    for endless in (None, Hold("stop", "x"), Hold("frozen", "x", timezone.now() + timedelta(days=9))):
        assert next_run_in_s(account, endless) > 5


def test_a_starting_worker_asks_for_checks_that_are_an_hour_old(account: Account) -> None:
    account.refresh_from_db()
    assert account.scope_checked_at, "the first run checks the token"
    OutboxEntry.objects.all().delete()
    ask_for_token_checks()
    assert not OutboxEntry.objects.exists()
    Account.objects.update(scope_checked_at=None)
    ask_for_token_checks()
    assert OutboxEntry.objects.get().subject_id == account.pk


def test_only_what_was_held_back_counts_as_held_back() -> None:
    assert held_back_s(ServerFault("x")) is None
    assert held_back_s(BudgetExhausted("x", retry_after_s=3.0)) == 3.0
    for said, most in ((7.0, 7.7), (None, 330.0)):
        seconds = held_back_s(RateLimited("x", retry_after_s=said))
        assert seconds and (said or 300.0) <= seconds <= most
