"""Stored plans: kept with their audit event before the first write, and moved on as steps happen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.utils import timezone

from apps.audit.services import record
from apps.coverage.models import CoverageRequest
from apps.coverage.moves import lock_in_flight
from apps.coverage.overrides import give_back_overrides
from apps.inventory.models import Account, Zone
from apps.outbox.clock import database_now
from apps.planning.guards import Refusal
from apps.planning.plan import Plan as PurePlan
from apps.reconcile.labels import ca_labels, named
from apps.reconcile.models import Plan, PlanStep
from apps.reconcile.observe import WORKER, Overtaken
from apps.reconcile.sent import MAY_BE_SENT

# Cloudflare's own clients saw a list lag up to 75 s behind a write; past this it is no lag any more.
VERIFY_FOR = timedelta(seconds=90)


@transaction.atomic
def store_plan(
    *, zone: Zone, plan: PurePlan, requests: list[CoverageRequest], refusals: Iterable[Refusal] = ()
) -> Plan:
    """Keep a plan about to be applied, or one that a guard refused, with its audit event.

    Without a request it is healing (healing.py).
    """
    # Zones of one account are stored one after the other: what they remove counts together (removals.py).
    Account.objects.select_for_update(no_key=True).get(pk=zone.account_id)
    refused = [
        {"guard": r.guard, "message": r.message, "needs": r.needs, "overridable": r.overridable} for r in refusals
    ]
    stored = _numbered(
        zone=zone,
        state=Plan.State.REFUSED if refused else Plan.State.APPLYING,
        digest=plan.digest,
        base=plan.base,
        document=plan.to_dict(),
        request_ids=[request.pk for request in requests],
        healing=not requests,
        refusals=refused,
        finished_at=timezone.now() if refused else None,
    )
    labels = ca_labels(zone.account)
    PlanStep.objects.bulk_create(
        PlanStep(
            plan=stored, position=n, kind=step.kind, summary=named(step.summary(), labels), document=step.to_dict()
        )
        for n, step in enumerate(plan.steps, start=1)
    )
    action = "plan:refused" if refused else "plan:stored"
    after = {"effects": [e.to_dict() for e in plan.effects], "base": plan.base, "refusals": refused}
    _record(stored, action, after=after, hostnames={e.hostname for e in plan.effects})
    return stored


def _numbered(**values: Any) -> Plan:
    """The plan under the next number. Two accounts may want the same one: who comes second takes the one after it."""
    while True:
        number = (Plan.objects.aggregate(last=Max("number"))["last"] or 0) + 1
        try:
            with transaction.atomic():
                return Plan.objects.create(number=number, **values)
        except IntegrityError:
            if not Plan.objects.filter(number=number).exists():
                raise


class CalledOff(Overtaken):
    """A request of the plan was withdrawn, cancelled or put out of date after the plan was stored. Plan afresh."""


@transaction.atomic
def start_step(step: PlanStep) -> None:
    """Keep that the call is about to be made.

    Before the first one the plan's requests are asked for again, with their rows locked (INV-5): whoever calls one off
    does it before this, and nothing is sent, or finds that it has left. Raises CalledOff.
    """
    if step.position == 1 and not lock_in_flight(step.plan.request_ids):
        raise CalledOff(f"A request of {step.plan} was called off. Nothing was sent; a new plan follows.")
    step.state, step.started_at = PlanStep.State.RUNNING, database_now()
    step.save(update_fields=["state", "started_at"])


@transaction.atomic
def end_step(step: PlanStep, state: str, *, ray: str = "", error: str = "") -> None:
    step.state, step.ray, step.error, step.finished_at = state, ray, error, database_now()
    step.save(update_fields=["state", "ray", "error", "finished_at"])


@transaction.atomic
def end_plan(plan: Plan, state: str, *, error: str = "") -> None:
    """Close a plan with its audit event. The steps keep what is known of each call.

    An override that it took with it is open again if no removal was sent, not even perhaps.
    """
    # Readings that began before this moment may show the edge as it was in the middle of the plan.
    Zone.objects.filter(pk=plan.zone_id).update(edge_revision=F("edge_revision") + 1)
    before = {"state": plan.state}
    # How long its lists may still show late is counted from here, by whichever worker reads them.
    plan.state, plan.error, plan.finished_at = state, error, database_now()
    plan.save(update_fields=["state", "error", "finished_at"])
    if not any(step.document.get("removes") and step.state in MAY_BE_SENT for step in plan.steps.all()):
        give_back_overrides(change_id=plan.pk)
    rays = [step.ray for step in plan.steps.all() if step.ray]
    _record(plan, f"plan:{state}", before=before, after={"state": state, "error": error}, details={"rays": rays})


@transaction.atomic
def begin_verifying(plan: Plan) -> None:
    """The edge does not show yet what was sent. Later runs read until it does; nothing is sent meanwhile."""
    plan.state, plan.verify_until = Plan.State.VERIFYING, database_now() + VERIFY_FOR
    plan.save(update_fields=["state", "verify_until"])


def may_lag(plan: Plan) -> bool:
    """Whether the time that the edge may lag behind this plan's writes is not over yet."""
    return plan.verify_until is not None and database_now() < plan.verify_until


def _record(plan: Plan, action: str, **more: object) -> None:
    requests = CoverageRequest.objects.filter(pk__in=plan.request_ids)
    record(
        by=WORKER,
        action=action,
        subject=("change", plan.pk, str(plan)),
        account=plan.zone.account_id,
        zone=plan.zone.name,
        correlation_id=",".join(request.correlation_id for request in requests)[:36],
        **{"details": {"requests": plan.request_ids, "healing": plan.healing}, **more},  # type: ignore[arg-type]
    )
