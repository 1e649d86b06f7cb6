"""Where the rotation of a CA stands (F23), computed from facts each time: the two CAs, the approved state, the last
read of the edge, and the requests. Nothing of it is stored, so it cannot disagree with what it speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from apps.authorities.models import CertificateAuthority
from apps.authorities.states import CaState
from apps.coverage.models import Association, CoverageRequest, Enforcement, Kind, ModeChoice, RequestHostname
from apps.coverage.states import OPEN, RequestState
from apps.coverage.uses import at_edge_under
from apps.identity.models import Team
from apps.inventory.models import Zone


class Step(StrEnum):
    """What comes next. Each needs a person: an upload, two requests with their own approvals, a word, a deletion."""

    UPLOAD = "upload"
    COVER = "cover"
    CONFIRM = "confirm"
    UNCOVER = "uncover"
    DELETE = "delete"
    DONE = "done"


class Standing(StrEnum):
    """One hostname of the old CA. PENDING: asked for under the new one. APPROVED: on its way there. BOTH: at the edge
    under the new one too. LEAVING: its removal from the old one is approved."""

    OLD = "old"
    PENDING = "pending"
    APPROVED = "approved"
    BOTH = "both"
    LEAVING = "leaving"


@dataclass(frozen=True)
class RotationRow:
    """One hostname that is approved for the old CA. `since` is when a read first showed it under the new one."""

    hostname: str
    zone: Zone
    owner: Team | None
    mode: str
    standing: Standing
    since: datetime | None


@dataclass(frozen=True)
class Rotation:
    """`new` is None until there is a CA that replaces `old`. `unapproved` are names at the edge under the old CA that
    nobody approved: a rotation leaves them alone, and they keep the old CA from being deleted."""

    old: CertificateAuthority
    new: CertificateAuthority | None
    rows: tuple[RotationRow, ...]
    unapproved: tuple[str, ...]
    cover: CoverageRequest | None
    uncover: CoverageRequest | None

    @property
    def staying(self) -> tuple[RotationRow, ...]:
        """Hostnames whose removal from the old CA nobody approved yet."""
        return tuple(row for row in self.rows if row.standing is not Standing.LEAVING)

    @property
    def on_both(self) -> int:
        return sum(row.standing is Standing.BOTH for row in self.rows)

    @property
    def to_cover(self) -> tuple[str, ...]:
        """What a request for the overlap has to name."""
        return tuple(row.hostname for row in self.rows if row.standing is Standing.OLD)

    @property
    def confirmed(self) -> bool:
        """Whether a person has said that clients moved, after every hostname stood under both."""
        at = self.new.clients_confirmed_at if self.new else None
        return at is not None and all(row.since is None or row.since <= at for row in self.staying)

    @property
    def step(self) -> Step:
        if self.old.state == CaState.DELETED:
            return Step.DONE
        if self.new is None or self.new.state != CaState.LIVE:
            return Step.UPLOAD
        if any(row.standing is not Standing.BOTH for row in self.staying):
            return Step.COVER
        if self.staying and not self.confirmed:
            return Step.CONFIRM
        return Step.UNCOVER if self.rows else Step.DELETE

    @property
    def moving(self) -> bool:
        """Whether it goes on without anybody here: an upload, a decision, or a change on its way."""
        uploading = self.new is not None and self.new.state in {CaState.QUEUED, CaState.PUSHING}
        asked = [request for request in (self.cover, self.uncover) if request is not None]
        return uploading or self.old.state == CaState.DELETING or any(request.state in OPEN for request in asked)


def rotation_of(old: CertificateAuthority) -> Rotation:
    """The rotation of this CA, begun or not."""
    new = old.replaced_by
    if new is None and old.state == CaState.DELETED:
        new = old.replacements.order_by("-created_at").first()
    under_new = _under(new) if new else {}
    edge = at_edge_under(new) if new else set()
    cover = _newest(new, Kind.COVER, old, new) if new else None
    uncover = _newest(old, Kind.UNCOVER, old, new) if new else None
    asked = set(cover.hostnames.values_list("hostname", flat=True)) if cover and cover.state in OPEN else set()
    associations = Association.objects.filter(ca=old, zone__vanished_at=None).select_related("zone", "owner_team")
    modes = {
        (row.zone_id, row.hostname): row.mode for row in Enforcement.objects.filter(zone__account_id=old.account_id)
    }
    rows = []
    for row in associations.order_by("zone__name", "hostname"):
        key = (row.zone_id, row.hostname)
        mode = modes.get(key, ModeChoice.VERIFY.value)
        standing = _standing(row, under_new, edge, asked)
        other = under_new.get(key)
        rows.append(
            RotationRow(row.hostname, row.zone, row.owner_team, mode, standing, other.live_at if other else None)
        )
    approved = {(row.zone.pk, row.hostname) for row in rows}
    unapproved = sorted(name for zone_id, name in at_edge_under(old) if (zone_id, name) not in approved)
    return Rotation(old, new, tuple(rows), tuple(unapproved), cover, uncover)


def _under(ca: CertificateAuthority) -> dict[tuple[object, str], Association]:
    rows = Association.objects.filter(ca=ca, state=Association.State.APPROVED)
    return {(row.zone_id, row.hostname): row for row in rows}


def _standing(
    row: Association,
    under_new: dict[tuple[object, str], Association],
    edge: set[tuple[UUID, str]],
    asked: set[str],
) -> Standing:
    key = (row.zone_id, row.hostname)
    if row.state == Association.State.RELEASING:
        return Standing.LEAVING
    if key in under_new:
        return Standing.BOTH if key in edge else Standing.APPROVED
    return Standing.PENDING if row.hostname in asked else Standing.OLD


def _newest(
    ca: CertificateAuthority, kind: Kind, old: CertificateAuthority, new: CertificateAuthority
) -> CoverageRequest | None:
    """The newest request of this kind, since the new CA is here, for hostnames that the old one has or had."""
    names = RequestHostname.objects.filter(request__ca=old).values("hostname")
    rows = CoverageRequest.objects.filter(ca=ca, kind=kind, created_at__gte=new.created_at)
    rows = rows.exclude(state__in=(RequestState.REJECTED, RequestState.WITHDRAWN))
    return rows.filter(hostnames__hostname__in=names).order_by("-pk").first()
