"""One certificate at a time: every check, with the verdict it leads to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from apps.pki.algorithms import ACCEPTED
from apps.pki.certificate import read_certificate
from apps.pki.checks import CHECKS, check_certificate
from apps.pki.findings import Severity
from apps.pki.inspection import inspect
from apps.pki.rsa_numbers import has_close_primes, has_roca_fingerprint, has_small_factor
from tests.certs import CLIENT_AUTH, SERVER_AUTH, Made, make_ca, make_key, make_leaf
from tests.unit.pki import raw
from tests.unit.pki.conftest import Judge, finding, only

REFUSE, CAUTION, NOTE, PASSED = Severity.REFUSE, Severity.CAUTION, Severity.NOTE, Severity.PASSED
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
PRIME_A = (1 << 1023) + 1155  # the smallest primes above 2^1023
PRIME_B = (1 << 1023) + 1493

EXPLICIT = raw.tlv(
    0x30,
    raw.integer(1),
    raw.tlv(0x30, raw.oid("1.2.840.10045.1.1"), raw.integer(7)),
    raw.tlv(0x30, raw.tlv(4, b"a"), raw.tlv(4, b"b")),
    raw.tlv(4, b"g"),
    raw.integer(7),
)


def der_of(**options: object) -> bytes:
    return make_ca(**options).der  # type: ignore[arg-type]


def signed(oid: str, digest: hashes.HashAlgorithm, kind: str) -> bytes:
    return raw.raw_certificate(key=make_key(kind), signature_oid=oid, hash_algorithm=digest)


def rsa_spki(modulus: int, exponent: int = 65537) -> bytes:
    return raw.raw_certificate(spki=raw.rsa_spki(modulus, exponent))


def ec_spki(parameters: bytes) -> bytes:
    point = b"\0\4" + b"\1" * 64
    spki = raw.tlv(0x30, raw.algorithm("1.2.840.10045.2.1", parameters), raw.tlv(3, point))
    return raw.raw_certificate(spki=spki)


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    return raw.raw_certificate(extensions=[raw.BASIC_CONSTRAINTS, (oid, critical, value)])


def name_constraints() -> bytes:
    allowed = x509.NameConstraints([x509.DNSName("example.com")], None)
    return der_of(extensions=[(allowed, True)])


def cyrillic() -> bytes:
    return der_of(subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "p\u0430ypal")]))


SHA1 = hashes.SHA1()  # noqa: S303 - on Cloudflare's list
OFTEN = ("1.2.840.113549.1.1.5", "1.2.840.10045.4.1")
ROWS: dict[str, tuple[Callable[[], bytes], str, Severity, str]] = {
    # row of the matrix: how to make it, the check that speaks, with which severity, the verdict
    "v3 root": (der_of, "is_ca", PASSED, "accept"),
    "v1, no extensions": (lambda: raw.raw_certificate(version=0, extensions=()), "is_ca", REFUSE, "refuse"),
    "extensions in v1": (lambda: raw.raw_certificate(version=0), "is_ca", REFUSE, "refuse"),
    "no constraints": (lambda: der_of(ca=None), "is_ca", REFUSE, "refuse"),
    "leaf": (lambda: make_leaf("x", issuer=make_ca()).der, "is_ca", REFUSE, "refuse"),
    "constraints not critical": (
        lambda: der_of(critical=False),
        *("basic_constraints_critical", CAUTION, "caution"),
    ),
    "RSA SHA-1": (lambda: signed(OFTEN[0], SHA1, "rsa2048"), "signature_hash", CAUTION, "caution"),
    "ECDSA SHA-1": (lambda: signed(OFTEN[1], SHA1, "ec256"), "signature_hash", CAUTION, "caution"),
    "RSA SHA-256": (lambda: der_of(key="rsa2048"), "signature_algorithm", PASSED, "accept"),
    "RSA SHA-384": (lambda: der_of(key="rsa2048", hash_name="sha384"), "signature_hash", PASSED, "accept"),
    "RSA SHA-512": (lambda: der_of(key="rsa2048", hash_name="sha512"), "signature_hash", PASSED, "accept"),
    "ECDSA SHA-384": (lambda: der_of(key="ec384", hash_name="sha384"), "signature_hash", PASSED, "accept"),
    "ECDSA SHA-512": (lambda: der_of(key="ec521", hash_name="sha512"), "signature_hash", PASSED, "accept"),
    "SHA-224": (lambda: der_of(hash_name="sha224"), "signature_algorithm", REFUSE, "refuse"),
    "SHA3": (lambda: der_of(hash_name="sha3-256"), "signature_algorithm", REFUSE, "refuse"),
    "RSA-PSS": (lambda: der_of(key="rsa2048", pss=True), "signature_algorithm", REFUSE, "refuse"),
    "Ed25519": (lambda: der_of(key="ed25519"), "key_type", REFUSE, "refuse"),
    "Ed448": (lambda: der_of(key="ed448"), "signature_algorithm", REFUSE, "refuse"),
    "DSA": (lambda: der_of(key="dsa2048"), "key_type", REFUSE, "refuse"),
    "MD5": (
        lambda: raw.raw_certificate(signature_oid="1.2.840.113549.1.1.4"),
        *("signature_algorithm", REFUSE, "refuse"),
    ),
    "unknown algorithm": (
        lambda: raw.raw_certificate(signature_oid="1.2.3.4.5"),
        *("signature_algorithm", REFUSE, "refuse"),
    ),
    "self-signature unchecked": (
        lambda: raw.raw_certificate(signature_oid="1.2.3.4.5"),
        *("self_signature", NOTE, "refuse"),
    ),
    "self-signature of another key": (
        lambda: raw.raw_certificate(spki=raw.rsa_spki(PRIME_A * PRIME_B, 65537)),
        *("self_signature", REFUSE, "refuse"),
    ),
    "intermediate": (lambda: der_of(issuer=make_ca("Above")), "self_signature", NOTE, "accept"),
    "RSA 1024": (lambda: der_of(key="rsa1024"), "key_strength", CAUTION, "caution"),
    "RSA 1023": (lambda: rsa_spki((1 << 1022) + 9), "key_strength", REFUSE, "refuse"),
    "RSA 8193": (lambda: rsa_spki((1 << 8192) + 9), "key_strength", REFUSE, "refuse"),
    "RSA exponent 1": (lambda: rsa_spki(PRIME_A * PRIME_B, 1), "key_exponent", REFUSE, "refuse"),
    "RSA exponent even": (lambda: rsa_spki(PRIME_A * PRIME_B, 4), "key_exponent", REFUSE, "refuse"),
    "RSA exponent 3": (lambda: der_of(key="rsa2048e3"), "key_exponent", CAUTION, "caution"),
    "RSA exponent huge": (lambda: rsa_spki(PRIME_A * PRIME_B, 2**33 + 1), "key_exponent", CAUTION, "refuse"),
    "RSA modulus even": (lambda: rsa_spki(1 << 2047), "key_modulus", REFUSE, "refuse"),
    "RSA modulus negative": (lambda: rsa_spki(-(1 << 2047) + 1), "key_modulus", REFUSE, "refuse"),
    "RSA small factor": (lambda: rsa_spki(((1 << 2046) + 1) * 3), "key_modulus", CAUTION, "refuse"),
    "RSA close primes": (lambda: rsa_spki(PRIME_A * PRIME_B), "key_modulus", CAUTION, "refuse"),
    "RSA ROCA": (lambda: rsa_spki(roca_modulus()), "key_modulus", CAUTION, "refuse"),
    "P-256": (der_of, "key_strength", PASSED, "accept"),
    "P-384": (lambda: der_of(key="ec384"), "key_type", PASSED, "accept"),
    "P-521": (lambda: der_of(key="ec521"), "key_type", PASSED, "accept"),
    "P-224": (lambda: der_of(key="ec224"), "key_type", REFUSE, "refuse"),
    "secp256k1": (lambda: der_of(key="secp256k1"), "key_type", REFUSE, "refuse"),
    "brainpool": (lambda: ec_spki(raw.oid("1.3.36.3.3.2.8.1.1.7")), "key_type", REFUSE, "refuse"),
    "unknown curve": (lambda: ec_spki(raw.oid("1.2.3")), "key_type", REFUSE, "refuse"),
    "explicit parameters": (lambda: ec_spki(EXPLICIT), "key_type", REFUSE, "refuse"),
    "implicit curve": (lambda: ec_spki(b"\x05\x00"), "key_type", REFUSE, "refuse"),
    "point off the curve": (lambda: ec_spki(raw.oid("1.2.840.10045.3.1.7")), "key_type", REFUSE, "refuse"),
    "serial 0": (lambda: raw.raw_certificate(serial=b"\0"), "serial_number", CAUTION, "caution"),
    "serial negative": (lambda: raw.raw_certificate(serial=b"\x80"), "serial_number", CAUTION, "caution"),
    "serial long": (lambda: raw.raw_certificate(serial=b"\1" * 21), "serial_number", CAUTION, "caution"),
    "expired": (
        lambda: der_of(not_before=NOW - 9 * DAY, not_after=NOW - DAY),
        *("valid_now", REFUSE, "refuse"),
    ),
    "not yet valid": (lambda: der_of(not_before=NOW + DAY), "valid_now", CAUTION, "caution"),
    "year 9999": (
        lambda: raw.raw_certificate(dates=(raw.DEFAULT_DATES[0], b"\x18\x0f99991231235959Z")),
        *("lifetime", CAUTION, "caution"),
    ),
    "short": (lambda: der_of(not_after=NOW + 119 * DAY), "lifetime", CAUTION, "caution"),
    "ends before it begins": (
        lambda: raw.raw_certificate(dates=raw.DEFAULT_DATES[::-1]),
        *("valid_now", REFUSE, "refuse"),
    ),
    "long dates before 2050": (
        lambda: raw.raw_certificate(dates=(raw.DEFAULT_DATES[0], b"\x18\x0f20490101000000Z")),
        *("date_form", CAUTION, "caution"),
    ),
    "path length 0": (lambda: der_of(path_length=0), "path_length", NOTE, "accept"),
    "path length 2": (lambda: der_of(path_length=2), "path_length", PASSED, "accept"),
    "name constraints": (name_constraints, "name_constraints", CAUTION, "caution"),
    "EKU server only": (
        lambda: der_of(extended_key_usage=(SERVER_AUTH,)),
        *("extended_key_usage", CAUTION, "caution"),
    ),
    "EKU client": (
        lambda: der_of(extended_key_usage=(SERVER_AUTH, CLIENT_AUTH)),
        *("extended_key_usage", PASSED, "accept"),
    ),
    "KU without signing": (lambda: der_of(key_usage=("crl_sign",)), "key_usage", CAUTION, "caution"),
    "KU missing": (lambda: der_of(key_usage=None), "key_usage", NOTE, "accept"),
    "unknown critical": (
        lambda: extension("1.2.3.4", b"\5\0", critical=True),
        *("critical_extensions", CAUTION, "caution"),
    ),
    "unknown, not critical": (lambda: extension("1.2.3.4", b"\5\0"), "is_ca", PASSED, "accept"),
    "no SKI": (lambda: der_of(ski=False), "subject_key_identifier", NOTE, "accept"),
    "empty subject": (lambda: raw.raw_certificate(subject=raw.name()), "is_ca", PASSED, "accept"),
    "script in subject": (lambda: der_of(name="<script>=HYPERLINK()"), "is_ca", PASSED, "accept"),
    "bidi in subject": (lambda: der_of(name="a\u202eb"), "subject_text", NOTE, "accept"),
    "mixed scripts": (cyrillic, "subject_text", NOTE, "accept"),
}


def roca_modulus() -> int:
    """A number with the fingerprint: a power of 65537 modulo the product of small primes, moved up to 2048 bits."""
    product = 1
    for prime in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97):
        product *= prime
    for prime in (101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167):
        product *= prime
    return pow(65537, 12345, product) + product * (((1 << 2047) // product) + 1)


@pytest.mark.parametrize("row", ROWS)
def test_verdict_of(row: str, judge: Judge) -> None:
    make, check, severity, verdict = ROWS[row]
    inspection = judge(make())
    told = finding(inspection, check)
    assert (told.severity, inspection.verdict) == (severity, verdict)
    assert told.citation.startswith("https://")
    assert not told.message.endswith(".")
    if severity is not PASSED:
        assert told.detail.endswith(".")


def test_a_good_root_passes_every_check_in_the_fixed_order(root: Made, judge: Judge) -> None:
    inspection = judge(root.pem)
    assert only(inspection, PASSED) == [
        *("one_certificate", "is_ca", "basic_constraints_critical", "signature_algorithm", "signature_hash"),
        *("self_signature", "key_type", "key_strength", "valid_now", "lifetime", "path_length", "key_usage"),
        *("serial_number", "subject_key_identifier"),
    ]


def test_a_check_is_named_after_its_function(rsa_root: Made) -> None:
    facts = read_certificate(rsa_root.der)
    for check in CHECKS:
        told = check(facts, NOW)
        assert told is None or told.check == check.__name__


def test_all_reasons_come_at_once(judge: Judge) -> None:
    leaf = make_leaf("x", issuer=make_ca(key="ed25519"), key="ec224", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert only(judge(leaf.pem), REFUSE) == ["is_ca", "signature_algorithm", "key_type", "valid_now"]


def test_a_changed_bit_breaks_the_self_signature(root: Made, judge: Judge) -> None:
    changed = root.der.replace(b"Northwind", b"Northwine")
    assert only(judge(changed), REFUSE) == ["self_signature"]


def test_sha1_roots_are_checked_too() -> None:
    der = signed(OFTEN[0], SHA1, "rsa2048")
    assert read_certificate(der).self_signature == "valid"
    assert read_certificate(der.replace(b"Raw", b"Rau")).self_signature == "invalid"


class UnknownHash(hashes.SHA256):
    """A hash that the library does not have, as SHA-1 may be one day."""

    name = "unknown"


def test_cannot_check_is_not_bad(monkeypatch: pytest.MonkeyPatch, root: Made, judge: Judge) -> None:
    monkeypatch.setitem(ACCEPTED, raw.ECDSA_SHA256, ("ECDSA with SHA-256", UnknownHash()))
    inspection = judge(root.pem)
    assert finding(inspection, "self_signature").severity is NOTE
    assert inspection.verdict == "accept"


def test_a_key_that_cannot_sign_with_the_named_algorithm_is_invalid() -> None:
    ed = make_ca(key="ed25519").cert.public_key().public_bytes_raw()
    spki = raw.tlv(0x30, raw.algorithm("1.3.101.112"), raw.tlv(3, b"\0" + ed))
    assert read_certificate(raw.raw_certificate(spki=spki)).self_signature == "invalid"


def test_an_expired_ca_is_admitted_by_an_explicit_option_alone(judge: Judge) -> None:
    expired = make_ca(not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert (judge(expired.pem).verdict, only(judge(expired.pem), REFUSE)) == ("refuse", ["valid_now"])
    wanted = inspect(expired.pem, now=NOW, accept_expired=True)
    assert (wanted.verdict, only(wanted, CAUTION)) == ("caution", ["valid_now"])
    assert "asked for all the same" in finding(wanted, "valid_now").detail


def test_the_option_for_expired_cas_overrides_nothing_else(root: Made) -> None:
    backwards = raw.raw_certificate(dates=(raw.DEFAULT_DATES[1], raw.DEFAULT_DATES[0]))
    leaf = make_leaf("x", issuer=root, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert only(inspect(backwards, now=NOW, accept_expired=True), REFUSE) == ["valid_now"]
    assert only(inspect(leaf.pem, now=NOW, accept_expired=True), REFUSE) == ["is_ca"]
    assert inspect(root.pem, now=NOW, accept_expired=True) == inspect(root.pem, now=NOW)


def test_faulty_extensions_are_one_reason_among_all(judge: Judge) -> None:
    twice = raw.raw_certificate(extensions=[raw.BASIC_CONSTRAINTS] * 2, signature_oid="1.2.840.113549.1.1.4")
    assert only(judge(twice), REFUSE) == ["extensions", "signature_algorithm"]
    assert "twice" in finding(judge(twice), "extensions").message


def test_two_names_for_the_signature_are_refused(judge: Judge) -> None:
    inspection = judge(raw.raw_certificate(outer_oid="1.2.840.10045.4.3.3"))
    assert only(inspection, REFUSE) == ["signature_algorithms_agree"]


def test_the_last_second_is_still_valid(root: Made) -> None:
    facts = read_certificate(root.der)
    for moment, severity in ((facts.not_after, PASSED), (facts.not_after + timedelta(seconds=1), REFUSE)):
        told = {found.check: found.severity for found in check_certificate(facts, now=moment)}
        assert told["valid_now"] is severity
        assert ("lifetime" in told) == (severity is PASSED)


def test_rsa_numbers() -> None:
    good = make_key("rsa2048").public_key().public_numbers().n
    for weakness in (has_small_factor, has_close_primes, has_roca_fingerprint):
        assert not weakness(good)
    assert has_close_primes(PRIME_A * PRIME_A), "a square"
    assert has_roca_fingerprint(roca_modulus())
