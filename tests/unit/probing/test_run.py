"""A probe as the worker runs it: the outbox row in, a real local server visited, the result out."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.coverage.models import Association
from apps.outbox.models import OutboxEntry
from apps.outbox.selectors import parked_entries
from apps.probing import run, tasks, visit
from apps.probing.models import Probe, ProbeTarget
from apps.probing.run import PARK_AFTER_ATTEMPTS, run_probe
from apps.probing.selectors import probe_contradictions
from tests.unit.probing.conftest import Serve
from tests.unit.probing.desk import HOSTNAME, Desk, ready

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _same_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task begins by closing stale connections; this test's own holds its open transaction."""
    monkeypatch.setattr(tasks, "close_old_connections", lambda: None)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every name leads to 127.0.0.1; returns the names that were looked up."""
    asked: list[str] = []

    def answer(name: str, *_args: Any, **_options: Any) -> list[Any]:
        asked.append(name)
        return [(2, 1, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(visit.socket, "getaddrinfo", answer)
    return asked


def test_a_server_that_does_not_ask_turns_the_hostname_red(serve: Serve, resolver: list[str], settings: Any) -> None:
    server = serve()
    settings.BYOCA_PROBE_TEST_PORT = server.port
    desk = ready()
    desk.switch(test_ranges="127.0.0.0/8")
    run_probe(desk.target().pk)
    probe = Probe.objects.get()
    assert (probe.asked, probe.status, probe.agreement, probe.address) == ("no", 200, "contradicts", "127.0.0.1")
    assert "asks for no client certificate" in probe_contradictions(desk.account)[HOSTNAME]
    assert resolver == [f"{HOSTNAME}."]
    run_probe(desk.target().pk)
    assert server.connections == 1, "not due again, so not visited again"


def test_without_a_test_range_the_local_server_is_not_contacted(
    serve: Serve, resolver: list[str], settings: Any
) -> None:
    server = serve()
    settings.BYOCA_PROBE_TEST_PORT = server.port
    desk = ready()
    run_probe(desk.target().pk)
    probe = Probe.objects.get()
    assert (probe.error_code, probe.agreement, server.connections) == ("address_refused", "cannot_tell", 0)


def test_own_ranges_are_refused(settings: Any) -> None:
    settings.BYOCA_PROBE_OWN_RANGES = ["104.16.0.0/13"]
    assert run.policy_of(ready().account).refusal("104.16.1.1") == "an address of the portal itself"


def test_a_hostname_that_lost_its_coverage_is_not_even_looked_up(resolver: list[str]) -> None:
    desk = ready()
    Association.objects.update(state=Association.State.RELEASING)
    run_probe(desk.target().pk)
    assert resolver == [] and not Probe.objects.exists()


def test_a_probe_that_kills_its_worker_ends_parked(resolver: list[str]) -> None:
    desk = ready()
    OutboxEntry.objects.filter(kind="probe").update(attempts=PARK_AFTER_ATTEMPTS)
    run_probe(desk.target().pk)
    assert "too often" in parked_entries()[0].parked_reason
    assert resolver == []


def test_one_probe_rings_for_the_next(resolver: list[str], settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[Any] = []
    monkeypatch.setattr(run, "ring_on_commit", lambda kind, subject_id: rung.append((kind, subject_id)))
    desk = ready(HOSTNAME, "settle.pay.example")
    run_probe(desk.target().pk)
    run_probe(desk.target("settle.pay.example").pk)
    assert rung == [("probe", desk.target("settle.pay.example").pk)]


def test_nobody_runs_an_unknown_target(resolver: list[str]) -> None:
    run_probe(uuid.uuid4())
    assert resolver == []


class Post:
    """Takes the messages that the tick sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[list[str], str]] = []
        monkeypatch.setattr(tasks.probe, "apply_async", self.take)

    def take(self, args: list[str], queue: str, expires: int) -> None:
        assert expires
        self.sent.append((args, queue))


def test_the_tick_finds_what_is_due_and_sends_ids_only(monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(monkeypatch)
    desk = ready()
    desk.approve("new.pay.example")
    tasks.tick()
    assert sorted(post.sent) == sorted(([str(target.pk)], "probe") for target in ProbeTarget.objects.all())
    assert len(post.sent) == 2


def test_one_account_does_not_crowd_out_another(monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(monkeypatch)
    ready(*[f"h{number}.pay.example" for number in range(12)])
    other = ready()
    tasks.tick()
    assert [str(ProbeTarget.objects.get(zone=other.zone).pk)] in [args for args, _queue in post.sent]
    assert len(post.sent) == tasks.PER_ACCOUNT + 1


def test_the_tick_leaves_accounts_alone_that_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(monkeypatch)
    desk = Desk()
    desk.approve(HOSTNAME)
    tasks.tick()
    assert post.sent == [] and not ProbeTarget.objects.exists()


def test_the_task_takes_an_id_as_text(serve: Serve, resolver: list[str], settings: Any) -> None:
    desk = ready()
    OutboxEntry.objects.filter(kind="probe").update(due_at=timezone.now() + timedelta(hours=1))
    tasks.probe(str(desk.target().pk))
    assert resolver == []
