"""One visit to one hostname, as a client without a certificate makes it: look up, connect, shake hands, ask once.

The name is looked up once and the connection goes to an address of that answer, so a name that changes its mind
between the check and the connection gains nothing. One deadline covers everything. No redirect is followed, no body
is read, and nothing is sent to a server whose certificate is not accepted.
"""

from __future__ import annotations

import queue
import re
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from apps.outbound.addresses import Policy
from apps.pki.der import DerError, read_element
from apps.pki.names import read_name
from apps.probing.channel import READ_BYTES, Channel, Deadline, Stopped
from apps.probing.handshake import Flight, read_flight
from apps.probing.verdict import Asked

Lookup = Callable[[str], list[str]]

MOST_HEAD_BYTES = 32 * 1024
MOST_NAMES = 100
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?")
RAY = re.compile(rb"(?mi)^cf-ray:[ \t]*([0-9A-Za-z-]{1,64})[ \t]*\r?$")
NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"})


@dataclass
class Visit:
    """What was seen. `error` is a sentence, and `error_code` stable; both empty when a status was read."""

    address: str = ""
    tls_version: str = ""
    asked: Asked = Asked.UNKNOWN
    names: list[str] = field(default_factory=list)
    name_count: int = 0
    certificate_problem: str = ""
    turned_away: bool = False
    status: int | None = None
    status_line: str = ""
    ray: str = ""
    error: str = ""
    error_code: str = ""
    took_ms: int = 0


def system_addresses(hostname: str) -> list[str]:
    """All addresses of a name. The final dot keeps the system from trying its own search domains."""
    rows = socket.getaddrinfo(f"{hostname}.", None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def visit(hostname: str, *, policy: Policy, deadline_s: float, lookup: Lookup = system_addresses) -> Visit:
    """Visit `https://hostname/`. Never raises for what the far side does: every end is in the result."""
    seen, deadline, started = Visit(), Deadline(deadline_s), time.monotonic()
    try:
        addresses = _addresses(hostname, lookup, deadline)
        with _connected(hostname, addresses, policy, deadline, seen) as connection:
            _talk(connection, hostname, deadline, seen)
    except Stopped as stopped:
        seen.error, seen.error_code = stopped.sentence, stopped.code
    seen.took_ms = round((time.monotonic() - started) * 1000)
    return seen


def _addresses(hostname: str, lookup: Lookup, deadline: Deadline) -> list[str]:
    """Look up in a thread of its own: the system's resolver cannot be told when to stop."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(lookup(hostname))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="probe-name-lookup", daemon=True).start()
    try:
        found = answers.get(timeout=deadline.left())
    except queue.Empty:
        raise deadline.over() from None
    if isinstance(found, Exception) or not found:
        raise Stopped("no_address", f"{hostname} has no address in the DNS.")
    return found


def _connected(hostname: str, addresses: list[str], policy: Policy, deadline: Deadline, seen: Visit) -> socket.socket:
    """A connection to the first address that takes it. One refused address among them refuses the name."""
    for address in addresses:
        _check(hostname, address, policy, seen)
    for tried, address in enumerate(addresses):
        _check(hostname, address, policy, seen)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        share = deadline.left() / (len(addresses) - tried)
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(share)
        try:
            connection.connect((address, policy.port(address)))
        except OSError:
            connection.close()
            continue
        return connection
    raise Stopped("not_connected", f"{hostname} leads to {seen.address}, which takes no connection on the HTTPS port.")


def _check(hostname: str, address: str, policy: Policy, seen: Visit) -> None:
    seen.address = address
    if kind := policy.refusal(address):
        message = f"{hostname} leads to {address}, {kind}, so it was not contacted."
        raise Stopped("address_refused", f"{message} An administrator can allow a test range.")


def _talk(connection: socket.socket, hostname: str, deadline: Deadline, seen: Visit) -> None:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    # The keys of this one connection, which carries nothing of ours. The file is private and gone at the end.
    with tempfile.TemporaryDirectory(prefix="byoca-probe-") as folder:
        keylog = Path(folder) / "keys"
        context.keylog_filename = str(keylog)
        channel = Channel(connection, context, hostname, deadline)
        try:
            problem = _shake_hands(channel)
        finally:
            seen.tls_version = channel.tls.version() or ""
            _note_flight(read_flight(bytes(channel.received), keylog.read_text(encoding="ascii")), seen)
    if problem:
        _end_badly(problem, seen)
    else:
        _ask(channel, hostname, seen)


def _note_flight(flight: Flight, seen: Visit) -> None:
    seen.asked = {True: Asked.YES, False: Asked.NO, None: Asked.UNKNOWN}[flight.asks]
    seen.name_count = len(flight.names)
    seen.names = [_shown_name(name) for name in flight.names[:MOST_NAMES]]


def _shown_name(der: bytes) -> str:
    try:
        return read_name(read_element(der)).text[:300]
    except DerError:
        return f"#{der[:60].hex().upper()}"


def _shake_hands(channel: Channel) -> ssl.SSLError | None:
    """Returns the error that TLS ended with, if any. Raises Stopped for what ended below it."""
    try:
        channel.run(channel.tls.do_handshake)
    except ssl.SSLError as error:
        return error
    return None


def _end_badly(error: ssl.SSLError, seen: Visit) -> None:
    reason = (error.reason or "").upper()
    if isinstance(error, ssl.SSLCertVerificationError):
        seen.certificate_problem = error.verify_message.rstrip(".")
        raise Stopped("certificate", f"The server's certificate was not accepted: {seen.certificate_problem}.")
    if seen.asked is Asked.YES and "ALERT" in reason:
        seen.turned_away = True
        raise Stopped("turned_away", "The server ended the TLS handshake when no client certificate came.")
    if reason in NOT_TLS:
        raise Stopped("not_tls", "The HTTPS port does not speak TLS.")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        raise Stopped("closed", "The server closed the connection during the TLS handshake.")
    raise Stopped("handshake", f"The TLS handshake failed ({reason.lower().replace('_', ' ') or 'no reason given'}).")


def _ask(channel: Channel, hostname: str, seen: Visit) -> None:
    """One GET without a certificate. In TLS 1.3 a server that insists on one says so only now."""
    request = (
        f"GET / HTTP/1.1\r\nHost: {hostname}\r\nUser-Agent: byoca-portal-probe\r\nAccept: */*\r\nConnection: close"
    )
    channel.begin_answer(MOST_HEAD_BYTES)
    head, stopped = bytearray(), None
    try:
        channel.run(lambda: channel.tls.write(f"{request}\r\n\r\n".encode("ascii")))
        while b"\r\n\r\n" not in _final(head) and (part := channel.run(lambda: channel.tls.read(READ_BYTES))):
            head += part
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        pass
    except ssl.SSLError as error:
        _end_badly(error, seen)
    except Stopped as error:
        stopped = error
    _note_answer(_final(head), stopped, seen)


def _final(head: bytes | bytearray) -> bytes:
    """The head without the informational answers (1xx) that may come before the real one."""
    rest = bytes(head)
    while rest.startswith(b"HTTP/1.1 1") and b"\r\n\r\n" in rest:
        rest = rest.partition(b"\r\n\r\n")[2]
    return rest


def _note_answer(head: bytes, stopped: Stopped | None, seen: Visit) -> None:
    """A status line that came whole counts, whatever became of the rest."""
    line, end, rest = head.partition(b"\n")
    found = STATUS_LINE.fullmatch(line.removesuffix(b"\r"))
    if found and end:
        seen.status = int(found[1])
        seen.status_line = "".join(c if c.isprintable() else "?" for c in found[0].decode("latin-1"))[:200]
        ray = RAY.search(rest.partition(b"\r\n\r\n")[0] + b"\r\n")
        seen.ray = ray[1].decode("ascii") if ray else ""
        return
    if stopped:
        raise stopped
    if not head:
        raise Stopped("closed", "The server closed the connection without an answer.")
    raise Stopped("not_http", "The answer is not HTTP.")
