"""Every check of one certificate, in the order people see them.

Cloudflare's published rules and a few safety limits refuse; whatever is stricter is a caution that names the
risk. `one_certificate` comes before them (see inspection); fingerprint, name and slot need the account.
"""

from __future__ import annotations

from datetime import datetime

from apps.pki import checks_key, checks_signature, checks_usage, checks_validity
from apps.pki.certificate import CertificateFacts
from apps.pki.findings import Finding
from apps.pki.results import Check

CHECKS: tuple[Check, ...] = (
    checks_signature.extensions,
    checks_signature.is_ca,
    checks_signature.basic_constraints_critical,
    checks_signature.signature_algorithm,
    checks_signature.signature_algorithms_agree,
    checks_signature.signature_hash,
    checks_signature.self_signature,
    checks_key.key_type,
    checks_key.key_strength,
    checks_key.key_exponent,
    checks_key.key_modulus,
    checks_validity.valid_now,
    checks_validity.lifetime,
    checks_validity.date_form,
    checks_usage.path_length,
    checks_usage.key_usage,
    checks_usage.extended_key_usage,
    checks_usage.name_constraints,
    checks_usage.critical_extensions,
    checks_usage.serial_number,
    checks_usage.subject_key_identifier,
    checks_usage.subject_text,
)


def check_certificate(facts: CertificateFacts, *, now: datetime, accept_expired: bool = False) -> list[Finding]:
    """What every check that applies has to say, at the moment `now` (aware).

    `accept_expired` turns the refusal of an expired CA into a caution; nothing else can be overridden.
    """
    findings = [finding for check in CHECKS if (finding := check(facts, now)) is not None]
    if accept_expired and checks_validity.has_expired(facts, now):
        wanted = checks_validity.expired_but_wanted(facts)
        findings = [wanted if finding.check == wanted.check else finding for finding in findings]
    return findings
