"""The certificates of one upload, each judged by itself, and how they stand to each other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from apps.pki.certificate import CertificateFacts, CertificateUnreadable, read_certificate, signed_by
from apps.pki.checks import check_certificate
from apps.pki.findings import Finding, Severity, verdict_of
from apps.pki.results import RFC5280

MAX_SHOWN = 80


class Role(StrEnum):
    """What a certificate is by its own words. A CA of the same name that another key signed is no root."""

    ROOT = "root"
    INTERMEDIATE = "intermediate"
    LEAF = "leaf"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Candidate:
    """One certificate that could go up. `facts` is None when it cannot be read.

    `position` counts the distinct certificates of the upload from 1. `signed_by` is the position of the
    certificate beside it whose key made its signature, its own for a root, None when the signer is not there.
    """

    position: int
    fingerprint: str
    facts: CertificateFacts | None
    findings: tuple[Finding, ...]
    signed_by: int | None = None

    @property
    def verdict(self) -> str:
        return verdict_of(self.findings)

    @property
    def role(self) -> Role:
        if self.facts is None or self.facts.extensions_fault:
            return Role.UNREADABLE
        if not self.facts.is_ca:
            return Role.LEAF
        return Role.INTERMEDIATE if self.facts.self_signature == "not_applicable" else Role.ROOT

    @property
    def label(self) -> str:
        """For people, display-safe and short."""
        if self.facts is None:
            return "damaged certificate"
        text = self.facts.subject_cn or self.facts.subject or "no subject"
        return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe: the facts, and what is known of it among the others. Without facts only the latter."""
        return {
            **(self.facts.to_dict() if self.facts else {}),
            "fingerprint": self.fingerprint,
            "position": self.position,
            "role": self.role.value,
            "verdict": self.verdict,
            "signed_by": self.signed_by,
        }


def read_candidates(ders: tuple[bytes, ...], *, now: datetime, accept_expired: bool) -> tuple[Candidate, ...]:
    """Judge each distinct certificate, in the order of the upload. Never raises."""
    distinct = tuple(dict.fromkeys(ders))
    read = [_read(der, at, now=now, accept_expired=accept_expired) for at, der in enumerate(distinct, 1)]
    if len(read) == 1:
        return tuple(read)
    return tuple(replace(one, signed_by=_signer(one, read)) for one in read)


def _read(der: bytes, position: int, *, now: datetime, accept_expired: bool) -> Candidate:
    try:
        facts = read_certificate(der)
    except CertificateUnreadable as error:
        unreadable = Finding(error.code, Severity.REFUSE, error.fact, error.advice, RFC5280)
        return Candidate(position, hashlib.sha256(der).hexdigest(), None, (unreadable,))
    findings = check_certificate(facts, now=now, accept_expired=accept_expired)
    return Candidate(position, facts.fingerprint, facts, tuple(findings))


def _signer(one: Candidate, others: list[Candidate]) -> int | None:
    """Names may repeat, so the signature decides; where it cannot be checked, the first of that name is taken."""
    if one.facts is None:
        return None
    if one.role is Role.ROOT:
        return one.position
    named = [other for other in others if other.facts and other is not one and other.facts.subject == one.facts.issuer]
    answers = [(signed_by(one.facts, other.facts), other.position) for other in named if other.facts]
    signed = [position for answer, position in answers if answer == "valid"]
    unchecked = [position for answer, position in answers if answer == "unchecked"]
    return next(iter(signed + unchecked), None)
