"""How a CA that would go up stands to the CAs that hold slots: who signed whom."""

from __future__ import annotations

from apps.authorities.models import CertificateAuthority
from apps.authorities.states import HOLDING
from apps.errors import Invalid
from apps.inventory.models import Account
from apps.pki.bundle import read_bundle
from apps.pki.certificate import CertificateFacts, read_certificate, signed_by
from apps.pki.findings import Finding, Severity


def relatives(account: Account, facts: CertificateFacts) -> list[Finding]:
    """A caution for each CA here that the new one signed, a note for each that signed the new one."""
    findings = []
    holding = CertificateAuthority.objects.filter(account=account, state__in=HOLDING).order_by("created_at")
    for ca in holding.exclude(fingerprint=facts.fingerprint):
        theirs = _facts_of(ca)
        if theirs is None:
            continue
        if _signed(facts, theirs):
            risk = "Where the new one is trusted, clients of both pass. One chain seldom needs two slots."
            findings.append(_found(Severity.CAUTION, f"It signed {ca.name}, which holds a slot", risk, ca))
        elif _signed(theirs, facts):
            hint = "Hostnames that trust that CA may accept its clients already."
            findings.append(_found(Severity.NOTE, f"It is signed by {ca.name}, which holds a slot", hint, ca))
    return findings


def _facts_of(ca: CertificateAuthority) -> CertificateFacts | None:
    """None when a rule of today's gate refuses what was admitted once: that must not keep others from uploading."""
    try:
        return read_certificate(read_bundle(ca.pem).ders[0])
    except Invalid:
        return None


def _signed(signer: CertificateFacts, signed: CertificateFacts) -> bool:
    """By name and signature; two of one name and key (a re-issue) are another finding."""
    if signer.subject != signed.issuer or signer.public_key_fingerprint == signed.public_key_fingerprint:
        return False
    return signed_by(signed, signer) == "valid"


def _found(severity: Severity, fact: str, detail: str, ca: CertificateAuthority) -> Finding:
    return Finding("same_chain", severity, fact, detail, citation=f"/cas/{ca.pk}/")
