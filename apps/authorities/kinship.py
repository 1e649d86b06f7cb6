"""How a certificate is related to those that hold the account's slots: by its key, or as issuer and issued."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from apps.authorities.models import CertificateAuthority
from apps.authorities.states import HOLDING
from apps.inventory.models import Account
from apps.inventory.selectors import slot_certificates
from apps.pki.bundle import BundleRefused, read_bundle
from apps.pki.certificate import CertificateFacts, CertificateUnreadable, read_sound_certificate
from apps.pki.findings import Finding, Severity
from apps.pki.issuing import Relation, member, relation


@dataclass(frozen=True)
class _Slot:
    name: str
    page: str
    facts: CertificateFacts


def kinship(account: Account, facts: CertificateFacts) -> list[Finding]:
    """Cautions about relatives of a certificate in the account, by name, each with the page of the relative."""
    findings = []
    judged = member(facts)
    for slot in sorted(_slots(account, facts.fingerprint), key=lambda slot: slot.name):
        if slot.facts.public_key_fingerprint == facts.public_key_fingerprint:
            findings.append(_same_key(slot, facts))
            continue
        other = member(slot.facts)
        if relation(judged, other) is Relation.ISSUED:
            findings.append(_issued_by(slot))
        if relation(other, judged) is Relation.ISSUED:
            findings.append(_issues(slot))
    return findings


def _slots(account: Account, fingerprint: str) -> Iterator[_Slot]:
    """Everything but the certificate itself: our CAs that claim a slot, and what the edge holds besides."""
    seen = {fingerprint}
    for ca in CertificateAuthority.objects.filter(account=account, state__in=HOLDING):
        yield from _read(ca.name, f"/cas/{ca.pk}/", ca.pem, seen)
    for row in slot_certificates(account):
        yield from _read(str(row), "/cas/", row.pem, seen)


def _read(name: str, page: str, pem: str, seen: set[str]) -> Iterator[_Slot]:
    try:
        facts = read_sound_certificate(read_bundle(pem).ders[0])
    except (BundleRefused, CertificateUnreadable):
        return
    if facts.fingerprint not in seen:
        seen.add(facts.fingerprint)
        yield _Slot(name, page, facts)


def _caution(check: str, message: str, detail: str, slot: _Slot) -> Finding:
    return Finding(check, Severity.CAUTION, message, detail, citation=slot.page)


def _same_key(slot: _Slot, facts: CertificateFacts) -> Finding:
    kind = "A re-issue" if (slot.facts.subject, slot.facts.issuer) == (facts.subject, facts.issuer) else "A cross-sign"
    until = f"valid until {slot.facts.not_after:%d %b %Y} there, {facts.not_after:%d %b %Y} here"
    pins = "" if slot.facts.ski == facts.ski else " Their SKIs differ, so a rule pinned to one refuses the other's."
    detail = f"{kind}: {until}. Both accept the same clients.{pins}"
    return _caution("same_key", f"Same key as {slot.name}", detail, slot)


def _issued_by(slot: _Slot) -> Finding:
    detail = f"{slot.name} has a slot and accepts these clients too, if they send this certificate along."
    return _caution("issued_by_slot", f"Issued by {slot.name}", f"{detail} A second slot may not be needed.", slot)


def _issues(slot: _Slot) -> Finding:
    detail = f"With it, clients of every CA below it are accepted, not only those of {slot.name}."
    return _caution("issues_slot", f"It issued {slot.name}", f"{detail} Pin the rule to the issuers you mean.", slot)
