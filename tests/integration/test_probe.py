"""From the button to the page: a real worker probes a local server that stands for the edge."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.certs import make_ca
from tests.integration.test_main_job import approve, ask, ok, upload
from tests.portal_process import PortalProcess, wait_for
from tests.probe_portal import HOSTNAME, QUIET, probed_portal
from tests.tls_server import FORBIDDEN, OK, TlsServer

Stage = tuple[PortalProcess, TlsServer]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with probed_portal() as both:
        yield both


@pytest.fixture
def portal(stage: Stage) -> PortalProcess:
    return stage[0]


@pytest.fixture
def edge(stage: Stage) -> TlsServer:
    return stage[1]


class Window:
    """One person's session with the pages, without a browser."""

    def __init__(self, portal: PortalProcess, name: str) -> None:
        self._http = httpx.Client(base_url=portal.url, follow_redirects=True, timeout=30)
        form = {"login": name, "password": portal.demo["people"][name]["password"]}
        assert "Overview" in self.post("/", self._action(self.get("/")), **form)

    def get(self, path: str) -> str:
        answer = self._http.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return answer.text

    def post(self, page: str, action: str, **form: str) -> str:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(page))
        assert token
        answer = self._http.post(action, data={**form, "csrfmiddlewaretoken": token[1]})
        assert answer.status_code == 200, (action, answer.status_code, answer.text[-2000:])
        return answer.text

    def close(self) -> None:
        self._http.close()

    def _action(self, page: str) -> str:
        found = re.search(r'<form[^>]* action="([^"]+)"', page)
        return found[1] if found else "/accounts/login/"


@pytest.fixture
def sign_in(portal: PortalProcess) -> Iterator[Callable[[str], Window]]:
    windows: list[Window] = []

    def open_window(name: str) -> Window:
        windows.append(Window(portal, name))
        return windows[-1]

    yield open_window
    for window in windows:
        window.close()


def probe(portal: PortalProcess, hostname: str = HOSTNAME) -> Any:
    with portal.api("owner") as api:
        return ok(api.get(f"/hostnames/{hostname}/probe/"))


def test_from_the_button_to_the_page(portal: PortalProcess, edge: TlsServer, sign_in: Callable[[str], Window]) -> None:
    ca = upload(portal, make_ca("Probe Client Root").pem, "Probe Client Root", client_issuers="self")
    row = ask(portal, kind="cover", ca=ca["id"], hostnames=[HOSTNAME, QUIET], mode="block")
    assert approve(portal, row)["state"] == "done"
    owner = sign_in("owner")
    page = f"/hostnames/{HOSTNAME}/"
    assert "Probing is off" in owner.get(page) and edge.connections == 0

    with portal.api("admin") as api:
        account = ok(api.get("/accounts/"))["results"][0]["id"]
    switch = {"enabled": "on", "test_ranges": "127.0.0.0/8", "reason": "Prove it."}
    assert "On: hostnames" in sign_in("admin").post("/accounts/", f"/accounts/{account}/probing/", **switch)
    assert "is on its way" in owner.post(page, f"{page}probe/")
    wait_for(lambda: probe(portal)["latest"], saying="the worker stores a result")
    wait_for(lambda: probe(portal)["latest"]["agreement"] == "agrees", saying="it agrees")
    shown = owner.get(page)
    assert "HTTP/1.1 403 Forbidden" in shown and "Yes, the handshake asks" in shown and 'class="answer ok"' in shown

    # The edge stops asking, and nobody presses anything: red within an interval, on both pages.
    edge.asks, edge.reply = "none", OK
    wait_for(lambda: probe(portal)["contradicts"], saying="the contradiction is found")
    assert 'class="answer bad"' in owner.get(page) and "Probe disagrees" in owner.get("/associations/")
    edge.asks, edge.reply = "optional", FORBIDDEN
    wait_for(lambda: not probe(portal)["contradicts"], saying="the contradiction ends")
    with portal.api("auditor") as api:
        events = ok(api.get("/audit/", params={"subject_type": "hostname", "subject_id": HOSTNAME}))["results"]
    told = [event["action"] for event in reversed(events) if event["action"].startswith("probe:contradict")]
    assert told == ["probe:contradicts", "probe:contradiction_ended"]
    assert set(edge.server_names) <= {HOSTNAME, QUIET}


def test_a_worker_killed_in_the_middle_of_a_probe_costs_time_only(portal: PortalProcess, edge: TlsServer) -> None:
    visited = threading.Event()

    def hang(connection: socket.socket, stopping: threading.Event) -> None:
        visited.set()
        while connection.recv(4096) and not stopping.is_set():
            pass

    edge.raw = hang
    before = probe(portal)["latest"]["at"]
    visited.clear()
    assert visited.wait(30)
    for pid in _pool(portal):
        os.kill(pid, signal.SIGKILL)
    edge.raw = None
    wait_for(lambda: _fresh(portal, before), within_s=120, saying="another worker goes on")
    assert probe(portal)["latest"]["agreement"] == "agrees"


def _fresh(portal: PortalProcess, before: str) -> bool:
    latest = probe(portal)["latest"]
    return bool(latest["at"] > before and latest["status"] == 403)


def _pool(portal: PortalProcess) -> list[int]:
    """The processes that run tasks."""
    worker = next(pid for pid, command in portal.children().items() if " worker " in command)
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(worker)], capture_output=True, text=True, check=True)
    return [int(line) for line in listed.stdout.split()]
