"""Asking for another set of known issuers of a CA: a request with a plan like any other.

Every hostname of the CA with a rule is in it, because each rule changes its pins. Narrowing refuses clients that pass
today, so on hostnames in block it waits for evidence in log, or for somebody who says why not.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import transaction

from apps.authorities.issuers import Issuer, read_issuers, skis_of
from apps.authorities.models import CertificateAuthority
from apps.authorities.states import CaState
from apps.coverage.models import Association, CoverageRequest, Enforcement, Kind, ModeChoice, RequestHostname
from apps.coverage.moves import record_request
from apps.coverage.states import OPEN
from apps.coverage.verdicts import MAX_OVERRIDE
from apps.errors import Conflict, Invalid
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.inventory.models import Account
from apps.outbox.services import mark_due
from apps.pki.free_text import text_fault, text_faults


@transaction.atomic
def create_issuers_request(
    *, by: Actor, ca: CertificateAuthority, entries: Sequence[str], reason: str, override: str = "", ticket: str = ""
) -> CoverageRequest:
    """Store the request in state `planning`. Raises Invalid with every problem, Conflict while another one is open.

    `entries` as `authorities.issuers.read_issuers` takes them; none at all asks for rules without a pin.
    """
    by.require(Permission.CA_UPLOAD)
    by.require(Permission.REQUEST_CREATE)
    Account.objects.select_for_update(no_key=True).get(pk=ca.account_id)
    ca = CertificateAuthority.objects.select_related("account").get(pk=ca.pk)
    if ca.state != CaState.LIVE:
        raise Conflict(f"{ca.name} is {ca.state}. Its issuers change once it is live.", code="ca_not_live")
    if CoverageRequest.objects.filter(ca=ca, kind=Kind.ISSUERS, state__in=OPEN).exists():
        raise Conflict(f"Another request for the issuers of {ca.name} is open. Decide it first.", code="pending")
    problems = text_faults(ticket=ticket, override=override)
    if fault := text_fault(reason, "Say why. Reviewers and auditors read this."):
        problems["reason"] = [fault]
    if len(override) > MAX_OVERRIDE:
        problems["override"] = [f"Use at most {MAX_OVERRIDE:,} characters."]
    issuers = []
    try:
        issuers = read_issuers(ca, [entry for entry in entries if entry.strip()])
    except Invalid as refused:
        problems |= refused.details
    rows = enforced_rows(ca)
    blocked = [row for row in rows if row.mode == ModeChoice.BLOCK]
    narrows = is_narrower(ca, skis_of(issuers))
    if "issuers" not in problems and skis_of(issuers) == (ca.issuer_skis or frozenset()):
        problems["issuers"] = ["These are the issuers that are known already. Nothing to change."]
    elif narrows and blocked and not override.strip():
        problems["override"] = [
            f"{_count(len(blocked))} in block, and clients of issuers that are not named would be refused. "
            "Take them to log first and look who that would be, or say here why it is safe."
        ]
    if problems:
        raise Invalid("The request was not sent. Mend what is named and send it again.", details=problems)
    request = CoverageRequest.objects.create(
        kind=Kind.ISSUERS, account=ca.account, ca=ca, mode=ModeChoice.VERIFY, reason=reason.strip(), issuers=issuers,
        override=override.strip() if narrows and blocked else "", ticket=ticket.strip()[:120], team=ca.owner_team,
        requested_by=by.person, requested_by_label=by.label, correlation_id=str(uuid.uuid4()),
    )  # fmt: skip
    RequestHostname.objects.bulk_create(
        RequestHostname(request=request, zone=row.zone, hostname=row.hostname, note=f"In {row.mode}") for row in rows
    )
    before = {"issuers": sorted(skis_of(ca.issuers))}
    after = {"kind": request.kind, "ca": ca.fingerprint, "issuers": sorted(skis_of(issuers)), "narrows": narrows}
    names = [row.hostname for row in rows]
    record_request(
        by, "request:created", request, hostnames=names, reason=request.reason, before=before, after=after
    )  # fmt: skip
    mark_due(kind="account", subject_id=ca.account_id)
    return request


def name_ruled_hostnames(request: CoverageRequest) -> None:
    """Bring the hostnames of a request for issuers up to date: rules come and go while it waits.

    Inside the transaction of a service that has locked it.
    """
    ruled = {(row.zone_id, row.hostname): row for row in enforced_rows(request.ca)}
    named = {(row.zone_id, row.hostname): row.pk for row in request.hostnames.all()}
    request.hostnames.filter(pk__in=[pk for key, pk in named.items() if key not in ruled]).delete()
    RequestHostname.objects.bulk_create(
        RequestHostname(request=request, zone=row.zone, hostname=row.hostname, note=f"In {row.mode}")
        for key, row in ruled.items()
        if key not in named
    )


def _count(number: int) -> str:
    return "1 hostname is" if number == 1 else f"{number} hostnames are"


def enforced_rows(ca: CertificateAuthority) -> list[Enforcement]:
    """Hostnames of the CA that a rule names, by zone and name. In a zone that is not listed no rule can change."""
    covered = Association.objects.filter(ca=ca, state=Association.State.APPROVED).values("zone_id", "hostname")
    pairs = {(row["zone_id"], row["hostname"]) for row in covered}
    rows = Enforcement.objects.filter(zone__account_id=ca.account_id, zone__vanished_at=None).exclude(
        mode=ModeChoice.VERIFY
    )
    found = [row for row in rows.select_related("zone") if (row.zone_id, row.hostname) in pairs]
    return sorted(found, key=lambda row: (row.zone.name, row.hostname))


def is_narrower(ca: CertificateAuthority, wanted: frozenset[str]) -> bool:
    """Whether clients that pass now could be refused: fewer issuers, or a first pin where there was none."""
    known = ca.issuer_skis
    return bool(wanted) and (known is None or not known <= wanted)


def refuses_more(ca: CertificateAuthority, issuers: Sequence[Issuer]) -> bool:
    """Whether clients that pass now could be refused on a hostname in block."""
    blocked = any(row.mode == ModeChoice.BLOCK for row in enforced_rows(ca))
    return blocked and is_narrower(ca, skis_of(issuers))
