"""The gate: for whatever was uploaded a verdict with every reason at once, and never an exception."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from apps.pki.bundle import BundleRefused, read_bundle
from apps.pki.certificate import CertificateFacts, CertificateUnreadable, read_certificate
from apps.pki.checks import check_certificate
from apps.pki.findings import Finding, Severity
from apps.pki.results import CLOUDFLARE, RFC5280, passed, refuse

MAX_SHOWN = 80


@dataclass(frozen=True)
class Inspection:
    """`verdict` is refuse, caution or accept; `findings` are all of them, in fixed order."""

    verdict: str
    findings: tuple[Finding, ...]
    certificates: tuple[CertificateFacts, ...]

    @property
    def certificate(self) -> CertificateFacts | None:
        """The certificate, when there is exactly one."""
        return self.certificates[0] if len(self.certificates) == 1 else None


def inspect(data: bytes | str, *, now: datetime) -> Inspection:
    """Judge an upload at the moment `now` (aware). Any bytes and any text give a verdict."""
    try:
        bundle = read_bundle(data)
    except BundleRefused as refused:
        return _inspection(refused.findings, ())
    certificates: list[CertificateFacts] = []
    unreadable: list[Finding] = []
    shown: list[str] = []
    for position, der in enumerate(bundle.ders, 1):
        try:
            facts = read_certificate(der)
        except CertificateUnreadable as error:
            unreadable.append(Finding("readable", Severity.REFUSE, error.fact, error.advice, RFC5280, position))
            shown.append(f"{position}. unreadable")
        else:
            certificates.append(facts)
            shown.append(f"{position}. {_short(facts.subject) or 'no subject'} ({_kind(facts)})")
    findings = [_one_certificate(bundle.ders, shown), *bundle.notes, *unreadable]
    if len(bundle.ders) == 1 and certificates:
        checked = check_certificate(certificates[0], now=now)
        findings += [replace(finding, position=1) for finding in checked]
    return _inspection(tuple(findings), tuple(certificates))


def _inspection(findings: tuple[Finding, ...], certificates: tuple[CertificateFacts, ...]) -> Inspection:
    severities = {finding.severity for finding in findings}
    if Severity.REFUSE in severities:
        return Inspection("refuse", findings, certificates)
    return Inspection("caution" if Severity.CAUTION in severities else "accept", findings, certificates)


def _one_certificate(ders: tuple[bytes, ...], shown: list[str]) -> Finding:
    """A CA takes one of few slots, so it is never guessed which certificate of several is meant."""
    if len(ders) == 1:
        return passed("one_certificate", "Holds exactly one certificate", "No private key", CLOUDFLARE)
    repeated = " One of them is there twice." if len(set(ders)) < len(ders) else ""
    fix = f"Upload one at a time. The upload holds: {'; '.join(shown)}.{repeated}"
    return refuse("one_certificate", f"The upload holds {len(ders)} certificates", fix, CLOUDFLARE)


def _kind(facts: CertificateFacts) -> str:
    if not facts.is_ca:
        return "leaf"
    return "intermediate" if facts.self_signature == "not_applicable" else "root"


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
