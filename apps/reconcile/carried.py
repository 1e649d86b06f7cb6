"""Which requests a zone's change is for: those of which it sends something, and no others.

They go to the edge with it, fail with it, and can no longer be called off. A request that is done in this zone, or
that waits for its CA, has no part in what others have sent there.
"""

from __future__ import annotations

from collections.abc import Sequence

from apps.coverage.models import CoverageRequest, RequestHostname
from apps.inventory.models import Zone
from apps.planning.plan import Plan
from apps.planning.reach import reach_of


def pending_in(zone: Zone, request: CoverageRequest) -> frozenset[str]:
    """Its hostnames of this zone that no read has shown as asked for yet."""
    pending = RequestHostname.Result.PENDING
    return frozenset(
        row.hostname for row in request.hostnames.all() if row.zone_id == zone.pk and row.result == pending
    )


def carried_by(plan: Plan, zone: Zone, requests: Sequence[CoverageRequest]) -> list[CoverageRequest]:
    """Those of the requests that have a part in the plan.

    All of them when none has: what an earlier change left to do, such as a bridge to take away, goes with whoever comes
    next.
    """
    reach = reach_of(plan)
    found = [
        request
        for request in requests
        if any(reach.touches(request.ca.fingerprint, name) for name in pending_in(zone, request))
    ]
    return found or list(requests)
