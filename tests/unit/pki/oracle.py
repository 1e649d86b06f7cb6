"""A second opinion: Cloudflare's rules over a DER reader and signature arithmetic of its own.

It shares no line with `apps/pki` and uses neither the cryptography library nor OpenSSL: plain Python, slow and
short. It knows only refuse or not; cautions are the gate's own business.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime

CERTIFICATE = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----(.*?)-----END (?:X509 )?CERTIFICATE-----", re.DOTALL)
RSA_HASHES = {5: "sha1", 11: "sha256", 12: "sha384", 13: "sha512"}  # under 1.2.840.113549.1.1
EC_HASHES = {"1": "sha1", "3.2": "sha256", "3.3": "sha384", "3.4": "sha512"}  # under 1.2.840.10045.4
HASHES = {f"1.2.840.113549.1.1.{arc}": name for arc, name in RSA_HASHES.items()}
HASHES |= {f"1.2.840.10045.4.{arc}": name for arc, name in EC_HASHES.items()}
# DigestInfo before the hash, RFC 8017 section 9.2 note 1.
DIGEST_INFO = {
    "sha1": "3021300906052b0e03021a05000414",
    "sha256": "3031300d060960864801650304020105000420",
    "sha384": "3041300d060960864801650304020205000430",
    "sha512": "3051300d060960864801650304020305000440",
}
# p, b, base point, order; FIPS 186-4 appendix D.1.2. All three have a = -3.
P256 = (
    0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF,
    0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
     0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5),
    0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
)  # fmt: skip
P384 = (
    2**384 - 2**128 - 2**96 + 2**32 - 1,
    0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    (0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
     0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F),
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
)  # fmt: skip
P521 = (
    2**521 - 1,
    0x051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    (0xC6858E06B70404E9CD9E3ECB662395B4429C648139053FB521F828AF606B4D3DBAA14B5E77EFE75928FE1DC127A2FFA8DE3348B3C1856A429BF97E7E31C2E5BD66,
     0x11839296A789A3BC0045C8A5FB42C7D1BD998F54449579B446817AFBD17273E662C97EE72995EF42640C550B9013FAD0761353C7086A272C24088BE94769FD16650),
    2**521 - 2**264 + 0xFA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409,
)  # fmt: skip
CURVES = {"1.2.840.10045.3.1.7": P256, "1.3.132.0.34": P384, "1.3.132.0.35": P521}
Point = tuple[int, int] | None


class NotDer(Exception):
    """The bytes break the encoding rules."""


def would_be_refused(data: bytes, now: datetime) -> bool:
    """Whether nothing in the upload could go up."""
    ders = certificates(data)
    return not ders or len(ders) > len(set(ders)) or all(reasons(der, now) for der in ders)


def certificates(data: bytes) -> list[bytes]:
    if b"-----BEGIN" not in data:
        return [data]
    bodies = CERTIFICATE.findall(data)
    if b"PRIVATE KEY" in data or data.count(b"-----BEGIN ") != len(bodies):
        return []
    try:
        return [base64.b64decode(b"".join(body.split()), validate=True) for body in bodies]
    except binascii.Error:
        return []


def reasons(der: bytes, now: datetime) -> list[str]:
    """Why the certificate is refused, in words of this module; empty when it is not."""
    try:
        return list(_reasons(der, now))
    except (NotDer, ValueError, IndexError):
        return ["not a certificate"]


def _reasons(der: bytes, now: datetime) -> Iterator[str]:
    (whole,) = _list(der, 0, len(der))
    signed, outer, signature = _inside(der, whole)
    version, fields = 0, _inside(der, signed)
    if fields[0][0] == 0xA0:
        (number,) = _inside(der, fields.pop(0))
        version = _number(der, number)
    serial, inner, issuer, validity, subject, spki, *rest = fields
    _number(der, serial)
    algorithm = _oid(der, _inside(der, inner)[0])
    if _raw(der, inner) != _raw(der, outer):
        yield "two algorithms"
    if algorithm not in HASHES:
        yield "algorithm"
    since, until = (_moment(tag, der[start:end]) for tag, start, end, _ in _inside(der, validity))
    if until < since or until < now:
        yield "dates"
    if version != 2:
        yield "version"
    extensions = _extensions(der, rest)
    if not extensions.get("2.5.29.19"):
        yield "no CA"
    key = _key(der, spki)
    if key is None:
        yield "key"
    ski, aki = extensions.get("2.5.29.14"), extensions.get("2.5.29.35")
    a_root = _raw(der, issuer) == _raw(der, subject) and (not ski or not aki or ski == aki)
    same = _raw(der, inner) == _raw(der, outer)
    if a_root and key and same and algorithm in HASHES:
        bits = der[signature[1] + 1 : signature[2]]
        if not _holds(key, HASHES[algorithm], _raw(der, signed), bits, is_ec="10045" in algorithm):
            yield "self-signature"


Element = tuple[int, int, int, int]  # tag, where its value starts, where it ends, where the tag stands


def _list(der: bytes, at: int, end: int) -> list[Element]:
    found = []
    while at < end:
        tag, length, start = der[at], der[at + 1], at + 2
        if length > 127:
            size = length - 128
            length, start = int.from_bytes(der[start : start + size], "big"), start + size
            if size == 0 or length < 128 or length < 1 << 8 * (size - 1):
                raise NotDer
        if tag & 31 == 31 or start + length > end:
            raise NotDer
        found.append((tag, start, start + length, at))
        at = start + length
    return found


def _inside(der: bytes, element: Element) -> list[Element]:
    return _list(der, element[1], element[2])


def _raw(der: bytes, element: Element) -> bytes:
    return der[element[3] : element[2]]


def _number(der: bytes, element: Element) -> int:
    value = der[element[1] : element[2]]
    if element[0] != 2 or not value or (len(value) > 1 and value[0] in {0, 255} and value[0] >> 7 == value[1] >> 7):
        raise NotDer
    return int.from_bytes(value, "big", signed=True)


def _oid(der: bytes, element: Element) -> str:
    arcs, number = [], 0
    for byte in der[element[1] : element[2]]:
        number = number * 128 + byte % 128
        if byte < 128:
            arcs.append(number)
            number = 0
    top = min(arcs[0] // 40, 2)
    return ".".join(map(str, (top, arcs[0] - 40 * top, *arcs[1:])))


def _moment(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii")
    if tag == 0x17:
        text = ("19" if text >= "5" else "20") + text
    if not re.fullmatch(r"\d{14}Z", text):
        raise NotDer
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _extensions(der: bytes, rest: list[Element]) -> dict[str, bytes]:
    """By OID: what matters of each. Basic Constraints count only when they say CA:TRUE."""
    found: dict[str, bytes] = {}
    for listed in (_inside(der, part)[0] for part in rest if part[0] == 0xA3):
        for extension in _inside(der, listed):
            oid, *critical, value = _inside(der, extension)
            if any(der[flag[1] : flag[2]] != b"\xff" for flag in critical):
                raise NotDer
            name, body = _oid(der, oid), der[value[1] : value[2]]
            if name in found:
                raise NotDer
            found[name] = _worth(name, body)
    return found


def _worth(name: str, body: bytes) -> bytes:
    (value,) = _list(body, 0, len(body)) if name in {"2.5.29.14", "2.5.29.15", "2.5.29.19", "2.5.29.35", "2.5.29.37"} \
        else [(0, 0, len(body), 0)]  # fmt: skip
    parts = _inside(body, value) if value[0] == 0x30 else []
    if name == "2.5.29.19":
        is_ca = bool(parts and parts[0][0] == 1)
        if is_ca and body[parts[0][1] : parts[0][2]] != b"\xff":
            raise NotDer
        if not is_ca and parts:
            raise NotDer
        return b"CA" if is_ca else b""
    if name == "2.5.29.35":
        return next((body[start:end] for tag, start, end, _ in parts if tag == 0x80), b"")
    if name == "2.5.29.37" and not parts:
        raise NotDer
    return body[value[1] : value[2]]


def _key(der: bytes, spki: Element) -> tuple[int, ...] | None:
    """RSA: modulus, exponent. EC: point and which curve. None when the key is not accepted."""
    algorithm, bits = _inside(der, spki)
    oid, *parameters = _inside(der, algorithm)
    content = der[bits[1] + 1 : bits[2]]
    if _oid(der, oid) == "1.2.840.113549.1.1.1":
        modulus, exponent = (_number(content, part) for part in _inside(content, _list(content, 0, len(content))[0]))
        sound = 1024 <= modulus.bit_length() <= 8192 and modulus % 2 and exponent > 2 and exponent % 2
        return (modulus, exponent) if sound and modulus > 0 else None
    if _oid(der, oid) != "1.2.840.10045.2.1" or not parameters or parameters[0][0] != 6:
        return None
    curve = CURVES.get(_oid(der, parameters[0]))
    if curve is None or content[0] != 4:
        return None
    half = len(content) // 2
    x, y = int.from_bytes(content[1 : half + 1], "big"), int.from_bytes(content[half + 1 :], "big")
    on_curve = (y * y - (x * x * x - 3 * x + curve[1])) % curve[0] == 0
    return (x, y, list(CURVES.values()).index(curve)) if on_curve else None


def _holds(key: tuple[int, ...], hash_name: str, signed: bytes, signature: bytes, *, is_ec: bool) -> bool:
    digest = hashlib.new(hash_name, signed, usedforsecurity=False).digest()
    if is_ec != (len(key) == 3):
        return False
    if not is_ec:
        size = (key[0].bit_length() + 7) // 8
        info = bytes.fromhex(DIGEST_INFO[hash_name]) + digest
        padded = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
        return pow(int.from_bytes(signature, "big"), key[1], key[0]) == int.from_bytes(padded, "big")
    prime, _, base, order = list(CURVES.values())[key[2]]
    r, s = (_number(signature, part) for part in _inside(signature, _list(signature, 0, len(signature))[0]))
    if not (0 < r < order and 0 < s < order):
        return False
    hashed = int.from_bytes(digest, "big") >> max(0, 8 * len(digest) - order.bit_length())
    inverse = pow(s, -1, order)
    point = _plus(
        _times(hashed * inverse % order, base, prime), _times(r * inverse % order, (key[0], key[1]), prime), prime
    )
    return point is not None and point[0] % order == r


def _times(factor: int, point: Point, prime: int) -> Point:
    total: Point = None
    while factor:
        if factor & 1:
            total = _plus(total, point, prime)
        point, factor = _plus(point, point, prime), factor >> 1
    return total


def _plus(one: Point, two: Point, prime: int) -> Point:
    if one is None or two is None:
        return one or two
    if one[0] == two[0] and (one[1] + two[1]) % prime == 0:
        return None
    if one == two:
        slope = (3 * one[0] * one[0] - 3) * pow(2 * one[1], -1, prime) % prime
    else:
        slope = (two[1] - one[1]) * pow(two[0] - one[0], -1, prime) % prime
    x = (slope * slope - one[0] - two[0]) % prime
    return x, (slope * (one[0] - x) - one[1]) % prime
