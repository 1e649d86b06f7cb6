"""What makes the record of a CA, whether it is uploaded or was at the edge before: the checks of what people say of it,
the row, and what the audit log keeps of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.authorities.issuers import SELF, own_issuer
from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import UploadInspection
from apps.identity.actors import Actor
from apps.identity.models import Team
from apps.inventory.models import Account
from apps.pki.certificate import CertificateFacts
from apps.pki.findings import Severity

NAME_LIMIT = 120
# The form field of a refusal, where it is not the certificate itself.
FIELDS = {"name_free": "name", "chosen_certificate": "choose"}


@dataclass(frozen=True)
class PeopleSay:
    """What no certificate says of itself. `client_issuers` is "self", or "" when it is not known who signs clients."""

    name: str
    reason: str
    client_issuers: str = ""
    owner_team: Team | None = None


def make_ca_record(
    by: Actor, account: Account, inspection: UploadInspection, facts: CertificateFacts, people: PeopleSay, **more: Any
) -> CertificateAuthority:
    """Store a CA that was found to have no problem. `more` is what differs between an upload and an adoption."""
    return CertificateAuthority.objects.create(
        account=account,
        name=people.name.strip(),
        fingerprint=facts.fingerprint,
        pem=facts.pem,
        facts=facts.to_dict(),
        findings=_cautions_of(inspection),
        ski=facts.ski,
        not_before=facts.not_before,
        not_after=facts.not_after,
        client_issuers=people.client_issuers,
        issuers=own_issuer(facts) if people.client_issuers == SELF else [],
        owner_team=people.owner_team,
        reason=people.reason.strip(),
        uploaded_by=by.person,
        uploaded_by_label=by.label,
        **more,
    )


def told_of(ca: CertificateAuthority) -> dict[str, Any]:
    """What the audit log keeps of a new record, however it came about."""
    return {
        "name": ca.name,
        "fingerprint": ca.fingerprint,
        "subject": ca.facts["subject"],
        "not_after": ca.not_after,
        "client_issuers": ca.client_issuers or "not known",
        "cautions": [finding["check"] for finding in ca.findings],
    }


def intake_problems(inspection: UploadInspection, people: PeopleSay) -> dict[str, list[str]]:
    """What keeps a CA from being stored, by form field."""
    problems: dict[str, list[str]] = {}
    name, client_issuers = people.name.strip(), people.client_issuers
    for finding in inspection.findings:
        if finding.severity == Severity.REFUSE:
            field = FIELDS.get(finding.check, "pem")
            sentence = f"{finding.message}. {finding.detail}" if finding.detail else finding.message
            problems.setdefault(field, []).append(sentence)
    if inspection.waits_for_choice:
        problems["choose"] = [f"{inspection.findings[0].message}. Choose the one that goes up."]
    if not name:
        problems.setdefault("name", []).append("Give the CA a name that people here know.")
    elif len(name) > NAME_LIMIT:
        problems.setdefault("name", []).append(f"Use at most {NAME_LIMIT} characters.")
    if client_issuers not in {"", "self"}:
        problems["client_issuers"] = ["Say who signs the clients: self, or nothing when it is not known."]
    if client_issuers == "self" and inspection.certificate and not inspection.certificate.ski:
        problems["client_issuers"] = [
            "This CA has no Subject Key Identifier, so a rule cannot be pinned to it. Choose not known."
        ]
    return problems


def _cautions_of(inspection: UploadInspection) -> list[dict[str, str]]:
    """What travels with the CA to the reviewers of its requests."""
    cautions = [finding for finding in inspection.findings if finding.severity == Severity.CAUTION]
    return [{"check": f.check, "message": f.message, "detail": f.detail} for f in cautions]
