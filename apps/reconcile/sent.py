"""What of a request has left for the edge, zone by zone, as the steps of its changes say.

A step that runs, or whose answer was lost, may have left. Asked with the request locked, as every first write of a
change is begun (`plans.start_step`), the answer holds until the lock is let go.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from apps.coverage.models import CoverageRequest, Kind, RequestPlan
from apps.coverage.moves import locked_request
from apps.coverage.progress_services import outdate_plan
from apps.coverage.states import RequestState
from apps.identity.actors import Actor
from apps.inventory.models import Zone
from apps.reconcile.models import Plan, PlanStep

MAY_BE_SENT = (PlanStep.State.DONE, PlanStep.State.UNKNOWN, PlanStep.State.RUNNING)


def zones_sent(request: CoverageRequest, *, since: datetime) -> frozenset[UUID]:
    """Zones in which a write of the request left, or may have, in a change stored since then."""
    rows = Plan.objects.filter(
        zone__requesthostname__request=request, created_at__gte=since, steps__state__in=MAY_BE_SENT
    ).values_list("zone_id", "request_ids")
    return frozenset(zone_id for zone_id, request_ids in rows if request.pk in request_ids)


def has_left(request: CoverageRequest) -> bool:
    """Whether any write of it left, or may have, in any zone."""
    return bool(zones_sent(request, since=request.created_at))


def is_under_way(request: CoverageRequest, zone: Zone) -> bool:
    """Whether the approval in force is being carried out in this zone: what moves there now is met by the next plan."""
    if request.state != RequestState.APPLYING:
        return False
    sent = zones_sent(request, since=request.decided_at or request.created_at)
    # Whom a CA's rules let in is one decision: with half of them changed there is nothing to go back to.
    return bool(sent) if request.kind == Kind.ISSUERS else zone.pk in sent


@transaction.atomic
def put_out_of_date(*, by: Actor, plan: RequestPlan, reason: str) -> None:
    """Void the plan and its approval (F08). What was sent to other zones stays approved, and the reason says so."""
    request = locked_request(plan.request_id)
    sent = zones_sent(request, since=request.created_at)
    if sent:
        names = ", ".join(Zone.objects.filter(pk__in=sent).values_list("name", flat=True))
        reason = f"{reason} What was sent to {names} stays."
    outdate_plan(by=by, plan_id=plan.pk, reason=reason, keep=sent)


@transaction.atomic
def put_out_of_date_unless_begun(*, by: Actor, plan: RequestPlan, zone: Zone, reason: str) -> bool:
    """Void the plan and its approval, unless a write by that approval left, or may have, in this zone."""
    request = locked_request(plan.request_id)
    if zone.pk in zones_sent(request, since=request.decided_at or request.created_at):
        return False
    put_out_of_date(by=by, plan=plan, reason=reason)
    return True
