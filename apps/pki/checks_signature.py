"""Is it a CA, and is its signature one that Cloudflare takes."""

from __future__ import annotations

from datetime import datetime

from apps.pki.algorithms import ACCEPTED, SHA1_OIDS
from apps.pki.certificate import CertificateFacts
from apps.pki.findings import Finding
from apps.pki.results import CLOUDFLARE, RFC5280, SHA1_BROKEN, caution, note, passed, refuse


def extensions(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """RFC 5280 section 4.2: each extension once, and built by the rules. What cannot be read cannot be judged."""
    if not facts.extensions_fault:
        return None
    fix = "Nothing in them can be trusted then. Ask its issuer for a corrected certificate."
    return refuse("extensions", facts.extensions_fault, fix, RFC5280)


def is_ca(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """Cloudflare: Basic Constraints must say CA:TRUE."""
    name = "is_ca"
    if facts.extensions_fault:
        return None
    if facts.is_ca is None:
        fix = "Cloudflare takes a CA only with Basic Constraints CA: true. Ask for a re-issued CA that has it."
        return refuse(name, "This certificate is not a CA (no Basic Constraints)", fix, CLOUDFLARE)
    if not facts.is_ca:
        fix = "Paste the CA that signed it."
        return refuse(name, "This certificate is not a CA (Basic Constraints CA: false)", fix, CLOUDFLARE)
    if facts.version != 3:
        fact = f"This certificate is not a CA (extensions do not count in X.509 version {facts.version})"
        return refuse(name, fact, "Ask for a re-issued CA of version 3.", RFC5280)
    return passed(name, "Certificate is a CA", "Basic Constraints CA: true", CLOUDFLARE)


def basic_constraints_critical(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """RFC 5280 section 4.2.1.9: critical in every CA certificate."""
    if not facts.is_ca:
        return None
    name = "basic_constraints_critical"
    if facts.basic_constraints_critical:
        return passed(name, "Basic Constraints are critical", "As RFC 5280 asks", RFC5280)
    risk = "RFC 5280 asks for it and strict verifiers refuse without. Test a client before you enforce."
    return caution(name, "Basic Constraints are not critical", risk, RFC5280)


def signature_algorithm(facts: CertificateFacts, _now: datetime) -> Finding:
    """Cloudflare: one of eight algorithms."""
    name = "signature_algorithm"
    if facts.signature_oid in ACCEPTED:
        return passed(name, "Signature algorithm is accepted", facts.signature_label, CLOUDFLARE)
    fact = f"Signature algorithm {facts.signature_label} is not accepted"
    fix = "Cloudflare takes RSA or ECDSA, each with SHA-1, 256, 384 or 512. Re-issue the CA with one of these."
    return refuse(name, fact, fix, CLOUDFLARE)


def signature_algorithms_agree(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """RFC 5280 section 4.1.1.2: the algorithm stands inside the signed part and beside it, and must be the same."""
    if facts.signature_algorithms_agree:
        return None
    fix = "Somebody changed it after signing. Export it again from its source."
    fact = "The certificate names two different signature algorithms"
    return refuse("signature_algorithms_agree", fact, fix, RFC5280)


def signature_hash(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """Cloudflare takes SHA-1; collisions have been practical since 2017."""
    if facts.signature_oid not in ACCEPTED:
        return None
    name = "signature_hash"
    if facts.signature_oid in SHA1_OIDS:
        risk = "Cloudflare accepts it, other software may not. Plan a successor signed with SHA-256 or better."
        return caution(name, "Signed with SHA-1", risk, SHA1_BROKEN)
    return passed(name, "Signature hash is sound", facts.signature_label.rpartition(" ")[2], SHA1_BROKEN)


def self_signature(facts: CertificateFacts, _now: datetime) -> Finding:
    """A root's own signature must hold wherever it can be checked."""
    name = "self_signature"
    if facts.self_signature == "valid":
        return passed(name, "Self-signed, and the signature holds", facts.signature_label, RFC5280)
    if facts.self_signature == "invalid":
        fix = "The file was changed after signing. Export the certificate again from its source."
        return refuse(name, "Its own signature does not match", fix, RFC5280)
    if facts.self_signature == "unchecked":
        why = "The portal cannot check this algorithm or key. That alone does not make the certificate bad."
        return note(name, "Self-signed, signature not checked", why, RFC5280)
    if not facts.is_ca:
        return note(name, "Signed by another key", "So it is no root.", RFC5280)
    why = (
        "Cloudflare documents public and self-signed CAs. "
        "Upload this one only if it signs your client certificates directly."
    )
    return note(name, "Intermediate, signed by another key", why, CLOUDFLARE)
