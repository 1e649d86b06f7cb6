"""What a TLS server said in its handshake, read from the bytes it sent: does it ask for a client certificate?

Python's ssl does not tell. In TLS 1.2 (RFC 5246, 7.4.4) the CertificateRequest travels in clear. In TLS 1.3
(RFC 8446, 4.3.2) it is encrypted, under a key that OpenSSL writes to `SSLContext.keylog_filename`, a documented
setting; section 7.3 of the RFC says how to use it. So no private interface and no second TLS library is needed.

The bytes come from a stranger. Whatever does not parse reads as unknown, never as no.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

HANDSHAKE, APPLICATION_DATA = 22, 23
SERVER_HELLO, CERTIFICATE_REQUEST, SERVER_HELLO_DONE, FINISHED = 2, 13, 14, 20
SUPPORTED_VERSIONS, CERTIFICATE_AUTHORITIES = 43, 47
TLS_1_3 = b"\x03\x04"
SUITES: dict[int, tuple[type[AESGCM] | type[ChaCha20Poly1305], int, type[HashAlgorithm]]] = {
    0x1301: (AESGCM, 16, SHA256),
    0x1302: (AESGCM, 32, SHA384),
    0x1303: (ChaCha20Poly1305, 32, SHA256),
}


@dataclass(frozen=True)
class Flight:
    """`asks` is None when the server's part was not seen to its end. `names` are DER distinguished names."""

    asks: bool | None
    names: tuple[bytes, ...] = ()


class _Short(ValueError):
    """The bytes end before what they announce."""


class _Bytes:
    """Reads numbers and length-prefixed parts from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) < size:
            raise _Short
        self._at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    @property
    def left(self) -> bool:
        return self._at < len(self._data)


def read_flight(data: bytes, keylog: str = "") -> Flight:
    """Read the server's bytes from its first one. `keylog` is the NSS key log of the same connection."""
    clear, sealed = bytearray(), []
    for kind, header, body in _records(data):
        if kind == HANDSHAKE:
            clear += body
        elif kind == APPLICATION_DATA:
            sealed.append((header, body))
    messages = list(_messages(bytes(clear), SERVER_HELLO_DONE))
    last, tls13 = SERVER_HELLO_DONE, False
    try:
        hellos = [_read_hello(body) for kind, body in messages if kind == SERVER_HELLO]
        if hellos and hellos[-1][1] == TLS_1_3:
            last, tls13 = FINISHED, True
            messages = list(_messages(_opened(sealed, hellos[-1][0], keylog), FINISHED))
        for kind, body in messages:
            if kind == CERTIFICATE_REQUEST:
                return Flight(True, _names_13(body) if tls13 else _names_12(body))
    except ValueError:
        return Flight(None)
    return Flight(False if any(kind == last for kind, _ in messages) else None)


def _records(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    reader = _Bytes(data)
    try:
        while reader.left:
            header = reader.take(5)
            yield header[0], header, reader.take(int.from_bytes(header[3:], "big"))
    except _Short:
        return


def _messages(data: bytes, last: int) -> Iterator[tuple[int, bytes]]:
    """Handshake messages up to the one of type `last`; what follows it in clear is encrypted and looks like none."""
    reader = _Bytes(data)
    try:
        while reader.left:
            kind, body = reader.number(1), reader.vector(3)
            yield kind, body
            if kind == last:
                return
    except _Short:
        return


def _read_hello(body: bytes) -> tuple[int, bytes]:
    """Cipher suite and negotiated version."""
    reader = _Bytes(body)
    version = reader.take(2)
    reader.take(32)
    reader.vector(1)
    suite = reader.number(2)
    reader.take(1)
    extensions = _extensions(reader.vector(2)) if reader.left else {}
    return suite, extensions.get(SUPPORTED_VERSIONS, version)


def _extensions(data: bytes) -> dict[int, bytes]:
    reader, found = _Bytes(data), {}
    while reader.left:
        kind = reader.number(2)
        found[kind] = reader.vector(2)
    return found


def _names_12(body: bytes) -> tuple[bytes, ...]:
    reader = _Bytes(body)
    reader.vector(1)
    reader.vector(2)
    return _names(reader.vector(2))


def _names_13(body: bytes) -> tuple[bytes, ...]:
    reader = _Bytes(body)
    reader.vector(1)
    listed = _extensions(reader.vector(2)).get(CERTIFICATE_AUTHORITIES)
    return _names(_Bytes(listed).vector(2)) if listed else ()


def _names(data: bytes) -> tuple[bytes, ...]:
    reader, found = _Bytes(data), []
    while reader.left:
        found.append(reader.vector(2))
    return tuple(found)


def _opened(sealed: list[tuple[bytes, bytes]], suite: int, keylog: str) -> bytes:
    """The server's encrypted handshake in clear, as far as its key goes. Raises ValueError without a key."""
    secret = _secret(keylog)
    if suite not in SUITES or secret is None:
        raise ValueError("no key for these records")
    cipher_of, key_length, digest = SUITES[suite]
    cipher = cipher_of(_expanded(secret, b"key", key_length, digest()))
    iv = int.from_bytes(_expanded(secret, b"iv", 12, digest()), "big")
    clear = bytearray()
    for number, (header, body) in enumerate(sealed):
        try:
            inner = cipher.decrypt((iv ^ number).to_bytes(12, "big"), body, header).rstrip(b"\0")
        except InvalidTag:
            break  # After its Finished the server uses another key.
        if inner[-1:] != bytes([HANDSHAKE]):
            break
        clear += inner[:-1]
    return bytes(clear)


def _secret(keylog: str) -> bytes | None:
    for line in keylog.splitlines():
        label, _, rest = line.partition(" ")
        if label == "SERVER_HANDSHAKE_TRAFFIC_SECRET":
            return bytes.fromhex(rest.rpartition(" ")[2])
    return None


def _expanded(secret: bytes, label: bytes, length: int, digest: HashAlgorithm) -> bytes:
    """HKDF-Expand-Label of RFC 8446, 7.1, with an empty context."""
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0"
    return HKDFExpand(digest, length, info).derive(secret)
