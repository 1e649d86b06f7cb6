"""Certificates put together byte by byte: shapes that no builder agrees to write. Signed for real."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.certs import make_key

ECDSA_SHA256 = "1.2.840.10045.4.3.2"
DEFAULT_DATES = (b"\x17\x0d200101000000Z", b"\x17\x0d490101000000Z")
BASIC_CONSTRAINTS = ("2.5.29.19", True, bytes.fromhex("30030101ff"))


def tlv(tag: int, *values: bytes) -> bytes:
    """One DER element."""
    body = b"".join(values)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + len(body).to_bytes(size, "big") + body


def oid(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    body = b""
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        body += bytes(reversed(groups))
    return tlv(6, body)


def integer(number: int) -> bytes:
    return tlv(2, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def name(*parts: tuple[str, int, bytes]) -> bytes:
    """A Name of single-valued parts: (OID, string tag, bytes)."""
    return tlv(0x30, *(tlv(0x31, tlv(0x30, oid(kind), tlv(tag, value))) for kind, tag, value in parts))


def algorithm(dotted: str, parameters: bytes = b"") -> bytes:
    return tlv(0x30, oid(dotted), parameters)


def rsa_spki(modulus: int, exponent: int) -> bytes:
    key = tlv(0x30, integer(modulus), integer(exponent))
    return tlv(0x30, algorithm("1.2.840.113549.1.1.1", b"\x05\x00"), tlv(3, b"\0", key))


def raw_certificate(
    *,
    key: Any = None,
    spki: bytes | None = None,
    serial: bytes = b"\x07",
    signature_oid: str = ECDSA_SHA256,
    outer_oid: str | None = None,
    subject: bytes | None = None,
    issuer: bytes | None = None,
    dates: tuple[bytes, bytes] = DEFAULT_DATES,
    extensions: Sequence[tuple[str, bool, bytes]] = (BASIC_CONSTRAINTS,),
    version: int = 2,
    hash_algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    """DER of a certificate; `version` is the number on the wire (2 means v3)."""
    key = key or make_key("ec256")
    subject = name(("2.5.4.3", 0x0C, b"Raw")) if subject is None else subject
    null = b"\x05\x00" if isinstance(key, rsa.RSAPrivateKey) else b""
    listed = tlv(0x30, *(_extension(*extension) for extension in extensions))
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = tlv(
        0x30,
        tlv(0xA0, integer(version)) if version else b"",
        tlv(2, serial),
        algorithm(signature_oid, null),
        subject if issuer is None else issuer,
        tlv(0x30, *dates),
        subject,
        spki or public,
        tlv(0xA3, listed) if extensions else b"",
    )
    signature = _sign(key, signed, hash_algorithm or hashes.SHA256())
    return tlv(0x30, signed, algorithm(outer_oid or signature_oid, null), tlv(3, b"\0", signature))


def armour(der: bytes, label: str = "CERTIFICATE") -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n"


def _extension(dotted: str, critical: bool, value: bytes) -> bytes:
    return tlv(0x30, oid(dotted), b"\x01\x01\xff" if critical else b"", tlv(4, value))


def _sign(key: Any, signed: bytes, digest: hashes.HashAlgorithm) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), digest)
    return key.sign(signed, ec.ECDSA(digest))
