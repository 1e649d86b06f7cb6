"""What people decide about drift. A decision about the edge is a request like any other; setting aside is not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from apps.audit.services import record
from apps.authorities import adoption
from apps.authorities.intake import PeopleSay
from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest, Kind
from apps.coverage.services import create_request
from apps.errors import Invalid
from apps.identity.actors import Actor
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.inventory.models import Account
from apps.pki.free_text import free_text
from apps.reconcile.differences import Group, drift_open
from apps.reconcile.models import Drift, DriftIgnore
from apps.reconcile.services import planned

IGNORED_FOR = timedelta(days=7)


@transaction.atomic
def adopt_ca(*, by: Actor, account: Account, cloudflare_id: str, people: PeopleSay) -> CertificateAuthority:
    """Adopt a CA (authorities/adoption.py), and tie the differences that name it to its record at once."""
    ca = adoption.adopt_ca(by=by, account=account, cloudflare_id=cloudflare_id, people=people)
    open_rows = Drift.objects.filter(zone__account=account, ca_cloudflare_id=cloudflare_id, resolved_at=None)
    open_rows.update(ca=ca)
    return ca


def ask(
    *, by: Actor, groups: Iterable[Group], reason: str, ticket: str = "", team: Team | None = None
) -> list[CoverageRequest]:
    """Send one request per group, all or none, each planned from a fresh read. Raises Invalid.

    What is adopted gets an owner: the team given, or the only one of whoever asks.
    """
    groups = list(groups)
    if not groups:
        raise Invalid("Nothing is left to ask for. The list says why.", field="picks")
    one_team = by.person is not None and by.person.teams.count() == 1
    if team is None and not one_team and any(group.kind == Kind.ADOPT for group in groups):
        raise Invalid("Say which team owns the hostnames from now on.", field="team")
    with transaction.atomic():
        made = [
            create_request(
                by=by,
                kind=group.kind,
                ca=group.ca,
                mode=group.mode,
                text="\n".join(group.hostnames),
                reason=reason,
                ticket=ticket,
                team=team,
                most=len(group.hostnames),
                in_zones=group.in_zones,
            )
            for group in groups
        ]
    return [planned(request, by) for request in made]


@transaction.atomic
def ignore_drift(*, by: Actor, account: Account, drift_ids: Iterable[int], reason: str) -> list[DriftIgnore]:
    """Set open differences aside for seven days. They come back by themselves, or when they change."""
    by.require(Permission.DRIFT_IGNORE)
    reason = free_text(reason, "reason", "Say why. Auditors read this.")
    rows = list(drift_open(account).select_for_update(of=("self",)).filter(pk__in=list(drift_ids)))
    if not rows:
        raise Invalid("None of these differences is open any more. Reload the page.", field="picks")
    until = timezone.now() + IGNORED_FOR
    made = [
        DriftIgnore.objects.create(drift=row, until=until, reason=reason, ignored_by_label=by.label) for row in rows
    ]
    _tell(by, account, "drift:ignored", rows, reason=reason, after={"until": until})
    return made


@transaction.atomic
def show_drift(*, by: Actor, account: Account, drift_ids: Iterable[int]) -> list[Drift]:
    """Put differences that were set aside back among the others."""
    by.require(Permission.DRIFT_IGNORE)
    rows = list(drift_open(account, ignored=True).filter(pk__in=list(drift_ids)))
    if rows:
        DriftIgnore.objects.filter(drift__in=rows, ended_at=None).update(ended_at=timezone.now())
        _tell(by, account, "drift:shown", rows)
    return rows


def _tell(by: Actor, account: Account, action: str, rows: list[Drift], **more: object) -> None:
    pairs = [{"kind": row.kind, "hostname": row.hostname, "ca_cloudflare_id": row.ca_cloudflare_id} for row in rows]
    record(
        by=by, action=action, subject=("account", account.pk, account.name), account=account.pk,
        hostnames={row.hostname for row in rows}, details={"differences": pairs}, **more,  # type: ignore[arg-type]
    )  # fmt: skip
