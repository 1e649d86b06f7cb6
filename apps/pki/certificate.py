"""From DER to facts.

Every field is touched here, inside the gate: the cryptography library parses extensions, names and keys lazily,
so a certificate that loads may still fail when a page asks for more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from cryptography import x509

from apps.errors import Invalid
from apps.pki.algorithms import read_public_key, signature_label, signature_state
from apps.pki.bundle import canonical_pem
from apps.pki.der import CONTEXT_0, GENERALIZED_TIME, Element, read_element
from apps.pki.extensions import read_extensions
from apps.pki.library import quiet
from apps.pki.names import read_name

# Not for JSON: the PEM holds the DER, and RSA numbers are only for the checks.
_INTERNAL = frozenset({"der", "rsa_modulus"})


class CertificateUnreadable(Invalid):
    """The DER is no certificate, or not one that can be read."""

    def __init__(self) -> None:
        self.fact = "The certificate is damaged or breaks the X.509 rules"
        self.advice = "Export it again from its source. If that fails too, ask its issuer for a corrected one."
        super().__init__(f"{self.fact}. {self.advice}", field="pem", code="readable")


@dataclass(frozen=True)
class CertificateFacts:
    """What a certificate says. Its identity is `fingerprint`, never a name or a serial number.

    Names are display-safe RFC 4514 text. `ski` and `aki` are UPPER hex without colons, "" if absent. `is_ca` is
    None without Basic Constraints, `key_size` is in bits and 0 when unknown, `self_signature` is valid, invalid,
    unchecked (cannot be checked, which is not "bad") or not_applicable (signed by another key).
    `old_dates_generalized`: a date before 2050 is written as GeneralizedTime. `extensions_fault` says why the
    extensions could not be read; then every fact that comes from one is empty.
    """

    fingerprint: str
    fingerprint_sha1: str
    public_key_fingerprint: str
    pem: str
    der: bytes
    version: int
    subject: str
    issuer: str
    subject_cn: str
    organisation: str
    country: str
    mixed_scripts: bool
    hidden_characters: bool
    serial: int
    serial_hex: str
    serial_octets: int
    not_before: datetime
    not_after: datetime
    old_dates_generalized: bool
    key_algorithm: str
    key_size: int
    curve: str
    key_label: str
    key_usable: bool
    rsa_modulus: int
    rsa_exponent: int
    signature_oid: str
    signature_label: str
    signature_algorithms_agree: bool
    extensions_fault: str
    is_ca: bool | None
    basic_constraints_critical: bool
    path_length: int | None
    key_usage: tuple[str, ...]
    has_key_usage: bool
    extended_key_usage: tuple[str, ...]
    has_name_constraints: bool
    permitted_names: tuple[str, ...]
    excluded_names: tuple[str, ...]
    unknown_critical: tuple[str, ...]
    ski: str
    aki: str
    self_issued: bool
    self_signature: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe: dates as ISO 8601 UTC, tuples as lists, unbounded numbers as decimal text, no DER."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, datetime):
                value = value.isoformat()
            elif isinstance(value, tuple):
                value = list(value)
            elif field.name in {"serial", "rsa_exponent"}:
                value = str(value)
            if field.name not in _INTERNAL:
                values[field.name] = value
        return values


def read_certificate(der: bytes) -> CertificateFacts:
    """The facts of one DER certificate. Raises CertificateUnreadable, and nothing else, for any bytes."""
    with quiet():
        try:
            return _facts(der)
        except Exception:  # hostile bytes reach a large parser here; whatever it raises means the same
            raise CertificateUnreadable from None


def read_sound_certificate(der: bytes) -> CertificateFacts:
    """As `read_certificate`, for one whose extensions are going to be believed: a fault in them is refused too."""
    facts = read_certificate(der)
    if facts.extensions_fault or not facts.signature_algorithms_agree:
        raise CertificateUnreadable
    return facts


def load_quietly(der: bytes) -> x509.Certificate:
    """The certificate of DER that `read_certificate` has read before, without warnings about odd serials."""
    with quiet():
        return _load(der, _serial(der))


def signed_by(facts: CertificateFacts, signer: CertificateFacts) -> str:
    """Whether the signer's key made the certificate's signature: valid, invalid or unchecked."""
    with quiet():
        signed, _, _ = read_element(facts.der).children()
        key, cert = (_load(one.der, _serial(one.der)) for one in (signer, facts))
        spki = _parts(next(read_element(signer.der).children()))[5]
        public = read_public_key(spki, key)
        return signature_state(public.loaded, facts.signature_oid, cert.signature, signed.whole)


def _serial(der: bytes) -> Element:
    return _parts(next(read_element(der).children()))[0]


def _load(der: bytes, serial: Element) -> x509.Certificate:
    """Load a certificate. One with a serial number of zero or below is loaded with another one in its place.

    The library only warns of such numbers today and will refuse them one day (15 well-known roots have one). They
    are read from the DER, and the signature is checked over the DER, so nothing rests on the stand-in.
    """
    first = serial.value[:1]
    minimal = serial.end - serial.body == 1 or (serial.value[0], serial.value[1] >> 7) != (0xFF, 1)
    if (first >= b"\x80" or serial.value == b"\0") and minimal:
        der = der[: serial.body] + b"\x01" * (serial.end - serial.body) + der[serial.end :]
    return x509.load_der_x509_certificate(der)


def _parts(signed: Element) -> list[Element]:
    """Of the signed part: serial number, algorithm, issuer, validity, subject, public key, and what follows them."""
    return [part for part in signed.children() if part.tag != CONTEXT_0]


def _facts(der: bytes) -> CertificateFacts:
    outer = read_element(der)
    signed, outer_algorithm, _ = outer.children()
    serial, algorithm, issuer_name, validity, subject_name, spki = _parts(signed)[:6]
    cert = _load(der, serial)
    self_issued = subject_name.whole == issuer_name.whole
    subject = read_name(subject_name)
    issuer = subject if self_issued else read_name(issuer_name)
    key = read_public_key(spki, cert)
    extensions = read_extensions(cert)
    oid = cert.signature_algorithm_oid.dotted_string
    agree = algorithm.whole == outer_algorithm.whole
    # A self-issued certificate signed by another key of the same name (a key roll-over) is not a root.
    rolled_over = bool(extensions.ski and extensions.aki and extensions.ski != extensions.aki)
    own = "not_applicable"
    if self_issued and not rolled_over:
        own = signature_state(key.loaded, oid, cert.signature, signed.whole) if agree else "unchecked"
    number = int.from_bytes(serial.value, "big", signed=True)
    return CertificateFacts(
        fingerprint=hashlib.sha256(der).hexdigest(),
        fingerprint_sha1=hashlib.sha1(der, usedforsecurity=False).hexdigest(),
        public_key_fingerprint=hashlib.sha256(spki.whole).hexdigest(),
        pem=canonical_pem(der),
        der=der,
        version=cert.version.value + 1,
        subject=subject.text,
        issuer=issuer.text,
        subject_cn=subject.first("2.5.4.3"),
        organisation=subject.first("2.5.4.10"),
        country=subject.first("2.5.4.6"),
        mixed_scripts=subject.mixed_scripts,
        hidden_characters=subject.hidden_characters,
        serial=number,
        serial_hex=_colon_pairs(number),
        serial_octets=len(serial.value),
        not_before=cert.not_valid_before_utc,
        not_after=cert.not_valid_after_utc,
        old_dates_generalized=_old_dates_generalized(validity),
        key_algorithm=key.algorithm,
        key_size=key.size,
        curve=key.curve,
        key_label=key.label,
        key_usable=key.usable,
        rsa_modulus=key.modulus,
        rsa_exponent=key.exponent,
        signature_oid=oid,
        signature_label=signature_label(oid),
        signature_algorithms_agree=agree,
        extensions_fault=extensions.fault,
        is_ca=extensions.is_ca,
        basic_constraints_critical=extensions.basic_constraints_critical,
        path_length=extensions.path_length,
        key_usage=extensions.key_usage or (),
        has_key_usage=extensions.key_usage is not None,
        extended_key_usage=extensions.extended_key_usage or (),
        has_name_constraints=extensions.has_name_constraints,
        permitted_names=extensions.permitted_names,
        excluded_names=extensions.excluded_names,
        unknown_critical=extensions.unknown_critical,
        ski=extensions.ski,
        aki=extensions.aki,
        self_issued=self_issued,
        self_signature=own,
    )


def _old_dates_generalized(validity: Element) -> bool:
    """RFC 5280 section 4.1.2.5: dates through 2049 are UTCTime; some verifiers insist."""
    return any(date.tag == GENERALIZED_TIME and date.value[:4] < b"2050" for date in validity.children())


def _colon_pairs(number: int) -> str:
    size = max(1, (number.bit_length() + 7) // 8)
    return "-" * (number < 0) + abs(number).to_bytes(size, "big").hex(":").upper()
