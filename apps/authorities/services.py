"""Writing CAs: admitting an upload, its way to the edge, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.audit.services import record
from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import UploadInspection, inspect_upload
from apps.authorities.states import CaState, may_move
from apps.errors import Conflict, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.inventory.models import Account
from apps.outbox.services import mark_due
from apps.pki.checks_validity import has_expired
from apps.pki.findings import Severity
from apps.pki.hints import PRIVATE_KEY
from apps.pki.private_keys import holds_private_key

NAME_LIMIT = 120
# The form field of a refusal, where it is not the certificate itself.
FIELDS = {"name_free": "name", "chosen_certificate": "choose"}


@transaction.atomic
def admit_ca(
    *,
    by: Actor,
    account: Account,
    name: str,
    data: bytes | str,
    client_issuers: str = "",
    owner_team: Team | None = None,
    reason: str = "",
    choose: str = "",
    accept_expired: bool = False,
) -> CertificateAuthority:
    """Store a CA that passed every check, reserve its slot, and mark the account due for the upload.

    The account row is locked first, so that parallel uploads cannot take the same last slot (INV-27).
    `choose` is the fingerprint of the certificate that is meant when the upload holds several: none is ever taken
    unasked. `accept_expired` admits an expired CA; it is recorded as a caution and in the audit event.
    What goes to Cloudflare is the canonical PEM of the DER that was checked, never the uploaded bytes (INV-37).
    Raises Invalid with every reason at once.
    """
    by.require(Permission.CA_UPLOAD)
    account = Account.objects.select_for_update().get(pk=account.pk)
    inspection = inspect_upload(
        account=account, data=data, name=name, now=timezone.now(), choose=choose, accept_expired=accept_expired
    )
    problems = _problems(inspection, name, client_issuers)
    if holds_private_key(reason):
        problems["reason"] = [f"{PRIVATE_KEY.message}. {PRIVATE_KEY.detail}"]
    elif "\0" in reason:
        problems["reason"] = ["The reason holds a NUL character. Type it anew."]
    facts = inspection.certificate
    if problems or facts is None:
        raise Invalid("The CA was not uploaded. Mend what is named and send it again.", details=problems)
    cautions = [f for f in inspection.findings if f.severity == Severity.CAUTION]
    ca = CertificateAuthority.objects.create(
        account=account,
        name=name.strip(),
        fingerprint=facts.fingerprint,
        pem=facts.pem,
        facts=facts.to_dict(),
        findings=[{"check": f.check, "message": f.message, "detail": f.detail} for f in cautions],
        ski=facts.ski,
        not_before=facts.not_before,
        not_after=facts.not_after,
        client_issuers=client_issuers,
        owner_team=owner_team,
        reason=reason.strip(),
        uploaded_by=by.person,
        uploaded_by_label=by.label,
    )
    after = {
        "name": ca.name,
        "fingerprint": ca.fingerprint,
        "subject": facts.subject,
        "not_after": facts.not_after,
        "client_issuers": client_issuers or "not known",
        "cautions": [finding.check for finding in cautions],
        "expired_accepted": has_expired(facts, timezone.now()),
        "chosen_among": len(inspection.candidates),
    }
    _record(by, "ca:admitted", ca, reason=ca.reason, after=after)
    mark_due(kind="account", subject_id=account.pk)
    return ca


def _problems(inspection: UploadInspection, name: str, client_issuers: str) -> dict[str, list[str]]:
    problems: dict[str, list[str]] = {}
    for finding in inspection.findings:
        if finding.severity == Severity.REFUSE:
            field = FIELDS.get(finding.check, "pem")
            sentence = f"{finding.message}. {finding.detail}" if finding.detail else finding.message
            problems.setdefault(field, []).append(sentence)
    if inspection.waits_for_choice:
        problems["choose"] = [f"{inspection.findings[0].message}. Choose the one that goes up."]
    if not name.strip():
        problems.setdefault("name", []).append("Give the CA a name that people here know.")
    elif len(name.strip()) > NAME_LIMIT:
        problems.setdefault("name", []).append(f"Use at most {NAME_LIMIT} characters.")
    if client_issuers not in {"", "self"}:
        problems["client_issuers"] = ["Say who signs the clients: self, or nothing when it is not known."]
    if client_issuers == "self" and inspection.certificate and not inspection.certificate.ski:
        problems["client_issuers"] = [
            "This CA has no Subject Key Identifier, so a rule cannot be pinned to it. Choose not known."
        ]
    return problems


@transaction.atomic
def retry_ca(*, by: Actor, ca_id: UUID) -> CertificateAuthority:
    """Queue a failed upload again."""
    by.require(Permission.CA_UPLOAD)
    ca = move_ca(by=by, ca_id=ca_id, target=CaState.QUEUED, action="ca:retried")
    mark_due(kind="account", subject_id=ca.account_id)
    return ca


@transaction.atomic
def delete_ca(*, by: Actor, ca_id: UUID, reason: str, confirm_name: str | None = None) -> CertificateAuthority:
    """Ask for the CA to leave the edge. The worker deletes it when no list at the edge names it any more.

    The caller has made sure that no approved or pending coverage uses it (coverage.services.retire_ca).
    A CA that never reached the edge ends at once.
    """
    by.require(Permission.CA_DELETE)
    ca = _locked(ca_id)
    if confirm_name is not None and confirm_name != ca.name:
        raise Invalid(f"That is not the CA's name. Type {ca.name} exactly.", field="confirm")
    if not reason.strip():
        raise Invalid("Say why. Auditors read this.", field="reason")
    target = CaState.DELETING if ca.state == CaState.LIVE else CaState.DELETED
    ca.delete_reason = reason.strip()
    ca.save(update_fields=["delete_reason"])
    ca = move_ca(by=by, ca_id=ca_id, target=target, action="ca:deletion_requested", reason=reason.strip())
    mark_due(kind="account", subject_id=ca.account_id)
    return ca


@transaction.atomic
def move_ca(
    *,
    by: Actor,
    ca_id: UUID,
    target: CaState,
    action: str,
    why: str = "",
    reason: str = "",
    cloudflare_id: str | None = None,
    details: Mapping[str, object] | None = None,
) -> CertificateAuthority:
    """One legal move of a CA's state, with its audit event. Raises Conflict for an illegal one.

    `why` is shown beside the state; `reason` is what a person gave.
    """
    ca = _locked(ca_id)
    if not may_move(ca.state, target):
        raise Conflict(f"{ca.name} is {ca.state}, so this cannot be done now. Reload the page.", code="illegal_move")
    before = {"state": ca.state, "cloudflare_id": ca.cloudflare_id}
    ca.state, ca.state_reason = target.value, why
    if cloudflare_id is not None:
        ca.cloudflare_id = cloudflare_id
    now = timezone.now()
    if target == CaState.LIVE and ca.live_at is None:
        ca.live_at = now
    if target == CaState.DELETED:
        ca.deleted_at = now
    ca.save(update_fields=["state", "state_reason", "cloudflare_id", "live_at", "deleted_at"])
    after = {"state": ca.state, "cloudflare_id": ca.cloudflare_id, "why": why}
    _record(by, action, ca, reason=reason, before=before, after=after, details=details)
    return ca


def _locked(ca_id: UUID) -> CertificateAuthority:
    ca = CertificateAuthority.objects.select_for_update().filter(pk=ca_id).first()
    if ca is None:
        raise NotFound("No such CA. It may belong to another account.")
    return ca


def _record(by: Actor, action: str, ca: CertificateAuthority, **more: object) -> None:
    record(by=by, action=action, subject=("ca", ca.pk, ca.name), account=ca.account_id, **more)  # type: ignore[arg-type]
