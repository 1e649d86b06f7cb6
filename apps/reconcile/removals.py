"""What was taken off lists lately: guards count it, so that a big removal does not pass in slices."""

from __future__ import annotations

from datetime import timedelta

from apps.inventory.models import Zone
from apps.outbox.clock import database_now
from apps.planning.guards import Recent, Removal
from apps.reconcile.models import PlanStep

# An unknown outcome may have been a removal, and so may the call of a worker that was killed in the middle of it.
SENT = (PlanStep.State.DONE, PlanStep.State.UNKNOWN, PlanStep.State.RUNNING)


def recent_removals(zone: Zone, *, window: timedelta) -> Recent:
    """Removals in every zone of the zone's account. A list's size is that before our first write in the window."""
    now = database_now()
    steps = PlanStep.objects.filter(
        kind="replace_list", state__in=SENT, started_at__gt=now - window, plan__zone__account=zone.account_id
    ).select_related("plan__zone")
    removals: list[Removal] = []
    sizes: dict[tuple[str, str], int] = {}
    for step in steps.order_by("started_at"):
        name, ca = step.plan.zone.name, step.document["ca"]
        sizes.setdefault((name, ca), len(step.document["before"]))
        removals += [Removal(step.started_at, name, ca, hostname) for hostname in step.document["removes"]]
    return Recent(now, tuple(removals), sizes)
