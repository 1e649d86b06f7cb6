"""Reading CAs and slots, and judging an upload before it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from apps.authorities.kinship import kinship
from apps.authorities.models import CertificateAuthority
from apps.authorities.states import HOLDING, RESERVING
from apps.errors import NotFound
from apps.inventory.models import Account, EdgeCertificate
from apps.inventory.selectors import edge_lists_of, slot_certificates
from apps.pki.bundle import read_bundle
from apps.pki.certificate import CertificateFacts, read_certificate
from apps.pki.findings import Finding, Severity
from apps.pki.free_text import KEY_ADVICE
from apps.pki.hints import PRIVATE_KEY
from apps.pki.inspection import Inspection, inspect
from apps.pki.private_keys import holds_private_key

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SlotHolder:
    """What holds one slot: a CA of ours, or something else the account returned."""

    label: str
    ca: CertificateAuthority | None
    edge: EdgeCertificate | None
    state: str
    expires_at: datetime | None
    hostnames: int


@dataclass(frozen=True)
class SlotLedger:
    """The account's CA slots: what Cloudflare returned, plus CAs of ours that its list does not show now."""

    limit: int
    holders: tuple[SlotHolder, ...]
    read_at: datetime | None = None

    @property
    def used(self) -> int:
        return len(self.holders)

    @property
    def free(self) -> int:
        return max(self.limit - self.used, 0)

    @property
    def left_after_one(self) -> range:
        """One number for each slot that stays free when one more is taken."""
        return range(self.free - 1)

    @property
    def labels(self) -> str:
        """Who holds the slots, as the end of a sentence; what others uploaded is marked."""
        names = [holder.label if holder.ca else f"{holder.label} (uploaded outside)" for holder in self.holders]
        return ", ".join(names) or "nobody"


@dataclass(frozen=True, kw_only=True)
class UploadInspection(Inspection):
    """What an upload is, and every check that would be made on submitting it. Nothing is stored.

    `known` names, by fingerprint, the CAs here that hold one of them already.
    """

    known: dict[str, CertificateAuthority]
    slots: SlotLedger

    @property
    def waits_for_choice(self) -> bool:
        """Several are in it, at least one could go up, and none was chosen."""
        return bool(self.candidates) and self.chosen is None and self.findings[0].severity is Severity.CAUTION

    @property
    def holds_private_key(self) -> bool:
        """Then nothing of the upload may be shown again."""
        return any(finding.check == "private_key" for finding in self.findings)


def cas_of(account: Account) -> QuerySet[CertificateAuthority]:
    """Every CA record of the account, deleted ones too, oldest first."""
    return CertificateAuthority.objects.filter(account=account).select_related("owner_team").order_by("created_at")


def ca_by_id(ca_id: UUID | str) -> CertificateAuthority:
    """By the portal's id or Cloudflare's. Raises NotFound."""
    cas = CertificateAuthority.objects.select_related("account", "owner_team", "uploaded_by")
    try:
        found = cas.filter(pk=ca_id).first()
    except (ValidationError, ValueError):
        found = None
    found = found or cas.filter(cloudflare_id=str(ca_id)).exclude(cloudflare_id="").first()
    if found is None:
        raise NotFound("No such CA. It may belong to another account.", field="ca")
    return found


def certificate_of(ca: CertificateAuthority) -> CertificateFacts:
    """Everything the certificate says, read from the PEM again: stored facts are as old as their record."""
    return read_certificate(read_bundle(ca.pem).ders[0])


def holding_ca(account: Account, fingerprint: str) -> CertificateAuthority | None:
    """The record that claims this certificate in the account, if any."""
    return CertificateAuthority.objects.filter(account=account, fingerprint=fingerprint, state__in=HOLDING).first()


def slots_of(account: Account) -> SlotLedger:
    """Who holds the account's slots, oldest deployment first."""
    ours = {ca.cloudflare_id: ca for ca in cas_of(account).filter(state__in=HOLDING) if ca.cloudflare_id}
    counts: dict[str, int] = {}
    for row in edge_lists_of(account):
        counts[row.ca_cloudflare_id] = counts.get(row.ca_cloudflare_id, 0) + len(row.hostnames)
    holders = []
    for row in slot_certificates(account):
        ca = ours.get(row.cloudflare_id)
        label, state = (ca.name, ca.state) if ca else (str(row), "unexpected")
        holders.append(SlotHolder(label, ca, row, state, row.expires_at, counts.get(row.cloudflare_id, 0)))
    listed = {holder.edge.fingerprint for holder in holders if holder.edge}
    shown = {holder.ca.pk for holder in holders if holder.ca}
    holders += [
        SlotHolder(ca.name, ca, None, ca.state, ca.not_after, 0)
        for ca in cas_of(account).filter(state__in=RESERVING)
        if ca.pk not in shown and ca.fingerprint not in listed
    ]
    return SlotLedger(account.slot_limit, tuple(holders), account.read_at)


def slot_for(fingerprint: str, slots: SlotLedger) -> bool:
    """Whether a CA with this fingerprint may be sent: a slot is free, or the account holds the certificate already."""
    return slots.free > 0 or any(holder.edge and holder.edge.fingerprint == fingerprint for holder in slots.holders)


def no_slot_words(slots: SlotLedger) -> str:
    return f"All {slots.limit} slots are used. Remove or replace a CA to free one. Held by: {slots.labels}."


def cas_ending(account: Account) -> list[CertificateAuthority]:
    """CAs of the account that came within a threshold of their end (`ExpiryNotice`), the first to end first."""
    rows = cas_of(account).filter(state__in=HOLDING).exclude(expiry_notices=None)
    return list(rows.prefetch_related("expiry_notices").order_by("not_after"))


def inspect_upload(
    *, account: Account, data: bytes | str, name: str, now: datetime, choose: str = "", accept_expired: bool = False
) -> UploadInspection:
    """Judge an upload: the certificate's own checks, then the account's (known already, name, slot).

    `choose` is the fingerprint of the certificate that is meant among several; `accept_expired` admits an expired
    CA with a caution. A private key is refused and its arrival logged, without a byte of it.
    """
    inspection = inspect(data, now=now, choose=choose, accept_expired=accept_expired)
    slots = slots_of(account)
    findings = list(inspection.findings)
    prints = [candidate.fingerprint for candidate in inspection.candidates]
    holders = CertificateAuthority.objects.filter(account=account, fingerprint__in=prints, state__in=HOLDING)
    known = {ca.fingerprint: ca for ca in holders}
    if facts := inspection.certificate:
        findings += [_not_uploaded_before(account, facts), _slot_free(account, facts, slots)]
        findings += kinship(account, facts)
    if named_by_key := holds_private_key(name):
        findings.append(PRIVATE_KEY._replace(check="name_free", detail=KEY_ADVICE))
    elif name.strip():
        findings.append(_name_free(account, name.strip()))
    seen = UploadInspection(
        findings=tuple(findings), candidates=inspection.candidates, chosen=inspection.chosen, known=known, slots=slots
    )
    if seen.holds_private_key or named_by_key:
        logger.warning("private_key_refused", account=str(account.pk))
    return seen


def _not_uploaded_before(account: Account, facts: CertificateFacts) -> Finding:
    known = holding_ca(account, facts.fingerprint)
    if known is None:
        return Finding("not_uploaded_before", Severity.PASSED, "Not uploaded before", "No CA here has this fingerprint")
    return Finding(
        "not_uploaded_before",
        Severity.REFUSE,
        f"Already uploaded as {known.name}",
        f"The same certificate is here since {known.created_at:%d %b %Y}. Use that CA.",
        citation=f"/cas/{known.pk}/",
    )


def _name_free(account: Account, name: str) -> Finding:
    if "\0" in name:
        return Finding("name_free", Severity.REFUSE, "The name holds a NUL character", "Type the name anew.")
    if CertificateAuthority.objects.filter(account=account, name=name, state__in=HOLDING).exists():
        return Finding(
            "name_free", Severity.REFUSE, "Name is already used", f"{name} is taken. Add a year or a generation."
        )
    return Finding("name_free", Severity.PASSED, "Name is free", name)


def _slot_free(account: Account, facts: CertificateFacts, slots: SlotLedger) -> Finding:  # noqa: ARG001
    adoptable = any(holder.edge and holder.edge.fingerprint == facts.fingerprint for holder in slots.holders)
    if adoptable:
        return Finding(
            "slot_free", Severity.PASSED, "Already in the account", "The portal takes over the existing slot"
        )
    if slots.free == 0:
        return Finding(
            "slot_free",
            Severity.REFUSE,
            f"All {slots.limit} slots are used",
            f"Remove or replace a CA to free one. Held by: {slots.labels}.",
        )
    return Finding("slot_free", Severity.PASSED, "A slot is free", f"This takes slot {slots.used + 1} of {slots.limit}")
