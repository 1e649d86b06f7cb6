"""What a removal reaches, before anybody says yes: hostnames, zones, teams, modes, other CAs, and the last probe."""

from __future__ import annotations

from dataclasses import dataclass

from apps.coverage.models import CoverageRequest
from apps.probing.models import Probe
from apps.reconcile.row_types import HostnameRow
from apps.reconcile.rows import build_rows


@dataclass(frozen=True)
class Reached:
    """One hostname. `keeps` are the CAs that still cover it afterwards; `probe` is None where nobody looked."""

    row: HostnameRow
    keeps: tuple[str, ...]
    probe: Probe | None


@dataclass(frozen=True)
class Radius:
    """`loses` counts hostnames that no CA covers afterwards."""

    reached: tuple[Reached, ...]
    zones: tuple[str, ...]
    teams: tuple[str, ...]
    modes: tuple[tuple[str, int], ...]
    loses: int


def radius_of(request: CoverageRequest) -> Radius:
    """Read for showing; the plan's own words are what is approved."""
    names = [item.hostname for item in request.hostnames.all()]
    rows = build_rows(request.account, only=names)
    probes = _last_probes(request, names)
    reached = tuple(
        Reached(
            row,
            tuple(cell.ca_label for cell in row.live_cells if not (cell.ca and cell.ca.pk == request.ca_id)),
            probes.get((row.zone.pk, row.hostname)),
        )
        for row in rows
    )
    modes: dict[str, int] = {}
    for row in rows:
        modes[row.mode or "verify"] = modes.get(row.mode or "verify", 0) + 1
    return Radius(
        reached,
        tuple(sorted({row.zone.name for row in rows})),
        tuple(sorted({str(row.owner) for row in rows if row.owner})),
        tuple(sorted(modes.items())),
        sum(not one.keeps for one in reached),
    )


def _last_probes(request: CoverageRequest, names: list[str]) -> dict[tuple[object, str], Probe]:
    probes = Probe.objects.filter(target__zone__account=request.account_id, target__hostname__in=names)
    rows = probes.select_related("target").order_by("at")
    return {(probe.target.zone_id, probe.target.hostname): probe for probe in rows}
