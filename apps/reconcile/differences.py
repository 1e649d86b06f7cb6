"""Reading differences between approved and edge: which are open, and what deciding on some of them would ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import ca_by_id
from apps.authorities.states import CaState
from apps.coverage.models import Association, Enforcement, Kind, ModeChoice
from apps.coverage.selectors import assess
from apps.errors import NotFound
from apps.identity.actors import Actor
from apps.inventory.models import Account, EdgeRules, Zone
from apps.planning.seen import edge_modes
from apps.planning.state import RuleState
from apps.reconcile.models import Drift, DriftIgnore


class Decision(StrEnum):
    """RESTORE sends what was approved again, ACCEPT approves what the edge shows. Both ask; an approver decides."""

    RESTORE = "restore"
    ACCEPT = "accept"


@dataclass(frozen=True)
class Group:
    """Hostnames that one request can name: one kind, one CA, one mode. `in_zones` says where it differs."""

    kind: str
    ca: CertificateAuthority
    mode: str
    hostnames: tuple[str, ...]
    in_zones: dict[str, Zone] = field(default_factory=dict, compare=False)


@dataclass
class Proposal:
    """What deciding would ask for. `left_out` are differences that it cannot be asked for, each with the reason."""

    groups: list[Group] = field(default_factory=list)
    left_out: list[tuple[Drift, str]] = field(default_factory=list)

    @property
    def hostnames(self) -> int:
        return sum(len(group.hostnames) for group in self.groups)


def drift_open(
    account: Account, *, kind: str = "", ca: str = "", zone: str = "", ignored: bool = False
) -> QuerySet[Drift]:
    """Differences that the last read still showed, newest first, without those that somebody set aside for now.

    `ca` is the portal's or Cloudflare's id, `zone` an id or a name. `ignored` gives those set aside instead.
    """
    rows = Drift.objects.filter(zone__account=account, zone__vanished_at=None, resolved_at=None)
    aside = Exists(DriftIgnore.objects.filter(drift=OuterRef("pk"), ended_at=None, until__gt=timezone.now()))
    rows = rows.filter(aside if ignored else ~aside)
    if kind:
        rows = rows.filter(kind=kind)
    if ca:
        rows = rows.filter(ca_cloudflare_id=_cloudflare_id(ca))
    if zone:
        rows = rows.filter(Q(zone__name=zone.lower()) | Q(zone__cloudflare_id=zone) | Q(zone_id__in=_as_id(zone)))
    return rows.select_related("zone", "ca").order_by("-first_seen_at", "hostname", "pk")


def _cloudflare_id(reference: str) -> str:
    try:
        return ca_by_id(reference).cloudflare_id or reference
    except NotFound:
        return reference


def _as_id(reference: str) -> list[UUID]:
    try:
        return [UUID(reference)]
    except ValueError:
        return []


def propose(*, by: Actor, account: Account, rows: Iterable[Drift], decision: Decision) -> Proposal:
    """Sort the differences into requests that this person may send now. Nothing is stored."""
    proposal = Proposal()
    sorter = _Sorter(account)
    wanted: dict[tuple[str, CertificateAuthority, str], dict[str, Drift]] = {}
    for row in rows:
        key = sorter.restore(row) if decision is Decision.RESTORE else sorter.accept(row)
        if isinstance(key, str):
            proposal.left_out.append((row, key))
        elif (first := wanted.setdefault(key, {}).setdefault(row.hostname, row)).zone_id != row.zone_id:
            words = f"A request names a hostname once. This one goes for {first.zone.name}; decide on this afterwards."
            proposal.left_out.append((row, words))
    for (kind, ca, mode), named in sorted(wanted.items(), key=lambda item: (item[0][0], item[0][1].name, item[0][2])):
        names = sorted(named)
        zones = {name: row.zone for name, row in named.items()}
        text = "\n".join(names)
        verdicts = assess(by=by, ca=ca, kind=kind, mode=mode, text=text, most=len(names), in_zones=zones)
        refused = {verdict.hostname or verdict.raw: verdict.message for verdict in verdicts if verdict.status == "fix"}
        proposal.left_out += [(named[name], refused[name]) for name in names if name in refused]
        if ready := tuple(name for name in names if name not in refused):
            proposal.groups.append(Group(kind, ca, mode, ready, zones))
    return proposal


class _Sorter:
    """Which request a difference belongs to, or a sentence that says why to none. Reads the account once."""

    def __init__(self, account: Account) -> None:
        self._edge_modes = {
            (row.zone_id, name): mode.value
            for row in EdgeRules.objects.filter(zone__account=account)
            for name, mode in edge_modes(RuleState(**rule) for rule in row.rules).items()
        }
        self._modes = {
            (row.zone_id, row.hostname): row.mode for row in Enforcement.objects.filter(zone__account=account)
        }
        self._approved: dict[tuple[UUID, str], CertificateAuthority] = {}
        rows = Association.objects.filter(zone__account=account, state=Association.State.APPROVED)
        found = list(rows.select_related("ca__account").order_by("approved_at", "pk"))
        # A CA that is gone, or one whose list never had the hostname, is asked only where there is no other.
        for row in sorted(found, key=lambda row: row.ca.state != CaState.LIVE or row.live_at is None):
            self._approved.setdefault((row.zone_id, row.hostname), row.ca)

    def restore(self, row: Drift) -> tuple[str, CertificateAuthority, str] | str:
        if row.kind == Drift.Kind.UNEXPECTED:
            return "Nothing is approved for it. Adopt it first; a removal can be requested then."
        ca = row.ca if row.kind == Drift.Kind.MISSING else self._approved.get((row.zone_id, row.hostname))
        if ca is None:
            return "Nothing is approved for it, so there is nothing to restore. Request coverage to give the rule a CA."
        return Kind.RESTORE.value, ca, self._mode(row)

    def accept(self, row: Drift) -> tuple[str, CertificateAuthority, str] | str:
        if row.kind == Drift.Kind.ALTERED:
            return "A rule is not accepted as somebody left it. Restore it, or request the mode that is wanted."
        if row.ca is None:
            return "The portal has no record of its CA. Adopt the CA first."
        if row.kind == Drift.Kind.MISSING:
            return Kind.UNCOVER.value, row.ca, ModeChoice.VERIFY.value
        return Kind.ADOPT.value, row.ca, self._mode(row)

    def _mode(self, row: Drift) -> str:
        """As approved, else what the rule of ours at the edge does already: adopting changes nothing there."""
        key = (row.zone_id, row.hostname)
        return self._modes.get(key) or self._edge_modes.get(key) or ModeChoice.VERIFY.value
