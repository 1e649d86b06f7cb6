"""When a write is given up that Cloudflare never answers and never obeys (INV-25).

A lost answer decides nothing, so such a write is never called failed by itself: the next run reads, and makes it again
if it is still missing. That ends here, with the reason, once it was made so often in a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from apps.coverage.models import CoverageRequest
from apps.coverage.progress_services import fail_requests
from apps.inventory.models import Zone
from apps.planning.plan import Plan as PurePlan
from apps.reconcile.faults import PARK_AFTER_ATTEMPTS
from apps.reconcile.labels import ca_labels, named
from apps.reconcile.models import Plan, PlanStep
from apps.reconcile.observe import WORKER
from apps.reconcile.plans import end_plan, store_plan

# What one change sent of a call that later ones repeat: its kind, its list or rule, and whether it takes away.
Call = tuple[str, str, bool]


def gives_up(zone: Zone, plan: PurePlan, requests: Sequence[CoverageRequest]) -> bool:
    """Close the requests instead of sending `plan`, made from a fresh read, when its first call was in vain too often.

    The change is kept as failed, with nothing sent; a retry begins the count anew. Healing has an end of its own.
    """
    if not requests or _in_vain(zone, _call(plan.steps[0].to_dict())) < PARK_AFTER_ATTEMPTS:
        return False
    what = named(plan.steps[0].summary(), ca_labels(zone.account))
    words = (
        f"Cloudflare gave no usable answer {PARK_AFTER_ATTEMPTS} times, and the zone does not show this call: {what} "
        "Retry when Cloudflare is well."
    )
    with transaction.atomic():
        stored = store_plan(zone=zone, plan=plan, requests=list(requests))
        end_plan(stored, Plan.State.FAILED, error=words)
        fail_requests(by=WORKER, request_ids=stored.request_ids, why=f"{stored}: {words}")
    return True


def _in_vain(zone: Zone, call: Call) -> int:
    """How many of the zone's newest changes in a row lost the answer of this call and got nothing else done.

    Changes that sent nothing, because they were held back or refused, stand between and count for nothing.
    """
    count = 0
    changes = Plan.objects.filter(zone=zone).exclude(state=Plan.State.REFUSED).order_by("-number")
    for change in changes.prefetch_related("steps")[: 2 * PARK_AFTER_ATTEMPTS]:
        made = [step for step in change.steps.all() if step.state != PlanStep.State.NOT_STARTED]
        if change.state == Plan.State.FAILED or any(not _is_lost(step, call) for step in made):
            return count
        count += bool(made)
    return count


def _is_lost(step: PlanStep, call: Call) -> bool:
    return step.state == PlanStep.State.UNKNOWN and _call(step.document) == call


def _call(step: Mapping[str, Any]) -> Call:
    rule = step.get("rule") or step.get("before")
    return step["kind"], step["ca"] if "ca" in step else rule["ref"], bool(step.get("removes"))
