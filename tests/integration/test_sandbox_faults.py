"""Faults on the wire: what a real client meets, and the conductor that kills it in the middle of a write."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.sandbox_server import SandboxProcess

ZONE = "northwind.example"
NEW = ["new.northwind.example"]
CUT = {
    "reset": (httpx.ReadError, "reset by peer"),
    "close": (httpx.RemoteProtocolError, "without sending a response"),
    "truncated_body": (httpx.RemoteProtocolError, "without sending complete message body"),
    "length_too_large": (httpx.RemoteProtocolError, "without sending complete message body"),
    "chunked_cut": (httpx.RemoteProtocolError, "incomplete chunked read"),
}
WORKER = """
import sys, httpx
url, token, body = sys.argv[1:]
httpx.put(url, content=body, headers={"Authorization": "Bearer " + token}, timeout=60)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxProcess]:
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def edge(server: SandboxProcess) -> SandboxProcess:
    server.clear_faults()
    server.edit(ZONE, ca_of(server), ["old.northwind.example"])
    return server


def ca_of(edge: SandboxProcess) -> str:
    return next(str(item["id"]) for item in edge.state()["certificates"] if item["ca"])


def url_of(edge: SandboxProcess) -> str:
    return f"{edge.base_url}/zones/{edge.zones[ZONE]}/certificate_authorities/hostname_associations"


def put(edge: SandboxProcess, timeout: float = 20) -> httpx.Response:
    sent = {"mtls_certificate_id": ca_of(edge), "hostnames": NEW}
    headers = {"Authorization": f"Bearer {edge.token}"}
    return httpx.put(url_of(edge), json=sent, headers=headers, timeout=timeout, trust_env=False)


def at_edge(edge: SandboxProcess) -> list[str]:
    return edge.hostnames(ZONE, ca_of(edge))


@pytest.mark.parametrize("kind", sorted(CUT))
def test_a_connection_breaks_in_the_way_it_is_named(edge: SandboxProcess, kind: str) -> None:
    kind_of_error, words = CUT[kind]
    edge.fault(kind, {"method": "PUT"}, applied=True)
    with pytest.raises(kind_of_error, match=words):
        put(edge)
    assert at_edge(edge) == NEW
    last = edge.requests()[-1]
    assert (last["fault"], last["applied"]) == (kind, True)
    assert last["ended_ns"] > last["started_ns"]


@pytest.mark.parametrize("applied", [True, False])
def test_silence_with_the_write_applied_or_not(edge: SandboxProcess, applied: bool) -> None:
    edge.fault("timeout", {"method": "PUT"}, applied=applied)
    with pytest.raises(httpx.ReadTimeout):
        put(edge, timeout=0.5)
    assert (at_edge(edge) == NEW) is applied


def test_a_trickle_is_the_whole_answer_byte_by_byte(edge: SandboxProcess) -> None:
    edge.fault("trickle", {"method": "PUT"}, bytes_per_s=500)
    assert put(edge).json()["result"]["hostnames"] == NEW


def test_a_lying_length_cuts_the_answer(edge: SandboxProcess) -> None:
    edge.fault("length_too_small", {"method": "PUT"}, size=5)
    with pytest.raises(json.JSONDecodeError):
        put(edge).json()
    edge.fault("huge_length", {"method": "PUT"})
    with httpx.stream("PUT", url_of(edge), content=b"{}", headers={"Authorization": f"Bearer {edge.token}"}) as answer:
        assert answer.headers["content-length"] == str(2 * 1024**3)


def test_a_huge_answer_and_a_small_one_that_unpacks_to_it(edge: SandboxProcess) -> None:
    edge.fault("huge", {"method": "PUT"}, size=6_000_000)
    answer = put(edge)
    assert (len(answer.content) >= 6_000_000, answer.json()["result"]["hostnames"]) == (True, NEW)
    edge.fault("gzip_bomb", {"method": "PUT"}, size=6_000_000)
    headers = {"Authorization": f"Bearer {edge.token}", "Accept-Encoding": "gzip"}
    sent = {"mtls_certificate_id": ca_of(edge), "hostnames": NEW}
    with httpx.stream("PUT", url_of(edge), json=sent, headers=headers) as answer:
        packed = b"".join(answer.iter_raw())
    assert len(packed) < 60_000
    assert len(zlib.decompress(packed, 16 + zlib.MAX_WBITS)) >= 6_000_000


def test_a_status_of_the_edge_itself_is_a_page(edge: SandboxProcess) -> None:
    edge.fault("status", {"method": "PUT"}, status=520)
    answer = put(edge)
    assert (answer.status_code, answer.headers["content-type"]) == (520, "text/html; charset=UTF-8")
    assert {"cf-ray", "ratelimit", "ratelimit-policy"} <= set(answer.headers)


def test_the_port_is_closed_for_a_while_and_comes_back(edge: SandboxProcess) -> None:
    with httpx.Client(headers={"Authorization": f"Bearer {edge.token}"}, trust_env=False) as old:
        assert old.get(f"{edge.base_url}/zones").status_code == 200
        edge.fault("refuse", seconds=3.0)
        with pytest.raises(httpx.ReadError):
            old.get(f"{edge.base_url}/zones")
        refused = 0
        while True:
            try:
                old.get(f"{edge.base_url}/zones")
            except httpx.TransportError as fault:
                refused += isinstance(fault, httpx.ConnectError)
            else:
                break
    assert refused > 0


def worker(edge: SandboxProcess) -> subprocess.Popen[bytes]:
    body = json.dumps({"mtls_certificate_id": ca_of(edge), "hostnames": NEW})
    return subprocess.Popen([sys.executable, "-c", WORKER, url_of(edge), edge.token, body])


@pytest.mark.parametrize("at", ["before_apply", "mid_request_body"])
@pytest.mark.parametrize("apply", [True, False])
def test_a_worker_is_killed_while_its_write_is_open(edge: SandboxProcess, at: str, apply: bool) -> None:
    edge.hold(at, method="PUT", zone=ZONE)
    with worker(edge) as process:
        hold = edge.held()
        assert (hold["at"], at_edge(edge)) == (at, ["old.northwind.example"])
        process.kill()
        assert process.wait() == -9
    before = edge.state()["last_seq"]
    edge.release(hold, apply=apply)
    wait_for_end(edge, after=before)
    assert at_edge(edge) == (NEW if apply else ["old.northwind.example"])
    assert edge.faults_left() == 0


def test_a_worker_is_killed_after_its_write(edge: SandboxProcess) -> None:
    edge.hold("after_apply_before_reply", method="PUT")
    with worker(edge) as process:
        hold = edge.held()
        assert at_edge(edge) == NEW
        process.kill()
        process.wait()
    edge.release(hold, reply="drop")
    assert put(edge).status_code == 200


def wait_for_end(edge: SandboxProcess, after: int) -> None:
    """Until the call that comes after this seq has ended."""
    deadline = time.monotonic() + 60
    while not any(entry["ended_ns"] for entry in edge.requests(after)):
        assert time.monotonic() < deadline, "the released call never came to its end"


def test_half_a_body_and_no_more_has_no_effect(edge: SandboxProcess) -> None:
    sent = json.dumps({"mtls_certificate_id": ca_of(edge), "hostnames": NEW}).encode()
    path = url_of(edge).removeprefix(edge.origin)
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {edge.token}\r\n"
        f"Content-Length: {len(sent)}\r\n\r\n"
    )
    with socket.create_connection(edge.origin.removeprefix("http://").split(":")) as raw:
        raw.sendall(head.encode() + sent[:-1])
        raw.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
    last = edge.requests()[-1]
    assert (last["status"], last["applied"]) == (0, False)
    assert at_edge(edge) == ["old.northwind.example"]


def test_a_body_that_is_never_read_ends_its_connection(edge: SandboxProcess) -> None:
    edge.hold("mid_request_body", method="PUT")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(put, edge)
        edge.release(edge.held(), apply=False)
        answer = call.result(30)
    assert (answer.status_code, answer.headers["connection"]) == (503, "close")
    assert at_edge(edge) == ["old.northwind.example"]


def test_the_script_the_log_and_the_random_mode_outlive_a_restart(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path) as edge:
        put(edge)
        edge.fault("status", {"method": "PUT", "nth": 2}, status=502)
        edge.faults(random={"probability": 0.0, "seed": 7})
        assert put(edge).status_code == 200
        before, script = edge.requests(), edge.state()["faults"]
        edge.restart()
        assert (edge.requests(), edge.state()["faults"]) == (before, script)
        assert put(edge).status_code == 502


def test_a_stop_ends_parked_and_silent_calls(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path) as edge:
        edge.hold("before_apply", method="PUT")
        with worker(edge) as process:
            edge.held()
            assert edge.stop() == 0
            process.wait(30)
        edge.start()
        assert at_edge(edge) != NEW
