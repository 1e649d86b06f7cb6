"""A restored database, and stops that the portal sets by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.audit.models import AuditEvent, AuditHead
from apps.audit.services import record
from apps.identity.permissions import Role
from apps.inventory import watermark
from apps.inventory.alarms import installation_name, raise_alarm
from apps.inventory.holds import stops_in_force
from apps.inventory.models import Installation, Stop
from apps.inventory.stops import lift_stop
from apps.inventory.watermark import check_history
from tests.factories import SETUP, actor, make_account
from tests.valkey_process import ValkeyProcess

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR, settings.BYOCA_BUDGET_REDIS_URL = tmp_path, ""
    return tmp_path


@pytest.fixture
def server(tmp_path: Path, settings: Any) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path) as running:
        settings.BYOCA_BUDGET_REDIS_URL = running.url
        yield running


def act() -> AuditEvent:
    with transaction.atomic():
        return record(by=SETUP, action="test:done", subject=("test", 1, "One"))


def older_than(folder: Path) -> int:
    """Makes the log look like a backup's: what lies outside of it knows an event that it has not. Returns which."""
    ahead = AuditHead.objects.get().seq + 10
    mark = {"seq": ahead, "hash": "f" * 64}
    (folder / "audit-mark.json").write_text(json.dumps({installation_name(): mark}))
    return ahead


def in_file(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "audit-mark.json").read_text())[installation_name()])


def test_the_mark_moves_on_with_the_log(folder: Path) -> None:
    assert check_history()
    last = act()
    assert check_history()
    assert in_file(folder) == {"seq": last.seq, "hash": last.hash}
    assert not stops_in_force().exists()


def test_an_older_log_stops_everything_once_and_until_somebody_decides(folder: Path) -> None:
    act()
    ahead = older_than(folder)
    assert not check_history()
    assert not check_history()
    stop = stops_in_force().get()
    assert (stop.scope, stop.stopped_by_label) == ("everything", "Portal (alarm)")
    assert str(ahead) in stop.reason
    lift_stop(by=actor(Role.ADMIN), stop_id=stop.pk, reason="Adopted what the edge holds.")
    assert check_history()
    assert in_file(folder)["seq"] == AuditHead.objects.get().seq
    assert Stop.objects.count() == 1


def test_a_log_that_went_on_from_an_older_backup_is_another_log(folder: Path) -> None:
    act()
    last = act()
    check_history()
    document = json.loads((folder / "audit-mark.json").read_text())
    document[installation_name()]["hash"] = "0" * 64
    (folder / "audit-mark.json").write_text(json.dumps(document))
    assert not check_history(), "the same number, another event"
    Stop.objects.all().delete()
    act()
    assert AuditHead.objects.get().seq > last.seq
    assert not check_history(), "and so with more events behind it"


def test_redis_remembers_when_the_folder_is_new(folder: Path, server: ValkeyProcess) -> None:
    act()
    ahead = older_than(folder)
    document = json.dumps({"seq": ahead, "hash": "f" * 64})
    (folder / "audit-mark.json").unlink()
    assert check_history()
    with redis.Redis.from_url(server.url) as client:
        assert client.exists(f"byoca:audit-mark:{installation_name()}"), "it keeps its mark there too"
        client.set(f"byoca:audit-mark:{installation_name()}", document)
    assert not check_history()


def test_a_silent_redis_and_a_broken_file_hold_nothing_up(folder: Path, settings: Any) -> None:
    settings.BYOCA_BUDGET_REDIS_URL = f"unix://{folder}/nobody"
    for broken in ("not json", "[]", json.dumps({installation_name(): {"seq": "x"}})):
        (folder / "audit-mark.json").write_text(broken)
        act()
        assert check_history()


def test_a_folder_that_cannot_be_written_holds_nothing_up(folder: Path, settings: Any) -> None:
    settings.DATA_DIR = folder / "missing"
    act()
    assert check_history()


def test_a_copy_of_the_database_elsewhere_stops_all_writes_once(folder: Path, settings: Any) -> None:
    act()
    assert check_history()
    settings.DATA_DIR = folder / "elsewhere"
    settings.DATA_DIR.mkdir()
    assert not check_history()
    (stop,) = stops_in_force()
    assert (stop.scope, "copy of another portal's database" in stop.reason) == (Stop.Scope.EVERYTHING, True)
    assert check_history(), "it remembers anew from here, and what it said stands"
    act()
    assert check_history()
    lift_stop(by=actor(Role.ADMIN), stop_id=stop.pk, reason="The disk was replaced")
    act()
    assert check_history()
    assert list(stops_in_force()) == []


@pytest.mark.parametrize("looks", [1, 2])
def test_of_two_processes_that_notice_a_copy_at_once_one_says_so_and_neither_goes_on(
    folder: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    act()
    assert check_history()
    settings.DATA_DIR = folder / "elsewhere"
    settings.DATA_DIR.mkdir()
    seen: list[bool] = []

    def before_the_other(name: str) -> tuple[list[watermark.Mark], bool]:
        monkeypatch.setattr(watermark, "_marks", itself)
        found = itself(name)
        seen.extend(check_history() for _ in range(looks))
        return found

    itself = watermark._marks
    monkeypatch.setattr(watermark, "_marks", before_the_other)
    assert not check_history()
    assert seen == [False, True][:looks], "at its second look the other one has remembered anew"
    (stop,) = stops_in_force()
    lift_stop(by=actor(Role.ADMIN), stop_id=stop.pk, reason="The disk was replaced")
    act()
    assert check_history()
    assert list(stops_in_force()) == []


def test_a_new_folder_is_no_copy_while_redis_knows_or_is_silent(
    folder: Path, server: ValkeyProcess, settings: Any
) -> None:
    act()
    assert check_history()
    for number, url in enumerate((server.url, f"unix://{folder}/nobody")):
        settings.DATA_DIR, settings.BYOCA_BUDGET_REDIS_URL = folder / str(number), url
        settings.DATA_DIR.mkdir()
        assert check_history()
    assert list(stops_in_force()) == []


def test_an_empty_redis_is_no_copy_while_the_folder_knows(folder: Path, server: ValkeyProcess) -> None:
    act()
    assert check_history()
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    act()
    assert check_history()


def test_a_broken_file_alone_is_no_copy(folder: Path) -> None:
    act()
    assert check_history()
    for broken in ("not json", "[]", json.dumps({installation_name(): {"seq": "x"}})):
        (folder / "audit-mark.json").write_text(broken)
        assert check_history()


def test_an_empty_database_in_an_old_folder_is_another_installation(folder: Path) -> None:
    act()
    older_than(folder)
    Installation.objects.all().delete()
    assert check_history()


def test_one_cause_stops_once() -> None:
    account = make_account()
    zone = account.zones.first()
    assert raise_alarm(cause="a", reason="Because.", account=account)
    with CaptureQueriesContext(connection) as asked:
        assert raise_alarm(cause="a", reason="Because.", account=account) is None
    assert not [row for row in asked.captured_queries if "inventory_account" in row["sql"].partition("JOIN")[0]], (
        "it locks no account for a cause that had its stop"
    )
    assert raise_alarm(cause="b", reason="Because.", zone=zone)
    assert sorted(stops_in_force().values_list("scope", flat=True)) == ["account", "zone"]
    assert AuditEvent.objects.filter(action="writes:stopped").count() == 2
