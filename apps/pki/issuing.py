"""Whether one certificate was issued by another: by name, by key identifier, and by a real signature check.

Names are compared as RFC 5280 section 7.1 asks: without regard to case, spacing or string type.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from apps.pki.algorithms import MAX_RSA_BITS
from apps.pki.certificate import CertificateFacts, load_quietly
from apps.pki.der import CONTEXT_0, Element, read_element
from apps.pki.names import read_pair, read_string

Rdns = tuple[tuple[tuple[str, str], ...], ...]
"""A name for comparing: per part of the name its sorted (OID, folded value) pairs."""

_SOUND_HASHES = (hashes.SHA1, hashes.SHA224, hashes.SHA256, hashes.SHA384, hashes.SHA512)
_KEYS = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
_FOLD = {**str.maketrans(string.ascii_uppercase, string.ascii_lowercase), **str.maketrans("\t\n\v\f\r", " " * 5)}


class Relation(StrEnum):
    """What one certificate is to another that may have issued it. UNCHECKED: the signature cannot be checked here."""

    ISSUED = "issued"
    OTHER_NAME = "other_name"
    OTHER_KEY = "other_key"
    BAD_SIGNATURE = "bad_signature"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, eq=False)
class Member:
    """A certificate loaded once for comparing it with many others."""

    facts: CertificateFacts
    cert: x509.Certificate
    signed: bytes
    subject: Rdns
    issuer: Rdns
    authority_serial: int | None
    authority_issuers: tuple[Rdns, ...]
    subject_texts: tuple[tuple[str, str], ...]

    @property
    def owner(self) -> tuple[Rdns, str]:
        """Name and key: what a path may hold only once, whoever certified them."""
        return self.subject, self.facts.public_key_fingerprint

    def texts(self, oid: str) -> list[str]:
        """The subject's values of one attribute as written: for comparing, not for showing."""
        return [text for kind, text in self.subject_texts if kind == oid]


def member(facts: CertificateFacts) -> Member:
    """Prepare a certificate that was read by `read_sound_certificate`."""
    cert = load_quietly(facts.der)
    signed = next(read_element(facts.der).children())
    parts = [part for part in signed.children() if part.tag != CONTEXT_0]
    serial, issuers = _authority(cert)
    return Member(
        facts, cert, signed.whole, folded_name(parts[4]), folded_name(parts[2]), serial, issuers, _texts(parts[4])
    )


def relation(child: Member, parent: Member) -> Relation:
    """Whether `parent` issued `child`. Key identifiers that contradict each other decide, as in OpenSSL."""
    if child.issuer != parent.subject:
        return Relation.OTHER_NAME
    if _key_differs(child, parent):
        return Relation.OTHER_KEY
    return _signature(child, parent)


def folded_name(element: Element) -> Rdns:
    """A Name for comparing. Strings lose their type, the case of ASCII letters and superfluous blanks."""
    return tuple(tuple(sorted(_folded(*_pair(pair)) for pair in group.children())) for group in element.children())


def _pair(pair: Element) -> tuple[str, str, bool]:
    """OID, value, and whether the value is a string."""
    oid, encoded = read_pair(pair)
    text = read_string(encoded)
    return (oid, encoded.hex(), False) if text is None else (oid, text, True)


def _folded(oid: str, value: str, is_text: bool) -> tuple[str, str]:
    if not is_text:
        return oid, "#" + value
    folded = value.translate(_FOLD)
    return oid, " ".join(part for part in folded.split(" ") if part)


def _texts(element: Element) -> tuple[tuple[str, str], ...]:
    pairs = [_pair(pair) for group in element.children() for pair in group.children()]
    return tuple((oid, value) for oid, value, is_text in pairs if is_text)


def _authority(cert: x509.Certificate) -> tuple[int | None, tuple[Rdns, ...]]:
    """The issuer's serial number and issuer, where the authority key identifier names them."""
    try:
        found = cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None, ()
    names = [name.value for name in found.authority_cert_issuer or () if isinstance(name, x509.DirectoryName)]
    return found.authority_cert_serial_number, tuple(folded_name(read_element(name.public_bytes())) for name in names)


def _key_differs(child: Member, parent: Member) -> bool:
    if child.facts.aki and parent.facts.ski and child.facts.aki != parent.facts.ski:
        return True
    if child.authority_serial is not None and child.authority_serial != parent.facts.serial:
        return True
    return bool(child.authority_issuers) and parent.issuer not in child.authority_issuers


def _signature(child: Member, parent: Member) -> Relation:
    """A hash that can be forged, or an algorithm unknown here, proves nothing: it is UNCHECKED, not bad."""
    if not parent.facts.key_usable or parent.facts.key_size > MAX_RSA_BITS:
        return Relation.UNCHECKED
    cert = child.cert
    try:
        digest, scheme = cert.signature_hash_algorithm, cert.signature_algorithm_parameters
        if digest is not None and not isinstance(digest, _SOUND_HASHES):
            return Relation.UNCHECKED
        return _verified(child, parent.cert.public_key(), digest, scheme)
    except InvalidSignature:
        return Relation.BAD_SIGNATURE
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return Relation.UNCHECKED


def _verified(child: Member, key: object, digest: hashes.HashAlgorithm | None, scheme: object) -> Relation:
    signature, signed = child.cert.signature, child.signed
    if isinstance(key, rsa.RSAPublicKey) and isinstance(scheme, padding.PKCS1v15 | padding.PSS) and digest:
        key.verify(signature, signed, scheme, digest)
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(scheme, ec.ECDSA):
        key.verify(signature, signed, scheme)
    elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) and scheme is None and digest is None:
        key.verify(signature, signed)
    else:
        # Made by another kind of key than this one, unless it is a kind that nobody here knows.
        return Relation.BAD_SIGNATURE if isinstance(key, _KEYS) else Relation.UNCHECKED
    return Relation.ISSUED
