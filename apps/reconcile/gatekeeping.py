"""Which approved requests of a zone may go now, and in what plan: the guards' word for each request.

A big removal waits for its override alone: what else is approved in the zone goes without it. So the plan is made
again without one request after the other, the biggest first, until the guards let it pass.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from apps.authorities.issuers import skis_of
from apps.coverage.afterwards import opens_more
from apps.coverage.closing_services import BY_ITSELF
from apps.coverage.models import CoverageRequest, GuardOverride, Kind
from apps.coverage.overrides import Decision, open_overrides, removal_decisions, wait_for_overrides
from apps.coverage.progress_services import fail_requests, wait_for_ca
from apps.coverage.selectors import current_plan, desired_zone
from apps.errors import Unsafe
from apps.inventory.limits import limits_of
from apps.inventory.models import Zone
from apps.planning.diff import diff
from apps.planning.guards import TYPED, Override, Refusal, too_big
from apps.planning.plan import Plan as PurePlan
from apps.planning.plan import ReplaceList
from apps.planning.state import DesiredZone, ObservedZone
from apps.planning.waits import why_it_waits
from apps.reconcile.carried import carried_by, pending_in
from apps.reconcile.labels import ca_labels, named
from apps.reconcile.last_look import refusals_of
from apps.reconcile.observe import WORKER
from apps.reconcile.passed_over import giving_way
from apps.reconcile.plans import store_plan
from apps.reconcile.removals import recent_removals
from apps.reconcile.sent import put_out_of_date, put_out_of_date_unless_begun


@dataclass(frozen=True)
class Admitted:
    """`plan` may be sent for `requests`, and passes by `overrides`. With None nothing may go now.

    `look_again`: a request was set aside while these go, so the zone is due at once afterwards.
    """

    plan: PurePlan | None
    requests: tuple[CoverageRequest, ...] = ()
    overrides: tuple[GuardOverride, ...] = ()
    look_again: bool = False


class Gatekeeper:
    """One round of one zone: `admit` finds what may go, and tells the requests that may not what they need."""

    def __init__(self, zone: Zone, observed: ObservedZone, requests: Sequence[CoverageRequest]) -> None:
        self.zone = zone
        self.observed = observed
        self.requests = list(requests)
        self.left_out: set[int] = set()
        self.aside: set[int] = set()
        self.limits = limits_of(zone)
        self.recent = recent_removals(zone, window=self.limits.window)
        self.given: dict[int, list[GuardOverride]] = {}

    def admit(self) -> Admitted:
        """Raises Unsafe when a rule cannot be written, whatever is left out."""
        return self._ahead_of(self._glasses()) or self._ahead_of(giving_way(self.zone, self.requests)) or self._admit()

    def _glasses(self) -> set[int]:
        """A broken glass goes before what others sent: refused by Cloudflare, that would take the glass with it.

        What is being restored is not left out: without it, rules that hold its hostnames would be written without them.
        """
        broken = any(row.kind == Kind.BREAK_GLASS and pending_in(self.zone, row) for row in self.requests)
        ahead = {Kind.BREAK_GLASS, Kind.RESTORE}
        return {row.pk for row in self.requests if row.kind not in ahead} if broken else set()

    def _ahead_of(self, others: set[int]) -> Admitted | None:
        """What goes in a change of its own before these; None when nothing is to, or when it cannot go by itself."""
        if not others:
            return None
        self.aside = others
        desired = desired_zone(self.zone, without=others)
        try:
            plan = diff(desired, self.observed, heal=False)
            decisions = self._decisions(plan)
            opens = any(self._opens_more(row, desired) for row in self.going if row.kind == Kind.UNCOVER)
            if plan.is_noop or opens or self._check(plan, desired, decisions):
                return None
            return self._passing(plan, decisions)
        except Unsafe:
            return None
        finally:
            self.aside = set()

    def _admit(self) -> Admitted:
        while self.going or self.aside:
            if not self.going:
                # Whoever was to go before them cannot go either.
                self.aside.clear()
            desired = desired_zone(self.zone, without=self.left_out | self.aside)
            if self._void_what_opens_more(desired):
                continue
            try:
                plan = diff(desired, self.observed, heal=False)
            except Unsafe as error:
                self._fail_unwritable(error)
                continue
            if not self.left_out | self.aside:
                self._tell_waiting(plan, desired)
            if plan.is_noop:
                self.left_out |= {request.pk for request in self.going}
                continue
            decisions = self._decisions(plan)
            refusals = self._check(plan, desired, decisions)
            if not refusals:
                return self._passing(plan, decisions)
            self._refuse(plan, decisions, refusals)
        return Admitted(None)

    def _passing(self, plan: PurePlan, decisions: list[Decision]) -> Admitted:
        for request in (row for row in self.going if row.waits_for):
            wait_for_overrides(by=WORKER, request_id=request.pk, zone=self.zone, refusals=())
        carried = carried_by(plan, self.zone, self.going)
        return Admitted(plan, tuple(carried), self._used(plan, decisions), bool(self.aside))

    @property
    def going(self) -> list[CoverageRequest]:
        return [request for request in self.requests if request.pk not in self.left_out | self.aside]

    def _void_what_opens_more(self, desired: DesiredZone) -> bool:
        """Put out of date what would leave less standing than its approvers read. Whether there was any.

        What has begun to be sent to this zone goes on: half of it is no state that anybody approved.
        """
        found = False
        for request in self.going:
            why = self._opens_more(request, desired)
            current = current_plan(request) if why else None
            if current and put_out_of_date_unless_begun(by=WORKER, plan=current, zone=self.zone, reason=why):
                self.left_out.add(request.pk)
                found = True
        return found

    def _opens_more(self, request: CoverageRequest, desired: DesiredZone) -> str:
        """What would have less than the request's plan says, in words."""
        current = current_plan(request)
        return opens_more(self.zone, request, current, desired, self.observed.lists) if current else ""

    def _decisions(self, plan: PurePlan) -> list[Decision]:
        """The decisions behind the removals of this plan, the biggest first."""
        leaving = {(s.ca, name) for s in plan.steps if isinstance(s, ReplaceList) for name in s.removes}
        found = [row for row in removal_decisions(self.zone, self.going) if row.pairs & leaving]
        for row in found:
            self.given.setdefault(row.request.pk, open_overrides(self.zone, row.request))
        return sorted(found, key=lambda row: (-len(row.pairs & leaving), -row.request.pk))

    def _check(self, plan: PurePlan, desired: DesiredZone, decisions: list[Decision]) -> tuple[Refusal, ...]:
        return refusals_of(
            self.zone,
            plan,
            desired,
            self.observed,
            self.recent,
            unconfirmed=frozenset(pair for row in decisions if not row.confirmed for pair in row.pairs),
            untyped=frozenset(pair for row in decisions if not row.typed for pair in row.pairs),
            overrides=self._overrides(plan, decisions),
            decided_by=frozenset(person for row in decisions for person in row.people),
        )

    def _overrides(self, plan: PurePlan, decisions: list[Decision]) -> list[Override]:
        """An override counts when each request that removes something has one for the same guard."""
        shared = self._guards_of(decisions[0]) if decisions else set()
        for row in decisions[1:]:
            shared &= self._guards_of(row)
        return [
            Override(plan.digest, given.guard, str(given.given_by_id), given.reason)
            for row in decisions
            for given in self.given[row.request.pk]
            if given.guard in shared
        ]

    def _guards_of(self, decision: Decision) -> set[str]:
        return {given.guard for given in self.given[decision.request.pk]}

    def _used(self, plan: PurePlan, decisions: list[Decision]) -> tuple[GuardOverride, ...]:
        passed = {refusal.guard for refusal in too_big(plan, self.limits, self.recent)}
        return tuple(o for row in decisions for o in self.given[row.request.pk] if o.guard in passed)

    def _refuse(self, plan: PurePlan, decisions: list[Decision], refusals: tuple[Refusal, ...]) -> None:
        """Leave out at least one request, with what it is told."""
        if final := [row for row in refusals if not row.overridable and not row.confirmable]:
            self._fail(plan, final)
        elif any(row.confirmable for row in refusals):
            self._want_confirmation(plan, decisions, [row for row in refusals if row.confirmable])
        else:
            self._want_override(plan, decisions, refusals)

    def _fail(self, plan: PurePlan, refusals: list[Refusal]) -> None:
        """What nobody can wave through.

        Too many rules are no reason to keep a hostname from being removed, or a broken glass from its way and back.
        """
        failing = carried_by(plan, self.zone, self.going)
        if all(row.guard == "rule_limit" for row in refusals):
            last = (Kind.UNCOVER, *BY_ITSELF)
            failing = [request for request in failing if request.kind not in last] or failing
        stored = store_plan(zone=self.zone, plan=plan, requests=failing, refusals=self._named(refusals))
        why = " ".join(f"{row.message} It needs: {row.needs}" for row in self._named(refusals))
        ids = [request.pk for request in failing]
        fail_requests(by=WORKER, request_ids=ids, why=f"{stored} was refused by a guard. {why}")
        self.left_out |= set(ids)

    def _fail_unwritable(self, error: Unsafe) -> None:
        """Fail those without which the rules can be written, and no others. Raises the error when nothing helps.

        The newest decision gives way first. Removals, a broken glass and its return give way last.
        """
        last = (Kind.UNCOVER, *BY_ITSELF)
        newest_first = sorted(self.going, key=lambda row: row.decided_at or row.created_at, reverse=True)
        giving_way: list[CoverageRequest] = []
        for request in sorted(newest_first, key=lambda row: row.kind in last):
            giving_way.append(request)
            if self._is_writable(giving_way):
                break
        else:
            raise error
        for request in reversed(list(giving_way)):
            others = [row for row in giving_way if row is not request]
            if self._is_writable(others):
                giving_way = others
        ids = [request.pk for request in giving_way]
        fail_requests(by=WORKER, request_ids=ids, why=error.message)
        self.left_out |= set(ids)

    def _is_writable(self, without: Collection[CoverageRequest]) -> bool:
        desired = desired_zone(self.zone, without=self.left_out | self.aside | {row.pk for row in without})
        # Known issuers are the CA's own: they go back when their request fails.
        issuers = {
            row.ca.fingerprint: skis_of(row.issuers_before) or None
            for row in without
            if row.kind == Kind.ISSUERS and row.issuers_before is not None
        }
        try:
            diff(replace(desired, issuers={**desired.issuers, **issuers}), self.observed, heal=False)
        except Unsafe:
            return False
        return True

    def _want_confirmation(self, plan: PurePlan, decisions: list[Decision], refusals: list[Refusal]) -> None:
        """The edge is such that a removal needs a confirmation that its approver was not asked for."""
        by_number = any(row.guard in TYPED for row in refusals)
        unconfirmed = [row for row in decisions if not (row.typed if by_number else row.confirmed)]
        if len(unconfirmed) < len(decisions):
            self._set_aside(unconfirmed)
            return
        request = unconfirmed[0].request
        store_plan(zone=self.zone, plan=plan, requests=[request], refusals=self._named(refusals))
        why = " ".join(row.message for row in self._named(refusals))
        if current := current_plan(request):
            put_out_of_date(by=WORKER, plan=current, reason=f"It needs a confirmation now. {why}")
        self.left_out.add(request.pk)

    def _want_override(self, plan: PurePlan, decisions: list[Decision], refusals: tuple[Refusal, ...]) -> None:
        wanted = {refusal.guard for refusal in refusals}
        lacking = [row for row in decisions if wanted - self._guards_of(row)]
        if len(lacking) < len(decisions):
            # Those with an override go first; or it is of no use beside the others, whose people gave it.
            self._set_aside(lacking or decisions[:1])
            return
        request = lacking[0].request
        missing = [row for row in self._named(refusals) if row.guard not in self._guards_of(lacking[0])]
        rows = [{"guard": row.guard, "message": row.message} for row in missing]
        if wait_for_overrides(by=WORKER, request_id=request.pk, zone=self.zone, refusals=rows):
            store_plan(zone=self.zone, plan=plan, requests=[request], refusals=missing)
        self.left_out.add(request.pk)

    def _tell_waiting(self, plan: PurePlan, desired: DesiredZone) -> None:
        """Requests whose hostname would be locked out wait until a valid CA of it is in a list; people read why."""
        labels = ca_labels(self.zone.account)
        for request in self.requests:
            names = pending_in(self.zone, request)
            why = [named(why_it_waits(name, desired), labels) for name in sorted(names & set(plan.waits))]
            wait_for_ca(by=WORKER, request_id=request.pk, zone=self.zone, why=" ".join(why))

    def _set_aside(self, decisions: Sequence[Decision]) -> None:
        self.aside |= {row.request.pk for row in decisions}

    def _named(self, refusals: Sequence[Refusal]) -> list[Refusal]:
        """The refusals with the CAs' names."""
        labels = ca_labels(self.zone.account)
        return [
            Refusal(row.guard, named(row.message, labels), row.needs, row.numbers, row.overridable) for row in refusals
        ]
