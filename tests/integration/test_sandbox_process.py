"""The sandbox as a process: it keeps its state, stops cleanly, and says plainly why it cannot start."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.sandbox_server import ROOT, SandboxProcess

ZONE = "northwind.example"


def test_state_token_and_address_outlive_a_restart_and_a_kill(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path) as edge:
        card = edge.card
        ca = next(item["id"] for item in edge.state()["certificates"] if item["ca"])
        edge.switch(latency_ms=1)
        edge.edit(ZONE, ca, ["kept.northwind.example"])
        before = edge.state()
        edge.restart()
        assert edge.state() == before
        edge.edit(ZONE, ca, ["kept2.northwind.example"])
        assert edge.kill() == -9
        edge.start()
        assert edge.hostnames(ZONE, ca) == ["kept2.northwind.example"]
        assert edge.card == card
        assert edge.stop() == 0
    assert stat.S_IMODE((tmp_path / "sandbox.json").stat().st_mode) == 0o600
    assert card["token"] not in (tmp_path / "sandbox.sqlite3").read_bytes().decode("latin-1")


def test_a_lost_card_gets_a_new_token(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path) as edge:
        old = edge.token
        edge.stop()
        (tmp_path / "sandbox.json").unlink()
        edge.start()
        assert edge.token != old
        headers = {"Authorization": f"Bearer {edge.token}"}
        assert httpx.get(f"{edge.base_url}/zones", headers=headers).json()["result_info"]["total_count"] == 3


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apps.sandbox", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_a_taken_port_is_exit_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = start("--port", port, "--data-dir", str(tmp_path))
    assert ended.returncode == 3
    assert (
        ended.stderr
        == f"Port {port} on 127.0.0.1 is in use by another program. Stop that program or choose another port.\n"
    )


def test_a_folder_that_cannot_be_written_is_exit_4(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    ended = start("--port", "0", "--data-dir", str(in_the_way / "data"))
    assert ended.returncode == 4
    assert "cannot write its data" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_command_of_manage_py_is_the_same_server(tmp_path: Path) -> None:
    command = [sys.executable, "manage.py", "sandbox", "--port", "0", "--data-dir", str(tmp_path), "--seed"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on http://127.0.0.1:")
        assert len(json.loads((tmp_path / "sandbox.json").read_text())["zones"]) == 3
        process.terminate()
        process.communicate(timeout=15)
        assert process.returncode == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "attacker.example"},
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Content-Type": "text/plain"},
    ],
)
def test_the_control_port_refuses_other_sites(headers: dict[str, str]) -> None:
    with SandboxProcess() as edge:
        sent = {"Content-Type": "application/json", **headers}
        answer = httpx.post(f"{edge.origin}/_sandbox/switches", content=b'{"down": true}', headers=sent)
        assert answer.status_code == 403
        assert edge.state()["switches"]["down"] is False


def test_the_page_takes_its_own_forms_only() -> None:
    with SandboxProcess() as edge:
        form = {"act": "down", "value": "1"}
        assert httpx.post(edge.origin, data=form).status_code == 403
        assert httpx.post(edge.origin, data=form, headers={"Origin": "http://a.example"}).status_code == 403
        assert httpx.post(edge.origin, data=form, headers={"Origin": edge.origin}).status_code == 303
        page = httpx.get(edge.origin)
        assert "script" not in page.headers["content-security-policy"]
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert httpx.get(f"{edge.origin}/static/sandbox.css").headers["content-type"].startswith("text/css")
        assert httpx.get(f"{edge.origin}/static/../seed.py").status_code == 404


def test_a_body_beyond_the_cap_and_a_chunked_one_are_refused() -> None:
    with SandboxProcess() as edge, socket.create_connection(edge.origin.removeprefix("http://").split(":")) as raw:
        raw.sendall(b"PUT /client/v4/zones HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        assert b" 413 " in raw.recv(4096)
        answer = httpx.post(f"{edge.base_url}/zones", content=iter([b"a", b"b"]))
        assert answer.status_code == 411
