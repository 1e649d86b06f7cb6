"""What the view of associations is made of: its columns, and one row per hostname."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apps.authorities.models import CertificateAuthority
from apps.identity.models import Team
from apps.inventory.models import EdgeCertificate, Zone


@dataclass(frozen=True)
class Column:
    """One CA of the table: ours, or one that only the edge knows."""

    key: str
    label: str
    ca: CertificateAuthority | None
    edge: EdgeCertificate | None
    expires_at: datetime | None


@dataclass(frozen=True)
class Cell:
    """One hostname under one CA. `state` is a word of UX "Association state", or `none`."""

    key: str
    ca: CertificateAuthority | None
    ca_label: str
    state: str
    since: datetime | None = None
    request_id: int | None = None


@dataclass(frozen=True)
class RuleCell:
    """The enforcement rule as read: enforced, logging, paused, no_rule, queued, altered or zone_gone."""

    state: str
    pinned: bool | None = None
    detail: str = ""


@dataclass(frozen=True)
class HostnameRow:
    """Everything the pages say of one hostname."""

    hostname: str
    zone: Zone
    owner: Team | None
    answer: str
    sentence: str
    cells: tuple[Cell, ...]
    rule: RuleCell
    mode: str
    request_id: int | None
    changed_at: datetime | None
    read_at: datetime | None
    bypasses: tuple[str, ...]

    @property
    def live_cells(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if cell.state in {"live", "unexpected"})
