"""One run for one zone: read, name what is seen, and send what is approved and not there yet."""

from __future__ import annotations

from uuid import UUID

import structlog
from django.conf import settings
from django.utils import timezone

from apps.cloudflare.errors import CloudflareError
from apps.coverage.models import CoverageRequest, Kind
from apps.coverage.selectors import desired_zone, in_flight_requests
from apps.coverage.services import begin_applying, fail_requests
from apps.errors import PortalError, Unsafe
from apps.inventory.budget.gate import Purpose
from apps.inventory.holds import hold_on_zone
from apps.inventory.models import Zone
from apps.inventory.services import store_account_failure, store_zone_failure
from apps.inventory.watermark import check_history
from apps.outbox.processes import this_process
from apps.outbox.services import Lease, claim, park, postpone, settle
from apps.planning.diff import diff
from apps.planning.guards import Limits, check
from apps.planning.plan import Plan as PurePlan
from apps.planning.state import DesiredZone
from apps.reconcile.apply import Applier, LeaseLost, Outcome, calls_of
from apps.reconcile.edge import EdgeClient, Observation, ca_keys, client_for, next_run_in_s, read_zone
from apps.reconcile.faults import PARK_AFTER_ATTEMPTS, handling, held_back_s, try_again
from apps.reconcile.models import Plan, PlanStep
from apps.reconcile.observe import WORKER, Overtaken, store_observation
from apps.reconcile.plans import end_plan, store_plan
from apps.reconcile.removals import recent_removals

log = structlog.get_logger(__name__)

VERIFY_AGAIN_S = 2.0


def run_zone(zone_id: UUID) -> None:
    """Take the zone's lease and bring it up to date. Does nothing when it is not due or somebody else has it."""
    lease = claim(kind="zone", subject_id=zone_id, worker=this_process(), lease_s=settings.BYOCA_LEASE_S)
    if lease is None:
        return
    zone = Zone.objects.select_related("account").filter(pk=zone_id, vanished_at=None).first()
    if zone is None:
        park(lease, reason="Cloudflare no longer lists this zone. Its history stays readable.")
        return
    if lease.attempts > PARK_AFTER_ATTEMPTS * 2:
        park(lease, reason="The worker stopped in the middle of this zone too often. Read the log, then retry.")
        return
    try:
        with client_for(zone.account, lease=lease, purpose=_purpose(zone)) as client:
            _bring_up_to_date(client, zone, lease)
    except LeaseLost as error:
        log.warning("zone_run_stopped", zone=zone.name, why=error.message)
        settle(lease, next_in_s=_next_in_s(zone))
    except Overtaken as error:
        postpone(lease, delay_s=0.0, why=error.message)
    except PortalError as error:
        if (seconds := held_back_s(error)) is None:
            _handle(zone, lease, error)
        else:
            log.info("zone_run_postponed", zone=zone.name, why=error.message)
            postpone(lease, delay_s=seconds, why=error.message)


def _purpose(zone: Zone) -> Purpose:
    """What the run's calls are for: people's changes go before sweeps, and removals before all."""
    if hold_on_zone(zone.pk):
        return Purpose.SWEEP
    kinds = {request.kind for request in in_flight_requests(zone)}
    if not kinds:
        return Purpose.SWEEP
    return Purpose.REMOVAL if Kind.UNCOVER in kinds else Purpose.CHANGE


def _next_in_s(zone: Zone) -> float:
    return next_run_in_s(zone.account, hold_on_zone(zone.pk))


def _bring_up_to_date(client: EdgeClient, zone: Zone, lease: Lease) -> None:
    keys = ca_keys(zone.account)
    observation = read_zone(client, zone, keys)
    # Stored while the plan is open still: what it sent and a lag hid until now is ours, not a foreign change.
    store_observation(zone, observation, keys)
    if _still_verifying(zone, observation):
        # Waiting for the edge is no failure: `verify_until` ends it, not a count of attempts.
        settle(lease, next_in_s=VERIFY_AGAIN_S)
        return
    _close_open_plans(zone)
    requests = in_flight_requests(zone)
    if not requests or hold_on_zone(zone.pk):
        settle(lease, next_in_s=_next_in_s(zone))
        return
    desired = desired_zone(zone)
    plan = diff(desired, observation.zone, heal=False)
    if plan.is_noop:
        settle(lease, next_in_s=_next_in_s(zone))
        return
    _send(client, zone, lease, keys, desired, plan, observation, requests)


def _send(
    client: EdgeClient,
    zone: Zone,
    lease: Lease,
    keys: dict[str, str],
    desired: DesiredZone,
    plan: PurePlan,
    observation: Observation,
    requests: list[CoverageRequest],
) -> None:
    ids = [request.pk for request in requests]
    acknowledged = frozenset((ca, name) for ca, names in desired.releases.items() for name in names)
    limits = Limits()
    recent = recent_removals(zone, window=limits.window)
    if refusals := check(plan, limits, acknowledged, recent, observed=observation.zone):
        stored = store_plan(zone=zone, plan=plan, requests=requests, refusals=refusals)
        why = " ".join(refusal.message for refusal in refusals)
        fail_requests(by=WORKER, request_ids=ids, why=f"{stored} was refused by a guard. {why}")
        settle(lease, next_in_s=_next_in_s(zone))
        return
    if not check_history():
        settle(lease, next_in_s=_next_in_s(zone))
        return
    client.gate.reserve(calls_of(plan))
    stored = store_plan(zone=zone, plan=plan, requests=requests)
    begin_applying(by=WORKER, request_ids=ids)
    applier = Applier(client=client, zone=zone, lease=lease, keys=keys, observation=observation)
    outcome = applier.run(stored, plan)
    if outcome is Outcome.APPLIED:
        store_observation(zone, applier.observed(), keys)
        settle(lease, next_in_s=_next_in_s(zone))
    else:
        settle(lease, next_in_s=VERIFY_AGAIN_S if outcome is Outcome.LAGGING else 0.0)


def _still_verifying(zone: Zone, observation: Observation) -> bool:
    """Whether a sent list is still not to be seen, within the time a lag may take. Past it the plan has diverged."""
    waiting = False
    for plan in Plan.objects.filter(zone=zone, state=Plan.State.VERIFYING):
        done = list(plan.steps.filter(kind="replace_list", state=PlanStep.State.DONE))
        sent = {step.document["ca"]: frozenset(step.document["after"]) for step in done}
        before = {step.document["ca"]: frozenset(step.document["before"]) for step in reversed(done)}
        seen = {key: observation.zone.lists.get(key) for key in sent}
        if seen == sent:
            end_plan(plan, Plan.State.APPLIED)
        elif any(names not in {sent[key], before[key]} for key, names in seen.items()):
            # No lag shows a list that never was: somebody changed it right after us, and waiting would help nobody.
            words = "The list was changed outside right after it was sent. The next plan goes on from what is read."
            end_plan(plan, Plan.State.SUPERSEDED, error=words)
        elif plan.verify_until and timezone.now() < plan.verify_until:
            waiting = True
        else:
            words = "The edge does not show what was sent, and the time a lag may take is over."
            end_plan(plan, Plan.State.DIVERGED, error=words)
            fail_requests(by=WORKER, request_ids=plan.request_ids, why=f"{plan}: {words}")
    return waiting


def _close_open_plans(zone: Zone) -> None:
    """A plan left open by a run that was cut off: what it reached is read already, the rest is planned afresh."""
    for plan in Plan.objects.filter(zone=zone, state=Plan.State.APPLYING):
        end_plan(
            plan, Plan.State.SUPERSEDED, error="The run was cut off. The next plan goes on from what the edge shows."
        )


def _handle(zone: Zone, lease: Lease, error: PortalError) -> None:
    how = handling(error, lease.attempts)
    log.warning("zone_run_failed", zone=zone.name, error=error.message, kind=type(error).__name__, delay_s=how.delay_s)
    store_zone_failure(zone=zone, error=error.message)
    if how.token_broken:
        store_account_failure(account=zone.account, error=error.message, token_broken=True)
    open_plans = list(Plan.objects.filter(zone=zone, state=Plan.State.APPLYING))
    unknown = isinstance(error, CloudflareError) and error.outcome == "unknown"
    if how.park and open_plans and not unknown:
        for plan in open_plans:
            end_plan(plan, Plan.State.FAILED, error=error.message)
            fail_requests(by=WORKER, request_ids=plan.request_ids, why=error.message)
    if isinstance(error, Unsafe):
        fail_requests(by=WORKER, request_ids=[r.pk for r in in_flight_requests(zone)], why=error.message)
    try_again(lease, how, error)
