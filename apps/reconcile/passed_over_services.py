"""Asking that what a longer zone serves is removed from the shorter one."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest, Kind, ModeChoice
from apps.coverage.services import create_request
from apps.errors import Conflict, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.inventory.models import Zone
from apps.reconcile.passed_over import passed_over_in
from apps.reconcile.services import planned


def ask_removal(*, by: Actor, zone_id: UUID) -> list[CoverageRequest]:
    """One request per CA for the removal, from this zone, of all that longer zones serve; somebody else approves each.

    All at once: with one of them left Cloudflare would refuse the list still. The zones that serve them are left alone.
    Raises Forbidden, NotFound, Conflict when nothing is left to ask for, Invalid with what stands against it.
    """
    by.require(Permission.REQUEST_CREATE)
    zone = Zone.objects.select_related("account").filter(pk=zone_id, vanished_at=None).first()
    if zone is None:
        raise NotFound("No such zone.")
    wanted: dict[CertificateAuthority, list[str]] = {}
    serving = set()
    for row in passed_over_in(zone):
        if row.ca is not None and row.askable:
            wanted.setdefault(row.ca, []).append(row.hostname)
            serving.add(row.served_by.name)
    if not wanted:
        words = f"Nothing that a longer zone serves stands in {zone} by an approval, without a request for its removal."
        raise Conflict(words, code="nothing")
    reason = (
        f"Served by {', '.join(sorted(serving))} now. In {zone} it checks nobody, and Cloudflare may refuse the list."
    )
    with transaction.atomic():
        made = [
            create_request(
                by=by, kind=Kind.UNCOVER, ca=ca, mode=ModeChoice.VERIFY, text="\n".join(names), reason=reason,
                most=len(names), in_zones=dict.fromkeys(names, zone),
            )
            for ca, names in wanted.items()
        ]  # fmt: skip
    return [planned(request, by) for request in made]
