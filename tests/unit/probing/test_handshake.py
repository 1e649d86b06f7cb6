"""Reading CertificateRequest from a server's bytes, built here by the RFCs. Real servers: `test_visit.py`."""

from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from apps.probing.handshake import Flight, read_flight
from tests.certs import make_ca

NAMES = tuple(make_ca(f"Root {number}").cert.subject.public_bytes() for number in (1, 2))
SECRET = bytes(range(48))


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def message(kind: int, body: bytes = b"") -> bytes:
    return bytes([kind]) + vector(3, body)


def record(kind: int, data: bytes) -> bytes:
    return struct.pack("!BHH", kind, 0x0303, len(data)) + data


def hello(suite: int = 0xC02F, version: bytes = b"") -> bytes:
    extensions = struct.pack("!H", 43) + vector(2, version) if version else b""
    body = b"\x03\x03" + bytes(32) + vector(1, b"") + struct.pack("!H", suite) + b"\0"
    return message(2, body + (vector(2, extensions) if extensions else b""))


def listed(names: tuple[bytes, ...]) -> bytes:
    return vector(2, b"".join(vector(2, name) for name in names))


def request_12(names: tuple[bytes, ...] = NAMES) -> bytes:
    return message(13, vector(1, b"\x40") + vector(2, b"\x04\x03") + listed(names))


def request_13(names: tuple[bytes, ...] = NAMES) -> bytes:
    extensions = struct.pack("!H", 13) + vector(2, vector(2, b"\x04\x03"))
    if names:
        extensions += struct.pack("!H", 47) + vector(2, listed(names))
    return message(13, vector(1, b"") + vector(2, extensions))


def keylog(secret: bytes) -> str:
    return f"# a comment\nCLIENT_RANDOM 00 11\nSERVER_HANDSHAKE_TRAFFIC_SECRET {'00' * 32} {secret.hex()}\n"


SUITES = {
    0x1301: (AESGCM, 16, SHA256, 32),
    0x1302: (AESGCM, 32, SHA384, 48),
    0x1303: (ChaCha20Poly1305, 32, SHA256, 32),
}


def sealed(suite: int, *inner: bytes, kind: int = 22, padding: int = 0) -> bytes:
    """Encrypted records as a TLS 1.3 server sends them, one per part."""
    cipher_of, size, digest, secret_size = SUITES[suite]
    secret = SECRET[:secret_size]

    def expand(label: bytes, length: int) -> bytes:
        info = struct.pack("!H", length) + vector(1, b"tls13 " + label) + b"\0"
        return HKDFExpand(digest(), length, info).derive(secret)

    cipher, iv, out = cipher_of(expand(b"key", size)), int.from_bytes(expand(b"iv", 12), "big"), b""
    for number, part in enumerate(inner):
        clear = part + bytes([kind]) + bytes(padding)
        header = struct.pack("!BHH", 23, 0x0303, len(clear) + 16)
        out += header + cipher.encrypt((iv ^ number).to_bytes(12, "big"), clear, header)
    return out


def opened(suite: int, data: bytes) -> Flight:
    return read_flight(data, keylog(SECRET[: SUITES[suite][3]]))


def test_tls_12_asks_and_names_its_cas() -> None:
    data = record(22, hello() + message(11, b"x" * 40)) + record(22, request_12() + message(14))
    assert read_flight(data) == Flight(True, NAMES)


def test_a_message_may_be_cut_over_records() -> None:
    whole = hello() + request_12() + message(14)
    data = b"".join(record(22, whole[at : at + 7]) for at in range(0, len(whole), 7))
    assert read_flight(data) == Flight(True, NAMES)


def test_tls_12_that_names_nobody() -> None:
    assert read_flight(record(22, hello() + request_12(()) + message(14))) == Flight(True)


def test_no_is_said_only_at_the_end_of_the_servers_part() -> None:
    assert read_flight(record(22, hello() + message(11))) == Flight(None)
    assert read_flight(record(22, hello() + message(11) + message(14))) == Flight(False)
    # What follows in TLS 1.2 is encrypted: it must not be read as a message.
    assert read_flight(record(22, hello() + message(14)) + record(20, b"\1") + record(22, request_12())) == Flight(
        False
    )


@pytest.mark.parametrize("suite", SUITES)
def test_tls_13_asks_and_names_its_cas(suite: int) -> None:
    flight = message(8, b"\0\0") + request_13() + message(11) + message(15) + message(20, bytes(32))
    data = record(22, hello(suite, b"\x03\x04")) + record(20, b"\1") + sealed(suite, flight[:9], flight[9:], padding=3)
    assert opened(suite, data) == Flight(True, NAMES)


def test_tls_13_after_a_retry_request() -> None:
    twice = record(22, hello(0x1301, b"\x03\x04")) + record(20, b"\1") + record(22, hello(0x1301, b"\x03\x04"))
    assert opened(0x1301, twice + sealed(0x1301, request_13(()))) == Flight(True)


def test_tls_13_that_does_not_ask() -> None:
    start = record(22, hello(0x1301, b"\x03\x04"))
    assert opened(0x1301, start + sealed(0x1301, message(8), message(20))) == Flight(False)
    assert opened(0x1301, start + sealed(0x1301, message(8), message(11))) == Flight(None)


def test_tls_13_stops_at_what_another_key_sealed() -> None:
    start = record(22, hello(0x1301, b"\x03\x04")) + sealed(0x1301, message(8), message(20))
    assert opened(0x1301, start + record(23, bytes(40))) == Flight(False)
    assert opened(0x1301, start + sealed(0x1301, request_13())) == Flight(False)


def test_an_alert_inside_ends_the_reading() -> None:
    assert opened(0x1301, record(22, hello(0x1301, b"\x03\x04")) + sealed(0x1301, b"\2\x28", kind=21)) == Flight(None)


def test_tls_13_without_its_key_is_unknown() -> None:
    data = record(22, hello(0x1301, b"\x03\x04")) + sealed(0x1301, message(8), request_13(), message(20))
    assert read_flight(data) == Flight(None)
    assert read_flight(data, keylog(bytes(32))) == Flight(None)
    unknown_suite = record(22, hello(0x1304, b"\x03\x04")) + record(23, bytes(40))
    assert read_flight(unknown_suite, keylog(SECRET[:32])) == Flight(None)


def test_names_that_end_early_are_unknown() -> None:
    cut = message(13, vector(1, b"\x40") + vector(2, b"") + b"\x00\x10\x00\x0e")
    assert read_flight(record(22, hello() + cut + message(14))) == Flight(None)


def test_no_bytes_and_other_protocols_are_unknown() -> None:
    assert read_flight(b"") == Flight(None)
    assert read_flight(b"HTTP/1.1 400 Bad Request\r\n\r\n") == Flight(None)
    assert read_flight(record(22, message(2, b"\3"))) == Flight(None)


@given(st.binary(max_size=400), st.binary(max_size=80))
def test_no_bytes_make_it_fail(noise: bytes, key: bytes) -> None:
    log = f"SERVER_HANDSHAKE_TRAFFIC_SECRET 00 {key.hex()}"
    for data in (noise, record(22, noise), record(22, hello(0x1301, b"\x03\x04")) + record(23, noise)):
        assert isinstance(read_flight(data, log), Flight)
