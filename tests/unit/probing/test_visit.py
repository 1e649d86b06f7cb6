"""Visits to real local servers: those that behave, those that do not, and those that must not be visited."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.outbound.addresses import Policy
from apps.probing import visit as module
from apps.probing.verdict import Asked
from apps.probing.visit import system_addresses, visit
from tests.certs import make_ca
from tests.portal_process import free_port, wait_for
from tests.tls_server import FORBIDDEN, OK, TlsServer
from tests.unit.probing.conftest import HOSTNAME, LOOPBACK, Serve, look

V12 = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
V13 = (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
both = pytest.mark.parametrize("versions", [V12, V13], ids=["TLSv1.2", "TLSv1.3"])
Versions = tuple[ssl.TLSVersion, ssl.TLSVersion]


@both
def test_a_server_that_does_not_ask(serve: Serve, versions: Versions) -> None:
    server = serve(versions=versions)
    seen = look(server)
    assert (seen.asked, seen.status, seen.status_line) == (Asked.NO, 200, "HTTP/1.1 200 OK")
    assert (seen.error, seen.turned_away, seen.certificate_problem) == ("", False, "")
    assert seen.tls_version == ("TLSv1.2" if versions == V12 else "TLSv1.3")
    assert server.server_names == [HOSTNAME]
    assert server.requests[0].startswith(f"GET / HTTP/1.1\r\nHost: {HOSTNAME}\r\n".encode())


@both
def test_a_server_that_asks_and_lets_through(serve: Serve, versions: Versions) -> None:
    seen = look(serve(asks="optional", versions=versions))
    assert (seen.asked, seen.status) == (Asked.YES, 200)


@both
def test_a_server_that_asks_and_answers_403(serve: Serve, versions: Versions) -> None:
    seen = look(serve(asks="optional", reply=FORBIDDEN, versions=versions))
    assert (seen.asked, seen.status, seen.ray) == (Asked.YES, 403, "8f00ba4c-FRA")


@both
def test_a_server_that_insists_on_a_certificate(serve: Serve, versions: Versions) -> None:
    seen = look(serve(asks="required", versions=versions))
    assert (seen.asked, seen.turned_away, seen.status) == (Asked.YES, True, None)
    assert seen.error_code == "turned_away"


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(not shutil.which("openssl"), reason="Python's own servers send no CA names; needs openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_the_ca_names_a_server_sends(serve: Serve, version: str, tmp_path: Path) -> None:
    other, second = make_ca("Partner Root", organisation="Partner, Inc."), make_ca("Fleet Root")
    (tmp_path / "names.pem").write_text(other.pem + second.pem)
    server = serve()
    port, chain = free_port(), str(server._chain)
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", chain, "-key", chain, version, "-www",
               "-CAfile", str(tmp_path / "names.pem"), "-verify", "1", "-quiet"]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port), saying="s_server listens")
        seen = visit(HOSTNAME, policy=Policy((LOOPBACK,), (), port), deadline_s=10, lookup=lambda _name: ["127.0.0.1"])
    finally:
        process.kill()
        process.wait(10)
        assert process.stdin
        process.stdin.close()
    assert (seen.asked, seen.status) == (Asked.YES, 200)
    assert sorted(seen.names) == ["CN=Fleet Root", "CN=Partner Root,O=Partner\\, Inc."]
    assert seen.name_count == 2


def test_a_redirect_is_reported_and_not_followed(serve: Serve) -> None:
    target = serve()
    location = f"https://127.0.0.1:{target.port}/latest/meta-data/"
    server = serve(reply=f"HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode())
    seen = look(server)
    assert (seen.status, server.connections, target.connections) == (302, 1, 0)


def test_a_certificate_for_another_name_is_reported_and_nothing_is_sent(serve: Serve) -> None:
    server = serve("other.example", asks="optional")
    seen = look(server)
    assert "Hostname mismatch" in seen.certificate_problem
    assert (seen.error_code, seen.status, seen.asked) == ("certificate", None, Asked.YES)
    assert server.requests in ([], [b""])


def test_a_certificate_nobody_trusts_is_reported(serve: Serve) -> None:
    seen = look(serve(trusted=False))
    assert "certificate" in seen.certificate_problem
    assert seen.status is None


def test_plain_http_on_the_port(serve: Serve) -> None:
    def answer(connection: socket.socket, _stopping: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    seen = look(serve(raw=answer))
    assert (seen.error_code, seen.asked, seen.error) == ("not_tls", Asked.UNKNOWN, "The HTTPS port does not speak TLS.")


def test_a_server_that_never_answers(serve: Serve) -> None:
    seen = look(serve(raw=lambda _connection, stopping: stopping.wait(20) and None), deadline_s=0.3)
    assert (seen.error_code, seen.error) == ("deadline", "No full answer came within 0.3 s.")


def test_a_handshake_that_trickles_ends_at_the_one_deadline(serve: Serve) -> None:
    def trickle(connection: socket.socket, stopping: threading.Event) -> None:
        connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
        while not stopping.wait(0.02):
            connection.sendall(b"\0")

    assert look(serve(raw=trickle), deadline_s=0.3).error_code == "deadline"


def test_an_answer_that_trickles_ends_at_the_one_deadline(serve: Serve) -> None:
    def trickle(tls: ssl.SSLSocket, stopping: threading.Event) -> None:
        while not stopping.wait(0.02):
            tls.sendall(b"H")

    seen = look(serve(reply=trickle), deadline_s=0.5)
    assert (seen.error_code, seen.asked, seen.status) == ("deadline", Asked.NO, None)


def test_a_whole_status_line_counts_although_the_headers_trickle(serve: Serve) -> None:
    def trickle(tls: ssl.SSLSocket, stopping: threading.Event) -> None:
        tls.sendall(b"HTTP/1.1 403 Forbidden\r\nx: ")
        while not stopping.wait(0.02):
            tls.sendall(b"y")

    seen = look(serve(reply=trickle), deadline_s=0.5)
    assert (seen.status, seen.error) == (403, "")


def test_huge_headers_are_not_read_to_their_end(serve: Serve) -> None:
    sent: list[int] = []

    def flood(tls: ssl.SSLSocket, stopping: threading.Event) -> None:
        tls.sendall(b"HTTP/1.1 200 OK\r\n")
        while not stopping.is_set():
            tls.sendall(b"x: " + b"y" * 4000 + b"\r\n")
            sent.append(4000)

    assert look(serve(reply=flood)).status == 200


def test_a_huge_status_line_is_too_large(serve: Serve) -> None:
    seen = look(serve(reply=b"HTTP/1.1 200 " + b"x" * 100_000))
    assert (seen.error_code, seen.status) == ("too_large", None)


def test_a_huge_handshake_is_too_large(serve: Serve) -> None:
    def flood(connection: socket.socket, stopping: threading.Event) -> None:
        connection.recv(4096)
        while not stopping.is_set():  # HelloRequests, which a client skips until it has had enough
            connection.sendall(b"\x16\x03\x03\x40\x00" + b"\0\0\0\0" * 4096)

    assert look(serve(raw=flood)).error_code == "too_large"


def test_informational_answers_are_passed_over(serve: Serve) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"
    assert look(serve(reply=early + early + FORBIDDEN)).status == 403


@pytest.mark.parametrize("reply", [b"SSH-2.0-OpenSSH_9.9\r\n\r\n", b"HTTP/1.1 999 Odd\r\n\r\n", b"HTTP/1.1 20"])
def test_what_is_not_http(serve: Serve, reply: bytes) -> None:
    seen = look(serve(reply=reply))
    assert (seen.error_code, seen.status) == ("not_http", None)


def test_no_answer_at_all(serve: Serve) -> None:
    seen = look(serve(reply=b""))
    assert (seen.error_code, seen.error) == ("closed", "The server closed the connection without an answer.")


def test_a_connection_closed_in_the_handshake(serve: Serve) -> None:
    seen = look(serve(raw=lambda connection, _stopping: connection.recv(10) and None))
    assert seen.error_code == "closed"


def test_a_handshake_refused_without_asking(serve: Serve) -> None:
    seen = look(serve(raw=lambda connection, _stopping: connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")))
    assert (seen.error_code, seen.turned_away) == ("handshake", False)
    assert "handshake failure" in seen.error


def test_control_characters_of_a_status_line_are_inert(serve: Serve) -> None:
    seen = look(serve(reply=b"HTTP/1.1 200 \x1b[31m<script>\xe2\x80\xae\r\n\r\n"))
    assert seen.status == 200
    assert "\x1b" not in seen.status_line and seen.status_line.startswith("HTTP/1.1 200 ?[31m<script>")


def test_names_that_are_no_names_are_shown_as_hex() -> None:
    assert module._shown_name(b"\x30\x05\x01") == "#300501"


@given(st.binary(max_size=120), st.sampled_from([b"", b"\x30\x20\x31\x1e\x30\x1c\x06\x03\x55\x04\x03\x1e\x15"]))
def test_any_name_of_a_stranger_can_be_shown_and_stored(noise: bytes, head: bytes) -> None:
    shown = module._shown_name(head + noise)
    assert shown.isprintable()
    shown.encode("utf-8")


# Addresses.


def test_a_name_that_changes_its_mind_is_looked_up_once(serve: Serve) -> None:
    """Rebinding: the second answer, which would be another address, is never asked for."""
    server, answers = serve(), [["127.0.0.1"], ["10.0.0.5"]]
    asked: list[str] = []

    def rebinding(name: str) -> list[str]:
        asked.append(name)
        return answers.pop(0)

    seen = look(server, lookup=rebinding)
    assert (seen.status, seen.address, asked) == (200, "127.0.0.1", [HOSTNAME])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.169.254", "10.0.0.5", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
     "64:ff9b::a9fe:a9fe", "100.64.0.1", "224.0.0.1", "fe80::1%lo", "0.0.0.0"],
)  # fmt: skip
def test_a_refused_address_is_never_connected_to(serve: Serve, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(module.socket.socket, "connect", lambda *_args: pytest.fail("connected"))
    seen = visit(HOSTNAME, policy=Policy(), deadline_s=5, lookup=lambda _name: [address])
    assert (seen.error_code, seen.address, seen.asked) == ("address_refused", address, Asked.UNKNOWN)
    assert address in seen.error and HOSTNAME in seen.error


def test_one_refused_address_among_good_ones_refuses_the_name(serve: Serve) -> None:
    server = serve()
    assert look(server, lookup=lambda _name: ["127.0.0.1", "10.0.0.5"]).error_code == "address_refused"
    assert server.connections == 0


@pytest.mark.parametrize("name", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_numbers_that_the_system_reads_as_addresses_are_refused(name: str) -> None:
    """A resolver may read decimal, hex or short forms; what counts is the address that comes out."""

    def permissive(text: str) -> list[str]:
        return [str(row[4][0]) for row in socket.getaddrinfo(text, None, type=socket.SOCK_STREAM)]

    assert permissive(name) == ["127.0.0.1"]
    assert visit(name, policy=Policy(), deadline_s=5, lookup=permissive).error_code == "address_refused"


def test_the_next_address_is_tried_when_one_takes_no_connection(serve: Serve) -> None:
    server = serve()
    assert look(server, lookup=lambda _name: ["127.0.0.2", "127.0.0.1"]).address == "127.0.0.1"


def test_an_address_that_takes_no_connection(serve: Serve) -> None:
    server = serve()
    server.stop()
    seen = look(server)
    assert seen.error_code == "not_connected"
    assert "127.0.0.1" in seen.error


@pytest.mark.parametrize("fault", [socket.gaierror(-2, "unknown"), UnicodeError("label too long"), None])
def test_a_name_without_an_address(fault: Exception | None) -> None:
    def lookup(_name: str) -> list[str]:
        if fault:
            raise fault
        return []

    seen = visit(HOSTNAME, policy=Policy(), deadline_s=5, lookup=lookup)
    assert (seen.error_code, seen.error) == ("no_address", f"{HOSTNAME} has no address in the DNS.")


def test_a_lookup_that_never_ends_costs_one_deadline() -> None:
    release = threading.Event()
    seen = visit(HOSTNAME, policy=Policy(), deadline_s=0.2, lookup=lambda _name: release.wait(20) and [])  # type: ignore[arg-type,return-value]
    release.set()
    assert seen.error_code == "deadline"


def test_no_time_left_at_the_start() -> None:
    assert visit(HOSTNAME, policy=Policy(), deadline_s=0, lookup=lambda _name: ["127.0.0.1"]).error_code == "deadline"


def test_the_system_is_asked_for_the_full_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the final dot a search domain of the portal's own network could answer."""
    asked: list[object] = []

    def answer(name: str, *_args: object, **_options: object) -> list[object]:
        asked.append(name)
        return [(2, 1, 6, "", ("192.0.2.1", 0)), (2, 1, 6, "", ("192.0.2.1", 0)), (10, 1, 6, "", ("2001:db8::1", 0))]

    monkeypatch.setattr(module.socket, "getaddrinfo", answer)
    assert system_addresses(HOSTNAME) == ["192.0.2.1", "2001:db8::1"]
    assert asked == [f"{HOSTNAME}."]


def test_the_keys_of_the_connection_leave_nothing_behind(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    assert look(serve(asks="optional")).asked is Asked.YES
    left = [path for path in tmp_path.iterdir() if path.name.startswith("byoca-probe-")]
    assert left == []


def test_the_body_is_not_waited_for(serve: Serve) -> None:
    def endless(tls: ssl.SSLSocket, stopping: threading.Event) -> None:
        tls.sendall(OK.replace(b"content-length: 2", b"content-length: 999999"))
        stopping.wait(20)

    server: TlsServer = serve(reply=endless)
    assert look(server, deadline_s=5).status == 200
