"""What was taken off lists lately: guards count it, so that a big removal does not pass in slices.

Nor in zones that run at the same time: what another zone's change is about to take counts as taken, and the guards
over all lists are asked again where changes are stored one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Q

from apps.coverage.models import GuardOverride
from apps.inventory.limits import limits_of
from apps.inventory.models import Zone
from apps.outbox.clock import database_now
from apps.planning.guards import Recent, Removal, too_big
from apps.planning.plan import Plan as PurePlan
from apps.planning.plan import ReplaceList
from apps.reconcile.models import Plan, PlanStep
from apps.reconcile.observe import Overtaken

# An unknown outcome may have been a removal, and so may the call of a worker that was killed in the middle of it.
SENT = (PlanStep.State.DONE, PlanStep.State.UNKNOWN, PlanStep.State.RUNNING)


def recent_removals(zone: Zone, *, window: timedelta) -> Recent:
    """Removals in every zone of the zone's account, with those that the open changes of other zones have yet to make.

    A list's size is that before our first write in the window.
    """
    now = database_now()
    sent = Q(state__in=SENT, started_at__gt=now - window)
    to_come = Q(state=PlanStep.State.NOT_STARTED, plan__state__in=Plan.OPEN) & ~Q(plan__zone=zone)
    steps = PlanStep.objects.filter(sent | to_come, kind="replace_list", plan__zone__account=zone.account_id)
    removals: list[Removal] = []
    sizes: dict[tuple[str, str], int] = {}
    for step in steps.select_related("plan__zone").order_by("started_at", "pk"):
        name, ca = step.plan.zone.name, step.document["ca"]
        at = now if step.state == PlanStep.State.NOT_STARTED else step.started_at
        sizes.setdefault((name, ca), len(step.document["before"]))
        removals += [Removal(at, name, ca, hostname) for hostname in step.document["removes"]]
    return Recent(now, tuple(removals), sizes)


def require_room(zone: Zone, plan: PurePlan, overrides: Iterable[GuardOverride]) -> None:
    """Ask the guards on big removals again, of a plan that passed by these overrides.

    For the transaction that has just stored it (`plans.store_plan`): it has locked the account, so what other zones
    have stored since they were asked first is seen now. Raises Overtaken when that is too much.
    """
    if not any(isinstance(step, ReplaceList) and step.removes for step in plan.steps):
        return
    limits = limits_of(zone)
    refused = {refusal.guard for refusal in too_big(plan, limits, recent_removals(zone, window=limits.window))}
    if refused - {override.guard for override in overrides}:
        raise Overtaken(f"Other zones began removals while that of {zone.name} was planned. A new plan follows.")
