"""Who signs the clients of a CA directly: known, never guessed (docs/enforcement.md, "Pins").

An issuer is the CA itself, an intermediate given as PEM whose chain leads to the CA, or one learned from a sample
client certificate. What cannot be pinned, a certificate without a Subject Key Identifier, says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.errors import Invalid
from apps.pki.bundle import BundleRefused, read_bundle
from apps.pki.certificate import CertificateFacts, CertificateUnreadable, read_sound_certificate
from apps.pki.chain import find_paths, issuer_problems
from apps.pki.issuing import Member, Relation, member, relation

SELF = "self"
MAX_ISSUERS = 20
Issuer = dict[str, Any]
"""`ski` (upper-case hex), `source` (self, intermediate, sample), `subject`, `not_after` (ISO 8601), `pem`, `note`."""


def read_issuers(ca: CertificateAuthority, entries: Sequence[str]) -> list[Issuer]:
    """The set that the entries name, sorted by SKI. Each entry is `self`, or PEM with one or more certificates:
    CAs are intermediates, others are samples of client certificates. An empty set means: not known, do not pin.

    Raises Invalid with every reason at once. A private key is refused like anywhere else.
    """
    own = member(read_sound_certificate(read_bundle(ca.pem).ders[0]))
    problems: list[str] = []
    given = [facts for entry in entries if entry.strip() != SELF for facts in _certificates(entry, problems)]
    intermediates = [member(facts) for facts in given if facts.is_ca and facts.fingerprint != ca.fingerprint]
    pool, now = [own, *intermediates], timezone.now()
    found: list[Issuer] = []
    if any(entry.strip() == SELF for entry in entries) or any(facts.fingerprint == ca.fingerprint for facts in given):
        found += _of_itself(own, ca, problems)
    for one in intermediates:
        found += _of_intermediate(one, own, pool, ca, now, problems)
    for facts in given:
        if not facts.is_ca:
            found += _of_sample(facts, own, pool, ca, problems)
    issuers = list({issuer["ski"]: issuer for issuer in reversed(found)}.values())
    if len(issuers) > MAX_ISSUERS:
        problems.append(f"These are {len(issuers)} issuers. At most {MAX_ISSUERS} fit into a rule.")
    if problems:
        raise Invalid("The issuers were not taken. Mend what is named.", details={"issuers": problems})
    return sorted(issuers, key=lambda issuer: str(issuer["ski"]))


def _certificates(entry: str, problems: list[str]) -> Iterable[CertificateFacts]:
    try:
        return [read_sound_certificate(der) for der in read_bundle(entry).ders]
    except BundleRefused as refused:
        problems += refused.details["pem"]
    except CertificateUnreadable as refused:
        problems.append(refused.message)
    return []


def own_issuer(facts: CertificateFacts) -> list[Issuer]:
    """The set of a CA that signs its clients itself."""
    values = {"source": SELF, "subject": facts.subject, "not_after": facts.not_after.isoformat()}
    return [{"ski": facts.ski, "pem": "", "note": "", **values}]


def _of_itself(own: Member, ca: CertificateAuthority, problems: list[str]) -> list[Issuer]:
    if not own.facts.ski:
        problems.append(f"{ca.name} has no Subject Key Identifier, so a rule cannot be pinned to it.")
        return []
    return own_issuer(own.facts)


def _of_intermediate(
    one: Member, own: Member, pool: list[Member], ca: CertificateAuthority, now: datetime, problems: list[str]
) -> list[Issuer]:
    facts = one.facts
    name = facts.subject_cn or facts.subject
    if not facts.ski:
        problems.append(f"{name} has no Subject Key Identifier, so a rule cannot be pinned to it.")
        return []
    paths = find_paths(one, pool, [own.facts.fingerprint]).paths.get(own.facts.fingerprint, [])
    if not paths:
        problems.append(f"{name} does not lead to {ca.name}. Paste the intermediates between them too.")
        return []
    faults = min((issuer_problems(path, now=now) for path in paths), key=len)
    if faults:
        problems.append(f"{name} leads to {ca.name}, but its clients would be refused: {faults[0].fault.value}.")
        return []
    return [
        {
            "ski": facts.ski, "source": "intermediate", "subject": facts.subject,
            "not_after": facts.not_after.isoformat(), "pem": facts.pem, "note": "",
        }
    ]  # fmt: skip


def _of_sample(
    facts: CertificateFacts, own: Member, pool: list[Member], ca: CertificateAuthority, problems: list[str]
) -> list[Issuer]:
    """The direct issuer of a sample: one that signed it, or the one its Authority Key Identifier names."""
    client, name = member(facts), facts.subject_cn or facts.subject
    signer = next((one for one in pool if relation(client, one) is Relation.ISSUED), None)
    if signer is own:
        return _of_itself(own, ca, problems)
    if signer is not None:
        return []  # an intermediate that is given beside it, and judged by itself
    if not facts.aki:
        problems.append(f"The sample {name} does not name its issuer's key. Paste the intermediate that signed it.")
        return []
    if facts.issuer == own.facts.subject:
        problems.append(f"The sample {name} names {ca.name} as its issuer, but {ca.name} did not sign it.")
        return []
    note = f"Learned from the sample {name}. That this issuer leads to the CA is not proven; its certificate would."
    return [
        {
            "ski": facts.aki, "source": "sample", "subject": facts.issuer, "not_after": "", "pem": "", "note": note,
        }
    ]  # fmt: skip


def skis_of(issuers: Iterable[Issuer]) -> frozenset[str]:
    return frozenset(str(issuer["ski"]) for issuer in issuers)
