"""What a rehearsal says: one reason per fault, each with a stable code, a fact and what to do.

Texts hold names in their display-safe form only, never bytes of the paste.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apps.pki.certificate import CertificateFacts
from apps.pki.chain import Fault, Problem
from apps.pki.findings import Finding

MAX_SHOWN = 80


@dataclass(frozen=True)
class Reason:
    """`message` is one line of fact without a full stop, `detail` says what to do.

    `needed_ski` is the key identifier of a certificate that is missing, UPPER hex, "" when that is not the trouble
    or the certificate does not tell.
    """

    code: str
    message: str
    detail: str
    needed_ski: str = ""

    @property
    def sentence(self) -> str:
        """Both as running text."""
        return f"{self.message}. {self.detail}"


def for_clients(finding: Finding) -> Finding:
    """A refusal of the bundle reader, which speaks of CA uploads, in the words of a rehearsal."""
    message, detail = finding.message, finding.detail
    for theirs, ours in _REWORDED:
        message, detail = message.replace(theirs, ours), detail.replace(theirs, ours)
    return finding._replace(message=message, detail=detail)


_REWORDED = (
    ("Then upload one CA.", "Then paste the client certificate with its intermediates."),
    ("Then upload the certificate alone", "Then paste the certificate alone"),
    ("Upload one CA certificate", "Paste one client certificate with its intermediates"),
    ("Unpack it and upload the CA certificate", "Unpack it and paste the client certificate"),
    ("CA certificate", "client certificate"),
    ("The upload", "The paste"),
    ("upload", "paste"),
)


def short(text: str) -> str:
    text = text or "a certificate without subject"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def fault(problem: Problem, path: Sequence[CertificateFacts]) -> Reason:
    """Why a complete path is refused."""
    message, detail = _FAULTS[problem.fault](problem, _who(problem.certificate, path))
    return Reason(problem.fault.value, message, detail)


def _who(facts: CertificateFacts, path: Sequence[CertificateFacts]) -> str:
    if facts is path[0]:
        return "The client certificate"
    return f"The {'CA' if facts is path[-1] else 'intermediate'} {short(facts.subject_cn or facts.subject)}"


def _expired(problem: Problem, who: str) -> tuple[str, str]:
    return f"{who} expired on {_day(problem.certificate)}", "Replace it with a renewed one, then try again."


def _not_yet_valid(problem: Problem, who: str) -> tuple[str, str]:
    return f"{who} is valid from {problem.certificate.not_before:%d %b %Y} only", "Wait until then, or use another one."


def _not_a_client(problem: Problem, who: str) -> tuple[str, str]:
    said = ", ".join(problem.certificate.extended_key_usage)
    fact = f"{who} is not for clients: its extended key usage says {said}"
    return fact, "Use one that its issuer made for TLS client authentication."


def _key_usage(problem: Problem, who: str) -> tuple[str, str]:
    said = ", ".join(problem.certificate.key_usage) or "nothing"
    return f"{who} may not sign a TLS handshake: its key usage says {said}", "Re-issue it with Digital Signature."


def _not_a_ca(_problem: Problem, who: str) -> tuple[str, str]:
    return (
        f"{who} is no CA (Basic Constraints)",
        "It may not issue certificates. Use a client certificate of a real CA.",
    )


def _cert_sign(_problem: Problem, who: str) -> tuple[str, str]:
    fact = f"{who} may not sign certificates: its key usage leaves out Certificate Sign"
    return fact, "Ask its owner for one with Certificate Sign."


def _eku(problem: Problem, who: str) -> tuple[str, str]:
    said = ", ".join(problem.certificate.extended_key_usage)
    return f"{who} is limited to other uses: {said}", "Clients below it are refused. Use a CA that allows clients."


def _path_length(problem: Problem, who: str) -> tuple[str, str]:
    limit = problem.certificate.path_length
    allowed = f"{limit} intermediate{'' if limit == 1 else 's'}" if limit else "no intermediate"
    return f"{who} allows {allowed} below it (path length {limit})", "The chain has more. Issue the client higher up."


def _name_constraints(problem: Problem, who: str) -> tuple[str, str]:
    fact = f"{who} does not allow the name {short(problem.name)} (name constraints)"
    return fact, "Issue the client certificate with names that the CA allows."


def _critical_extension(problem: Problem, who: str) -> tuple[str, str]:
    oids = ", ".join(problem.certificate.unknown_critical)
    return f"{who} has critical extensions that are not widely known: {oids}", "Whoever does not know them must refuse."


_FAULTS: dict[Fault, Callable[[Problem, str], tuple[str, str]]] = {
    Fault.EXPIRED: _expired,
    Fault.NOT_YET_VALID: _not_yet_valid,
    Fault.NOT_A_CLIENT: _not_a_client,
    Fault.KEY_USAGE: _key_usage,
    Fault.NOT_A_CA: _not_a_ca,
    Fault.CERT_SIGN: _cert_sign,
    Fault.EKU: _eku,
    Fault.PATH_LENGTH: _path_length,
    Fault.NAME_CONSTRAINTS: _name_constraints,
    Fault.CRITICAL_EXTENSION: _critical_extension,
}


def ca_given(facts: CertificateFacts, ca_name: str) -> Reason:
    """The paste holds no client certificate."""
    fact = f"This is the CA {ca_name} itself" if ca_name else f"This is a CA certificate: {short(facts.subject)}"
    return Reason("ca_given", fact, "Paste the certificate that a client sends, with its intermediates below it.")


def wrong_ca(reached: Sequence[str]) -> Reason:
    """Another CA issued it."""
    names = ", ".join(reached)
    return Reason(
        "wrong_ca", f"Another CA issued it: {names}", "Use a client of this CA, or cover hostnames with that."
    )


def other_key(top: CertificateFacts, ca: CertificateFacts, ca_name: str) -> Reason:
    """A CA of that name is here, with another key: another generation."""
    fact = f"Another key of the same name as {ca_name} issued {short(top.subject)}"
    wanted = f"It names the issuer with SKI {top.aki}; this CA has {ca.ski}." if top.aki else "The serials differ."
    return Reason("wrong_ca", fact, f"{wanted} Upload that generation of the CA, or re-issue.", top.aki)


def bad_signature(top: CertificateFacts, issuer: CertificateFacts) -> Reason:
    """The name fits, the signature does not."""
    fact = f"{short(top.subject)} names {short(issuer.subject)} as its issuer, but that key did not sign it"
    return Reason("bad_signature", fact, "It was changed, or a CA of the same name signed it. Get it from its issuer.")


def signature_unchecked(top: CertificateFacts) -> Reason:
    """Nothing can be said of the signature."""
    fact = f"The signature of {short(top.subject)} cannot be checked: {top.signature_label}"
    return Reason("signature_unchecked", fact, "Re-issue it with RSA or ECDSA and a SHA-2 hash.")


def self_signed(top: CertificateFacts) -> Reason:
    """The client signed for itself."""
    return Reason(
        "self_signed", "The client certificate is self-signed", "Have a CA of this account issue one.", top.aki
    )


def unknown_root(top: CertificateFacts) -> Reason:
    """The chain is whole and ends elsewhere."""
    fact = f"Its chain ends at {short(top.subject)}, which is no CA of this account"
    return Reason("unknown_issuer", fact, "Upload that CA, or use a client of a CA that is here.", top.ski)


def unknown_issuer(top: CertificateFacts) -> Reason:
    """Nobody here has the issuer's name."""
    fact = f"Nothing here is the issuer of {short(top.subject)}: {short(top.issuer)}"
    detail = f"If a CA here issued that issuer, paste it below the client certificate{_by_ski(top)}."
    return Reason("unknown_issuer", fact, detail, top.aki)


def missing_intermediate(top: CertificateFacts) -> Reason:
    """A certificate between the client and a CA of the account is not at hand."""
    fact = f"An intermediate is missing: the issuer of {short(top.subject)}, {short(top.issuer)}"
    return Reason("missing_intermediate", fact, f"Paste it below the client certificate{_by_ski(top)}.", top.aki)


def too_complex() -> Reason:
    """The bounds of the search were reached."""
    fact = "The certificates cross-sign each other too often to be judged"
    return Reason("too_complex", fact, "Paste the client certificate with the intermediates of one path only.")


def not_sent(facts: CertificateFacts) -> Reason:
    """A known intermediate completes the path, so the client has to have it too."""
    fact = f"The client has to send the intermediate {short(facts.subject)} along"
    return Reason("not_sent", fact, "It was not in the paste; it is known here. The edge knows only the CA.", facts.ski)


def any_usage(facts: CertificateFacts, path: Sequence[CertificateFacts]) -> Reason:
    """RFC 5280 section 4.2.1.12 leaves it to the verifier; OpenSSL refuses it."""
    fact = f"{_who(facts, path)} allows any extended key usage without naming clients"
    return Reason("any_usage", fact, "Some verifiers refuse that. Test this client before you enforce.")


def _by_ski(top: CertificateFacts) -> str:
    return f": the one with SKI {top.aki}" if top.aki else ""


def _day(facts: CertificateFacts) -> str:
    return f"{facts.not_after:%d %b %Y}"
