"""`make up` under everything a person and a machine do to it, and the portal under what that does to its parts."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.certs import make_ca
from tests.integration.test_main_job import approve, ask, edge_list, ok, requests_at_edge, switch, upload
from tests.portal_process import ROOT, PortalProcess, wait_for

# With a broker of one's own there is none to kill.
PARTS = ["worker", "beat", "web", "sandbox"] + ([] if os.environ.get("REDIS_URL") else ["broker"])
MARKS = {
    "web": "gunicorn",
    "worker": "--quiet worker",
    "beat": "--quiet beat",
    "sandbox": "sandbox --port",
    "broker": "valkey-server",
}


@pytest.fixture(scope="module")
def portal() -> Iterator[PortalProcess]:
    with PortalProcess() as running:
        yield running


def refused(**environment: str) -> str:
    """What a second `up` says, which must end by itself with exit code 1 and without a traceback."""
    ended = subprocess.run(
        [sys.executable, "manage.py", "up"], cwd=ROOT, env={**os.environ, **environment}, text=True,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr.strip()


def child(portal: PortalProcess, part: str) -> int:
    """Process id of one part, once it runs."""
    found: int = wait_for(lambda: next((pid for pid, args in portal.children().items() if MARKS[part] in args), 0))
    return found


def test_the_card_is_for_its_owner_only_and_names_both_sides(portal: PortalProcess) -> None:
    card = portal.folder / "demo.json"
    assert stat.S_IMODE(card.stat().st_mode) == 0o600
    assert stat.S_IMODE(portal.folder.stat().st_mode) == 0o700
    demo = portal.demo
    assert set(demo["people"]) == {"engineer", "engineer2", "owner", "auditor", "admin"}
    assert all({"password", "token"} <= set(person) for person in demo["people"].values())
    assert {"base_url", "token", "account_id", "zones"} <= set(demo["sandbox"])
    assert len(demo["sandbox"]["zones"]) == 3
    said = portal.log.read_text()
    assert all(person["password"] in said for person in demo["people"].values())


def test_a_second_one_in_the_same_folder_says_that_it_runs_already(portal: PortalProcess) -> None:
    said = refused(BYOCA_DATA_DIR=str(portal.folder))
    assert said.startswith("The portal runs already")
    assert portal.url in said
    assert httpx.get(f"{portal.url}/healthz").status_code == 200


def test_a_taken_port_is_named_with_the_variable_that_moves_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused(BYOCA_DATA_DIR=str(tmp_path), BYOCA_PORT=port)
        assert port in said
        assert "BYOCA_PORT" in said
        said = refused(BYOCA_DATA_DIR=str(tmp_path), BYOCA_PORT="0", BYOCA_SANDBOX_PORT=port)
        assert "BYOCA_SANDBOX_PORT" in said


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    said = refused(BYOCA_DATA_DIR=str(file / "data"))
    assert "cannot be written" in said
    assert "BYOCA_DATA_DIR" in said


@pytest.fixture(scope="module")
def ca(portal: PortalProcess) -> dict[str, Any]:
    return upload(portal, make_ca("Sturdy Root").pem, "Sturdy Root")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_killed_comes_back_and_the_work_gets_done(
    portal: PortalProcess, ca: dict[str, Any], part: str
) -> None:
    hostname = f"kill-{part}.northwind.example"
    row = ask(portal, kind="cover", ca=ca["id"], hostnames=[hostname], mode="verify")
    before = child(portal, part)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: before not in portal.children(), saying="it is gone")
    assert child(portal, part) != before
    wait_for(lambda: serves(portal), saying="the pages are back")
    assert approve(portal, row)["state"] == "done"
    assert hostname in edge_list(portal, "northwind.example", ca)


def test_a_lost_message_costs_seconds_and_nothing_else(portal: PortalProcess, ca: dict[str, Any]) -> None:
    row = ask(portal, kind="cover", ca=ca["id"], hostnames=["lost.northwind.example"], mode="verify")
    worker = child(portal, "worker")
    os.kill(worker, signal.SIGSTOP)
    with portal.api("engineer2") as api:
        ok(api.post(f"/requests/{row['id']}/approve/", json={"digest": row["digest"]}))
        broker(portal).flushdb()
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: ok(api.get(f"/requests/{row['id']}/"))["state"] == "done", saying="the sweep finds it")


def test_a_worker_killed_in_the_middle_of_a_write_is_continued(portal: PortalProcess, ca: dict[str, Any]) -> None:
    row = ask(portal, kind="cover", ca=ca["id"], hostnames=["cut.northwind.example"], mode="block")
    switch(portal, latency_ms=700)
    with portal.api("engineer2") as api:
        ok(api.post(f"/requests/{row['id']}/approve/", json={"digest": row["digest"]}))
        wait_for(lambda: ok(api.get(f"/requests/{row['id']}/"))["state"] == "applying", saying="calls are under way")
        # The worker leads a session of its own: its pool dies with it, whatever call it is in.
        os.killpg(child(portal, "worker"), signal.SIGKILL)
        switch(portal, latency_ms=0)
        wait_for(
            lambda: ok(api.get(f"/requests/{row['id']}/"))["state"] == "done",
            within_s=60,
            saying="another worker goes on once the lease is over",
        )
    assert "cut.northwind.example" in edge_list(portal, "northwind.example", ca)
    puts = [r for r in requests_at_edge(portal) if r["method"] == "PUT" and "cut.northwind.example" in str(r)]
    assert len({r["body"] for r in puts}) == 1, "no second, differing list was sent"


def serves(portal: PortalProcess) -> bool:
    try:
        return httpx.get(f"{portal.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def broker(portal: PortalProcess) -> redis.Redis:
    if url := portal.environment.get("REDIS_URL"):
        return redis.Redis.from_url(url)
    return redis.Redis(unix_socket_path=str(portal.folder / "broker" / "valkey.sock"))


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("-h", 0), ("8080", 2)])
def test_asked_for_help_or_misunderstood_it_starts_nothing(argument: str, code: int, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    ended = subprocess.run(
        [sys.executable, "manage.py", "up", argument], cwd=ROOT, text=True, capture_output=True, timeout=60,
        check=False, env={**os.environ, "BYOCA_DATA_DIR": str(folder)},
    )  # fmt: skip
    assert ended.returncode == code
    assert "BYOCA_DATA_DIR" in (ended.stderr if code else ended.stdout)
    assert not folder.exists()
