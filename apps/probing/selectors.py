"""Reading probes: one hostname's, and where the probe disagrees with the edge read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import Association
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.inventory.models import Account, Zone
from apps.outbox.models import OutboxEntry
from apps.outbox.selectors import entry_of
from apps.probing.models import Probe, ProbeSetting, ProbeTarget

HISTORY_LENGTH = 20


@dataclass(frozen=True)
class NameSeen:
    """One CA name the handshake sent, and the CA of this account that bears it, if any."""

    text: str
    ca: CertificateAuthority | None


@dataclass(frozen=True)
class ProbeView:
    """Everything the pages and the API say of one hostname's probes.

    `pending`: one is asked for or running. `sentence` is that of the contradiction, "" when there is none.
    `cas` are the CAs the edge lists for the hostname; `named` says for each whether the handshake named it.
    """

    enabled: bool
    covered: bool
    may_ask: bool
    pending: bool
    due_at: datetime | None
    latest: Probe | None
    history: tuple[Probe, ...]
    names: tuple[NameSeen, ...]
    cas: tuple[tuple[CertificateAuthority, bool], ...]
    contradicts: bool
    sentence: str
    since: datetime | None


def setting_of(account: Account) -> ProbeSetting:
    """The stored setting, or the one that holds without: off."""
    return ProbeSetting.objects.filter(account=account).first() or ProbeSetting(account=account)


def approved_associations(account: Account) -> QuerySet[Association]:
    """What may be probed. An approved removal ends it at once."""
    rows = Association.objects.filter(zone__account=account, zone__vanished_at=None)
    return rows.filter(state=Association.State.APPROVED)


def may_ask(actor: Actor, zone: Zone, hostname: str) -> bool:
    """Whoever may retry runs, and members of a team that owns the hostname."""
    if actor.may(Permission.RUN_RETRY):
        return True
    if actor.person is None:
        return False
    teams = actor.person.teams.values("pk")
    return Association.objects.filter(zone=zone, hostname=hostname, owner_team__in=teams).exists()


def probe_of(actor: Actor, zone: Zone, hostname: str) -> ProbeView:
    """The probes of one hostname, seen or not."""
    enabled = setting_of(zone.account).enabled
    covered = approved_associations(zone.account).filter(zone=zone, hostname=hostname).exists()
    target = ProbeTarget.objects.filter(zone=zone, hostname=hostname).first()
    history = tuple(target.probes.all()[:HISTORY_LENGTH]) if target else ()
    entry = entry_of("probe", target.pk) if target else None
    latest = history[0] if history else None
    cas = _cas(zone.account, latest)
    names = _names(zone.account, latest)
    told = {seen.ca.pk for seen in names if seen.ca}
    disagrees = bool(target and target.contradicts and enabled and covered)
    return ProbeView(
        enabled=enabled,
        covered=covered,
        may_ask=enabled and covered and may_ask(actor, zone, hostname),
        pending=enabled and covered and _is_pending(entry, latest),
        due_at=entry.due_at if entry and enabled and covered else None,
        latest=latest,
        history=history,
        names=names,
        cas=tuple((ca, ca.pk in told) for ca in cas),
        contradicts=disagrees,
        sentence=target.sentence if target and disagrees else "",
        since=target.found_at if target and disagrees else None,
    )


def _is_pending(entry: OutboxEntry | None, latest: Probe | None) -> bool:
    return entry is not None and entry.parked_at is None and (entry.urgent or latest is None)


def _cas(account: Account, latest: Probe | None) -> list[CertificateAuthority]:
    if latest is None:
        return []
    return list(CertificateAuthority.objects.filter(account=account, cloudflare_id__in=latest.expected["cas"]))


def _names(account: Account, latest: Probe | None) -> tuple[NameSeen, ...]:
    if latest is None or not latest.names:
        return ()
    by_subject = {ca.facts.get("subject"): ca for ca in CertificateAuthority.objects.filter(account=account)}
    return tuple(NameSeen(text, by_subject.get(text)) for text in latest.names)


def probe_contradictions(account: Account) -> dict[str, str]:
    """Hostname -> sentence, where the last probe that could tell contradicts what was read at the edge."""
    if not setting_of(account).enabled:
        return {}
    approved = approved_associations(account).filter(zone=OuterRef("zone"), hostname=OuterRef("hostname"))
    rows = ProbeTarget.objects.filter(Exists(approved), zone__account=account, contradicts=True)
    return dict(rows.values_list("hostname", "sentence"))
