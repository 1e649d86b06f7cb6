"""One run for one zone: read, name what is seen, and send what is approved and not there yet."""

from __future__ import annotations

from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from apps.authorities.models import CertificateAuthority
from apps.authorities.states import CaState
from apps.cloudflare.errors import CloudflareError
from apps.coverage.closing_services import BY_ITSELF
from apps.coverage.models import Kind
from apps.coverage.overrides import use_overrides
from apps.coverage.progress_services import begin_applying, fail_requests
from apps.coverage.selectors import desired_zone, in_flight_requests
from apps.errors import PortalError, Unsafe
from apps.inventory.budget.gate import NotAnswering, Purpose
from apps.inventory.holds import hold_on_zone
from apps.inventory.limits import limits_of
from apps.inventory.models import TokenKind, Zone
from apps.inventory.services import store_token_state, store_zone_failure
from apps.inventory.watermark import check_history
from apps.outbox.processes import this_process
from apps.outbox.services import Lease, claim, park, postpone, settle
from apps.planning.guards import check
from apps.planning.plan import Plan as PurePlan
from apps.reconcile.apply import Applier, LeaseLost, Outcome, calls_of
from apps.reconcile.carried import pending_in
from apps.reconcile.dry_run import tries_before_sending
from apps.reconcile.edge import (
    EdgeClient,
    Observation,
    ca_keys,
    calls_of_reading,
    client_for,
    next_run_in_s,
    read_zone,
    writer_from,
)
from apps.reconcile.expected import expected_calls
from apps.reconcile.faults import PARK_AFTER_ATTEMPTS, handling, held_back_s, try_again
from apps.reconcile.gatekeeping import Admitted, Gatekeeper
from apps.reconcile.healing import healing_plan
from apps.reconcile.models import Plan, PlanStep
from apps.reconcile.observe import WORKER, Overtaken, store_observation
from apps.reconcile.parking import park_cut_off
from apps.reconcile.plans import end_plan, store_plan
from apps.reconcile.removals import require_room
from apps.reconcile.restored import void_approvals_before_restore
from apps.reconcile.troubles import store_trouble
from apps.reconcile.unanswered import gives_up
from apps.reconcile.vanished import end_vanished
from apps.reconcile.verifying import close_cut_off, still_verifying
from apps.reconcile.write_refusals import forget_refusal, noting_refusals, refused_for_s, tell_refused

log = structlog.get_logger(__name__)

VERIFY_AGAIN_S = 2.0
# What has all of the call budget: it waits for nobody's additions.
FIRST = {Kind.UNCOVER, *BY_ITSELF}


def run_zone(zone_id: UUID) -> None:
    """Take the zone's lease and bring it up to date. Does nothing when it is not due or somebody else has it."""
    lease = claim(kind="zone", subject_id=zone_id, worker=this_process(), lease_s=settings.BYOCA_LEASE_S)
    if lease is None:
        return
    zone = Zone.objects.select_related("account").get(pk=zone_id)
    if zone.vanished_at:
        end_vanished(zone.account)
        park(lease, reason="Cloudflare no longer lists this zone. Its history stays readable.")
        return
    if lease.attempts > PARK_AFTER_ATTEMPTS * 2:
        park_cut_off(lease, zone)
        return
    purpose = _purpose(zone)
    try:
        with client_for(zone.account, writes=purpose is not Purpose.SWEEP, lease=lease, purpose=purpose) as client:
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
            if isinstance(error, NotAnswering) and not zone.failing_since:
                store_zone_failure(zone=zone, error=error.message)
            postpone(lease, delay_s=seconds, why=error.message)


def _purpose(zone: Zone) -> Purpose:
    """What the run's calls are for: people's changes go before sweeps, and removals and broken glasses before all."""
    if hold_on_zone(zone.pk) or refused_for_s(zone):
        return Purpose.SWEEP
    kinds = {request.kind for request in in_flight_requests(zone) if pending_in(zone, request)}
    if not kinds:
        return Purpose.SWEEP
    return Purpose.REMOVAL if kinds & FIRST else Purpose.CHANGE


def _next_in_s(zone: Zone) -> float:
    return next_run_in_s(zone.account, hold_on_zone(zone.pk))


def _bring_up_to_date(client: EdgeClient, zone: Zone, lease: Lease) -> None:
    keys = ca_keys(zone.account)
    if client.gate.purpose is not Purpose.SWEEP:
        # A change that does not fit into the budget with its reading would be read for in vain, once per try.
        client.gate.reserve(calls_of_reading(keys) + expected_calls(zone, keys, in_flight_requests(zone)))
    observation = read_zone(client, zone, keys)
    # Stored while the plan is open still: what it sent and a lag hid until now is ours, not a foreign change.
    store_observation(zone, observation, keys)
    if still_verifying(zone, observation.zone):
        # Waiting for the edge is no failure: `verify_until` ends it, not a count of attempts.
        settle(lease, next_in_s=VERIFY_AGAIN_S)
        return
    close_cut_off(zone)
    for ca in CertificateAuthority.objects.filter(account=zone.account, state=CaState.GONE):
        _give_up(zone, ca)
    void_approvals_before_restore(zone)
    if hold := hold_on_zone(zone.pk):
        # Not asked for again: a window that ends between two answers would be waited for until the next sweep.
        settle(lease, next_in_s=next_run_in_s(zone.account, hold))
        return
    requests = in_flight_requests(zone)
    admitted = Gatekeeper(zone, observation.zone, requests).admit() if requests else Admitted(None)
    if admitted.plan is None:
        # A request that waits, for an override or for its CA, keeps nothing from being put back.
        admitted = _healing(zone, keys, observation)
    if admitted.plan is None:
        forget_refusal(zone)
        settle(lease, next_in_s=_next_in_s(zone))
        return
    if again_in_s := refused_for_s(zone):
        tell_refused(zone, admitted.requests)
        settle(lease, next_in_s=min(_next_in_s(zone), again_in_s))
        return
    with writer_from(client) as writer:
        _send(writer, zone, lease, keys, admitted.plan, admitted, observation)


def _healing(zone: Zone, keys: dict[str, str], observation: Observation) -> Admitted:
    """What somebody took away is put back by a sweep only where an administrator has set the account to heal."""
    plan = healing_plan(zone, keys, desired_zone(zone), observation)
    if plan.is_noop or check(plan, limits_of(zone), observed=observation.zone):
        return Admitted(None)
    return Admitted(plan)


def _send(
    client: EdgeClient,
    zone: Zone,
    lease: Lease,
    keys: dict[str, str],
    plan: PurePlan,
    admitted: Admitted,
    observation: Observation,
) -> None:
    if not check_history():
        settle(lease, next_in_s=_next_in_s(zone))
        return
    requests = list(admitted.requests)
    if gives_up(zone, plan, requests):
        settle(lease, next_in_s=0.0)
        return
    tries = tries_before_sending(plan, zone, requests)
    calls = calls_of(plan, tries)
    # What fits into no window with its reading goes as far as it comes: it is safe to stop anywhere.
    if client.gate.may_ever(calls_of_reading(keys) + calls):
        client.gate.reserve(calls)
    with transaction.atomic():
        stored = store_plan(zone=zone, plan=plan, requests=requests)
        require_room(zone, plan, admitted.overrides)
        use_overrides(by=WORKER, overrides=admitted.overrides, change_id=stored.pk)
    begin_applying(by=WORKER, request_ids=[request.pk for request in requests])
    applier = Applier(client=client, zone=zone, lease=lease, keys=keys, observation=observation)
    with noting_refusals(client, zone, requests):
        outcome = applier.run(stored, plan, tries)
    if outcome is Outcome.APPLIED:
        forget_refusal(zone)
        store_token_state(account=zone.account, kind=TokenKind.WRITE, works=True)
        store_observation(zone, applier.observed(), keys, applied=stored)
        settle(lease, next_in_s=0.0 if admitted.look_again else _next_in_s(zone))
    else:
        settle(lease, next_in_s=VERIFY_AGAIN_S if outcome is Outcome.LAGGING else 0.0)


def _may_be_done(plan: Plan, error: PortalError) -> bool:
    """Whether the call that failed may have had its effect, so that a read decides. A dry run never has one."""
    lost = isinstance(error, CloudflareError) and error.outcome == "unknown"
    return lost and plan.steps.exclude(state=PlanStep.State.NOT_STARTED).exists()


def _give_up(zone: Zone, ca: CertificateAuthority) -> None:
    """Requests of a zone under a CA that is gone: nothing can be sent for them until a person acts.

    But for removals, a broken glass and its return: they need no list, and may be what lets clients in again.
    """
    rules_only = (Kind.UNCOVER, *BY_ITSELF)
    found = [row.pk for row in in_flight_requests(zone) if row.ca_id == ca.pk and row.kind not in rules_only]
    why = f"{ca.name} is gone: {ca.state_reason} Cover the hostnames with another CA."
    fail_requests(by=WORKER, request_ids=found, why=why)


def _handle(zone: Zone, lease: Lease, error: PortalError) -> None:
    how = handling(error, lease.attempts)
    log.warning("zone_run_failed", zone=zone.name, error=error.message, kind=type(error).__name__, delay_s=how.delay_s)
    store_zone_failure(zone=zone, error=error.message)
    store_trouble(zone.account, error, how)
    if how.park:
        for plan in Plan.objects.filter(zone=zone, state=Plan.State.APPLYING):
            if not _may_be_done(plan, error):
                end_plan(plan, Plan.State.FAILED, error=error.message)
                fail_requests(by=WORKER, request_ids=plan.request_ids, why=error.message)
    if isinstance(error, Unsafe):
        stuck = [request.pk for request in in_flight_requests(zone) if pending_in(zone, request)]
        fail_requests(by=WORKER, request_ids=stuck, why=error.message)
    try_again(lease, how, error)
