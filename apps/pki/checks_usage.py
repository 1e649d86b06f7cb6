"""What the CA may be used for, and oddities that some verifiers refuse. Not one rule is Cloudflare's."""

from __future__ import annotations

from datetime import datetime

from apps.pki.certificate import CertificateFacts
from apps.pki.extensions import ANY_USAGE, CERT_SIGN, CLIENT_AUTH
from apps.pki.findings import Finding
from apps.pki.results import CLOUDFLARE, RFC5280, caution, note, passed

MAX_SERIAL_OCTETS = 20


def path_length(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """RFC 5280 section 4.2.1.9."""
    if not facts.is_ca:
        return None
    if facts.path_length is None:
        return passed("path_length", "Path length is not limited", "Intermediates may stand under it", RFC5280)
    if facts.path_length == 0:
        fact = "No intermediates may be used under it (path length 0)"
        return note("path_length", fact, "It has to sign the client certificates itself.", RFC5280)
    return passed("path_length", "Path length fits", f"Up to {facts.path_length} intermediates", RFC5280)


def key_usage(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """RFC 5280 section 4.2.1.3."""
    if facts.extensions_fault:
        return None
    if not facts.has_key_usage:
        return note("key_usage", "No key usage is stated", "Verifiers then allow every use.", RFC5280)
    said = ", ".join(facts.key_usage) or "none"
    if CERT_SIGN in facts.key_usage:
        return passed("key_usage", "Key usage fits", said, RFC5280)
    risk = f"It says: {said}. Verifiers may refuse every client under it. Test a client before you enforce."
    return caution("key_usage", "Key usage does not allow it to sign certificates", risk, RFC5280)


def extended_key_usage(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """On a CA most verifiers read it as a limit for everything below."""
    if not facts.extended_key_usage:
        return None
    said = ", ".join(facts.extended_key_usage)
    if {CLIENT_AUTH, ANY_USAGE} & set(facts.extended_key_usage):
        return passed("extended_key_usage", "Extended key usage fits", said, RFC5280)
    risk = f"It says: {said}. Client certificates under it may be refused. Test one before you enforce."
    return caution("extended_key_usage", "Extended key usage leaves out clients", risk, RFC5280)


def name_constraints(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """RFC 5280 section 4.2.1.10."""
    if not facts.has_name_constraints:
        return None
    risk = "A client whose name lies outside them is refused. Test one client of each kind before you enforce."
    return caution("name_constraints", "It limits the names of its clients", risk, RFC5280)


def critical_extensions(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """RFC 5280 section 4.2: whoever does not know a critical extension must refuse."""
    if not facts.unknown_critical:
        return None
    risk = f"Verifiers that do not know them refuse every client: {', '.join(facts.unknown_critical)}."
    return caution("critical_extensions", "It has critical extensions that are not widely known", risk, RFC5280)


def serial_number(facts: CertificateFacts, _now: datetime) -> Finding:
    """RFC 5280 section 4.1.2.2: positive, at most 20 octets."""
    risk = "RFC 5280 does not allow it, and newer software may refuse to read it. Plan a re-issued CA."
    if facts.serial <= 0:
        fact = "The serial number is 0" if facts.serial == 0 else "The serial number is negative"
        return caution("serial_number", fact, risk, RFC5280)
    if facts.serial_octets > MAX_SERIAL_OCTETS:
        return caution("serial_number", "The serial number is longer than 20 octets", risk, RFC5280)
    return passed("serial_number", "Serial number is sound", f"{facts.serial_octets} octets", RFC5280)


def subject_key_identifier(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """What an enforcement rule can be pinned to."""
    if facts.extensions_fault:
        return None
    if facts.ski:
        return passed("subject_key_identifier", "A rule can be pinned to it", f"SKI {facts.ski}", CLOUDFLARE)
    fact = "It has no Subject Key Identifier"
    return note("subject_key_identifier", fact, "No enforcement rule can be pinned to it.", CLOUDFLARE)


def subject_text(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """Names that may look like other names. Identity is the fingerprint, so this only informs."""
    if facts.mixed_scripts:
        fact = "A word of its subject mixes scripts, so it may imitate another name"
    elif facts.hidden_characters:
        fact = "Its subject holds characters that do not show; they are written as hex"
    else:
        return None
    return note("subject_text", fact, "Compare the SHA-256 fingerprint with the one its issuer published.", RFC5280)
