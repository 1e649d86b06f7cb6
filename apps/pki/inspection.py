"""The gate: for whatever was uploaded a verdict with every reason at once, and never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apps.pki.bundle import BundleRefused, read_bundle
from apps.pki.candidates import Candidate, Role, read_candidates
from apps.pki.certificate import CertificateFacts
from apps.pki.findings import Finding, Severity, verdict_of
from apps.pki.results import CLOUDFLARE, caution, note, passed, refuse


@dataclass(frozen=True)
class Inspection:
    """`verdict` is refuse, caution or accept; `findings` lead to it, in fixed order.

    `candidates` are the distinct certificates that were found. `chosen` is the one that would go up: the only one,
    or the one that was asked for. With several and no choice it is None, and the verdict is caution when at least
    one of them could go up.
    """

    findings: tuple[Finding, ...]
    candidates: tuple[Candidate, ...] = ()
    chosen: Candidate | None = None

    @property
    def verdict(self) -> str:
        return verdict_of(self.findings)

    @property
    def certificates(self) -> tuple[CertificateFacts, ...]:
        """Of every candidate that can be read."""
        return tuple(candidate.facts for candidate in self.candidates if candidate.facts)

    @property
    def certificate(self) -> CertificateFacts | None:
        """The facts of the one that would go up."""
        return self.chosen.facts if self.chosen else None


def inspect(data: bytes | str, *, now: datetime, choose: str = "", accept_expired: bool = False) -> Inspection:
    """Judge an upload at the moment `now` (aware). Any bytes and any text give a verdict.

    `choose` is the SHA-256 fingerprint (hex, colons and case do not matter) of the certificate that is meant.
    `accept_expired` turns the refusal of an expired CA into a caution.
    """
    try:
        bundle = read_bundle(data)
    except BundleRefused as refused:
        return Inspection(refused.findings)
    candidates = read_candidates(bundle.ders, now=now, accept_expired=accept_expired)
    notes = (*bundle.notes, *_repeated(bundle.ders, candidates))
    wanted = "".join(char for char in choose.lower() if char.isalnum())
    chosen = next((one for one in candidates if one.fingerprint == wanted), None)
    if wanted and chosen is None:
        return Inspection((_not_there(candidates), *notes), candidates)
    if chosen is None and len(bundle.ders) > 1:
        return Inspection((_several(candidates, bundle.ders), *notes, *_hopeless(candidates)), candidates)
    chosen = chosen or candidates[0]
    return Inspection((_one(chosen, candidates), *notes, *chosen.findings), candidates, chosen)


def _one(chosen: Candidate, candidates: tuple[Candidate, ...]) -> Finding:
    name = "one_certificate"
    if len(candidates) == 1:
        return passed(name, "Holds exactly one certificate", "No private key", CLOUDFLARE)
    fact = f"Certificate {chosen.position} of {len(candidates)} was chosen"
    return passed(name, fact, f"{chosen.label} ({chosen.role})", CLOUDFLARE)


def _not_there(candidates: tuple[Candidate, ...]) -> Finding:
    fix = f"Choose by the SHA-256 fingerprint of one of these: {_listed(candidates)}."
    return refuse("chosen_certificate", "The chosen certificate is not in the upload", fix, CLOUDFLARE)


def _several(candidates: tuple[Candidate, ...], ders: tuple[bytes, ...]) -> Finding:
    """A CA takes one of few slots, so it is never guessed which certificate of several is meant."""
    name = "one_certificate"
    if len(candidates) == 1:
        fix = f"Paste {candidates[0].label} once."
        return refuse(name, f"The upload holds the same certificate {len(ders)} times", fix, CLOUDFLARE)
    fact = f"The upload holds {len(candidates)} certificates: {_counted(candidates)}"
    if all(one.verdict == "refuse" for one in candidates):
        return refuse(name, fact, f"None of them can go up: {_listed(candidates)}.", CLOUDFLARE)
    return caution(name, fact, f"Choose the one that goes up: {_listed(candidates)}.", CLOUDFLARE)


def _repeated(ders: tuple[bytes, ...], candidates: tuple[Candidate, ...]) -> list[Finding]:
    if len(ders) == len(candidates):
        return []
    return [note("repeated", "A certificate stands there more than once", "It is counted once.", CLOUDFLARE)]


def _hopeless(candidates: tuple[Candidate, ...]) -> list[Finding]:
    """When not one of several can go up: every reason, by the position of its certificate."""
    if any(one.verdict != "refuse" for one in candidates):
        return []
    reasons = [(one, finding) for one in candidates for finding in one.findings]
    return [found._replace(position=one.position) for one, found in reasons if found.severity is Severity.REFUSE]


def _counted(candidates: tuple[Candidate, ...]) -> str:
    words = {
        Role.ROOT: ("root", "roots"),
        Role.INTERMEDIATE: ("intermediate", "intermediates"),
        Role.LEAF: ("leaf", "leaves"),
        Role.UNREADABLE: ("unreadable", "unreadable"),
    }
    counts = [(sum(one.role is role for one in candidates), forms) for role, forms in words.items()]
    return ", ".join(f"{count} {forms[count > 1]}" for count, forms in counts if count)


def _listed(candidates: tuple[Candidate, ...]) -> str:
    return "; ".join(f"{one.position}. {one.label} ({one.role})" for one in candidates)
