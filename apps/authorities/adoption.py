"""Adopting a CA that the account holds already and the portal has no record of: nothing is sent to Cloudflare (F14).

The certificate is the one that the account's listing returned. It passes the same checks as an upload, but one that
an upload would be refused for is only a caution here: the edge has it, and a record changes nothing about that.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from apps.audit.services import record
from apps.authorities.intake import PeopleSay, intake_problems, make_ca_record, told_of
from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import UploadInspection, holding_ca, inspect_upload
from apps.authorities.states import CaState
from apps.errors import Conflict, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.inventory.models import Account, EdgeCertificate
from apps.outbox.services import mark_due
from apps.pki.checks_validity import has_expired
from apps.pki.findings import Finding, Severity
from apps.pki.free_text import text_fault

# What would make the record itself wrong is refused here as anywhere.
OF_THE_RECORD = {"private_key", "name_free", "not_uploaded_before"}


def adoptable(account: Account, cloudflare_id: str) -> EdgeCertificate:
    """The slot's row of the last listing. Raises NotFound without one, Conflict when the portal has its record."""
    row = account.edge_certificates.filter(cloudflare_id=cloudflare_id).first()
    if row is None or not row.takes_slot:
        raise NotFound(f"Cloudflare lists no CA with this id in {account}. Reload the page.", field="cloudflare_id")
    known = holding_ca(account, row.fingerprint) if row.fingerprint else None
    if known is not None:
        raise Conflict(f"This CA is here already as {known.name}.", code="already_adopted")
    return row


def inspect_adoption(*, account: Account, row: EdgeCertificate, name: str, now: datetime) -> UploadInspection:
    """Every check of an upload, on the PEM of the listing. What speaks against the certificate is a caution."""
    seen = inspect_upload(
        account=account, data=row.pem, name=name, now=now, choose=row.fingerprint, accept_expired=True
    )
    if seen.certificate is None:
        return seen
    return replace(seen, findings=tuple(_softened(finding) for finding in seen.findings))


def _softened(finding: Finding) -> Finding:
    if finding.severity is not Severity.REFUSE or finding.check in OF_THE_RECORD:
        return finding
    return finding._replace(severity=Severity.CAUTION)


@transaction.atomic
def adopt_ca(*, by: Actor, account: Account, cloudflare_id: str, people: PeopleSay) -> CertificateAuthority:
    """Make the record of a CA that is at the edge: live at once, under its Cloudflare id. No call is made.

    Its hostnames stay unapproved until they are adopted too. Raises Invalid with every reason at once, NotFound,
    Conflict.
    """
    by.require(Permission.CA_UPLOAD)
    account = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    row, now = adoptable(account, cloudflare_id), timezone.now()
    inspection = inspect_adoption(account=account, row=row, name=people.name, now=now)
    problems = intake_problems(inspection, people)
    if fault := text_fault(people.reason, "Say why. Auditors read this."):
        problems["reason"] = [fault]
    facts = inspection.certificate
    if problems or facts is None:
        raise Invalid("The CA was not adopted. Mend what is named and send it again.", details=problems)
    ca = make_ca_record(
        by, account, inspection, facts, people,
        state=CaState.LIVE,
        cloudflare_id=row.cloudflare_id,
        # Which of two CAs has priority at the edge goes by when it was deployed, not by when it was adopted.
        live_at=row.uploaded_at or now,
        adopted=True,
    )  # fmt: skip
    after = told_of(ca) | {
        "cloudflare_id": ca.cloudflare_id,
        "owner_team": people.owner_team.slug if people.owner_team else "",
        "expired": has_expired(facts, now),
    }
    subject = ("ca", ca.pk, ca.name)
    record(by=by, action="ca:adopted", subject=subject, account=account.pk, reason=ca.reason, after=after)
    mark_due(kind="account", subject_id=account.pk)
    return ca
