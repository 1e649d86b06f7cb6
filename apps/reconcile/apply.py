"""Sending a stored plan, call by call.

A list goes out only over a reading of the same list in the same lease that is a few seconds old at most (INV-10), and
so do the rules; what is older is read again, and if it is not what the plan was made from, the call is not made. The
next run plans afresh then; but where somebody edited a rule of ours, which would be written whole over the edit, a
person decides first. After each write it is read back and compared as a set. Right before every write the lease is
asked for again, with room for one whole call, and so is whether writing is allowed. So a list costs three calls in
all, the rules three: read, write, read back. Rules that Cloudflare has not accepted yet are tried before the first
write of all (`dry_run.py`), so that a refusal leaves lists and rules as they were.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum

from django.conf import settings

from apps.cloudflare.errors import CloudflareError, NotFoundAtEdge, NotRehearsed, RateLimited, Rejected
from apps.cloudflare.rules import Ruleset
from apps.coverage.progress_services import fail_requests
from apps.errors import PortalError
from apps.inventory.budget.gate import BudgetExhausted
from apps.inventory.holds import hold_on_zone
from apps.inventory.models import Zone
from apps.outbox.services import Lease, renew
from apps.planning.plan import AddRule, DeleteRule, EditRule, ReadBackLists, ReadBackRules, ReplaceList, Step
from apps.planning.plan import Plan as PurePlan
from apps.planning.rule import is_ours
from apps.reconcile.dry_run import calls_of_tries, refused_first, rule_write, try_rules
from apps.reconcile.edge import EdgeClient, Observation, observed_zone, revision_of, rule_states
from apps.reconcile.models import Plan, PlanStep
from apps.reconcile.observe import WORKER, store_own_list, store_own_rules
from apps.reconcile.passed_over import explained
from apps.reconcile.plans import begin_verifying, end_plan, end_step, start_step


class Outcome(StrEnum):
    """APPLIED: all sent and read back. LAGGING: sent, the read-back lags. MOVED: the edge moved first.

    EDITED: somebody changed a rule of ours first.
    """

    APPLIED = "applied"
    LAGGING = "lagging"
    MOVED = "moved"
    EDITED = "edited"


class LeaseLost(PortalError):
    """Somebody else may work on this zone now, or writing was switched off: stop without a write."""

    category = "conflict"


# What was read longer ago than this is read again before it is written.
READ_FRESH_S = 5.0


# Why a call was not made after all, and what follows.
WORDS = {
    Outcome.MOVED: "The edge changed before this call. It was not made; a new plan follows.",
    Outcome.EDITED: (
        "Somebody changed a rule of ours before this call, which would have undone that. It was not made. "
        "Look at Drift, then retry."
    ),
}

# Rule writes to try before the plan is sent.
Tries = Sequence[AddRule | EditRule]


def calls_of(plan: PurePlan, tries: Tries) -> int:
    """How many calls a plan takes when nothing comes in between."""
    calls = sum(len(step.cas) if isinstance(step, ReadBackLists) else 1 for step in plan.steps)
    return calls + calls_of_tries(tries)


class Applier:
    """Applies one plan to one zone under one lease. `observation` is the reading the plan was made from, in this lease.

    `seen` is what the edge showed last of each list, and when on the monotonic clock. `rules_read_at` is when the rules
    were read, None once a rule was written.
    """

    def __init__(
        self, *, client: EdgeClient, zone: Zone, lease: Lease, keys: dict[str, str], observation: Observation
    ) -> None:
        self.client = client
        self.zone = zone
        self.lease = lease
        self.keys = keys
        self.observation = observation
        self.ruleset: Ruleset | None = observation.ruleset
        self.expected: dict[str, frozenset[str]] = {}
        self.rules_read_at: float | None = observation.rules_clock
        self.seen = {key: (names, observation.clock) for key, names in observation.zone.lists.items()}

    def run(self, stored: Plan, plan: PurePlan, tries: Tries) -> Outcome:
        """Try `tries`, then apply every step. Raises CloudflareError with the failed step marked; the plan stays open.

        Raises BudgetExhausted when another process was asked to pause meanwhile, RateLimited when this one was.
        """
        rows = list(stored.steps.all())
        if tries:
            self._try_rules(tries, rows[plan.steps.index(tries[0])])
        for row, step in zip(rows, plan.steps, strict=True):
            start_step(row)
            try:
                outcome = self._step(step)
            except (LeaseLost, BudgetExhausted, RateLimited) as error:
                end_step(row, PlanStep.State.NOT_STARTED, error=error.message)
                raise
            except CloudflareError as error:
                unknown = error.outcome == "unknown" and not isinstance(step, ReadBackLists | ReadBackRules)
                state = PlanStep.State.UNKNOWN if unknown else PlanStep.State.FAILED
                end_step(row, state, ray=error.ray or "", error=error.message)
                raise
            ray = self.client.last_call.ray if self.client.last_call else ""
            if outcome in WORDS:
                end_step(row, PlanStep.State.NOT_STARTED, error=WORDS[outcome])
                self._give_way(stored, outcome)
                return outcome
            if outcome is Outcome.LAGGING:
                what = "lists" if isinstance(step, ReadBackLists) else "rules"
                words = f"The read-back does not show the {what} as they were sent yet."
                end_step(row, PlanStep.State.RUNNING, ray=ray or "", error=words)
                begin_verifying(stored)
                return outcome
            end_step(row, PlanStep.State.DONE, ray=ray or "")
        end_plan(stored, Plan.State.APPLIED)
        return Outcome.APPLIED

    def _give_way(self, stored: Plan, outcome: Outcome) -> None:
        words = WORDS[outcome]
        end_plan(stored, Plan.State.SUPERSEDED if outcome is Outcome.MOVED else Plan.State.DIVERGED, error=words)
        if outcome is Outcome.EDITED:
            fail_requests(by=WORKER, request_ids=stored.request_ids, why=f"{stored}: {words}")

    def _step(self, step: Step) -> Outcome:
        if isinstance(step, ReplaceList):
            return self._replace(step)
        if isinstance(step, ReadBackLists):
            return self._read_back_lists(step)
        if isinstance(step, ReadBackRules):
            return self._read_back_rules()
        return self._write_rule(step)

    def _may_write(self) -> None:
        """The last question before each write: is the lease still ours, and is writing still allowed?

        The lease is renewed, not just asked for: what was worked out since the last answer may have taken long.
        """
        if not renew(self.lease, lease_s=settings.BYOCA_LEASE_S):
            raise LeaseLost("Another worker holds this zone now. It goes on from what the edge shows.")
        if hold := hold_on_zone(self.zone.pk):
            raise LeaseLost(hold.sentence)

    def _replace(self, step: ReplaceList) -> Outcome:
        ca_id = self.keys[step.ca]
        current, read_at = self.seen[step.ca]
        if time.monotonic() - read_at > READ_FRESH_S:
            current = self._read(step.ca)
        if current != frozenset(step.before):
            return Outcome.MOVED
        self._may_write()
        try:
            self.client.associations.replace(self.zone.cloudflare_id, mtls_certificate_id=ca_id, hostnames=step.after)
        except Rejected as error:
            raise explained(error, self.zone, step) from error
        self.expected[step.ca] = frozenset(step.after)
        store_own_list(self.zone, ca_id, step.after)
        return Outcome.APPLIED

    def _read(self, key: str) -> frozenset[str]:
        """One list, read now."""
        began = time.monotonic()
        names = self.client.associations.read(self.zone.cloudflare_id, mtls_certificate_id=self.keys[key])
        self.seen[key] = (names, began)
        return names

    def _read_back_lists(self, step: ReadBackLists) -> Outcome:
        for key in step.cas:
            seen = self._read(key)
            if seen != self.expected.get(key, seen):
                return Outcome.LAGGING
        return Outcome.APPLIED

    def observed(self) -> Observation:
        """What is known of the zone after the last step: what was written as it was read back, the rest as read before.

        Reading the whole zone once more would tell nothing that the read-backs did not.
        """
        lists = {key: names for key, (names, _) in self.seen.items()}
        state = observed_zone(self.zone.name, lists, self.ruleset)
        return Observation(
            state, self.observation.read_at, self.ruleset, self.observation.clock, revision_of(self.zone)
        )

    def _rules_moved(self) -> Outcome:
        """What became of the zone's rules since the plan was made. What a write of ours answers needs no reading."""
        if self.rules_read_at is None or time.monotonic() - self.rules_read_at <= READ_FRESH_S:
            return Outcome.APPLIED
        known, ours = self.ruleset, self._own_rules()
        self.rules_read_at = time.monotonic()
        self.ruleset = self.client.rules.entrypoint(self.zone.cloudflare_id)
        if self._own_rules() != ours:
            return Outcome.EDITED
        ids = {ruleset.id if ruleset else None for ruleset in (known, self.ruleset)}
        return Outcome.MOVED if len(ids) > 1 or rule_states(known) != rule_states(self.ruleset) else Outcome.APPLIED

    def _write_rule(self, step: AddRule | EditRule | DeleteRule) -> Outcome:
        if (moved := self._rules_moved()) is not Outcome.APPLIED:
            return moved
        self._may_write()
        zone_id, rules = self.zone.cloudflare_id, self.client.rules
        if isinstance(step, AddRule) and self.ruleset is None:
            # POST, never PUT: if somebody else made the entry point meanwhile this fails instead of replacing it.
            self.ruleset = rules.create_ruleset(zone_id, rules=[rule_write(step.rule)])
        elif isinstance(step, AddRule):
            self.ruleset = rules.add(zone_id, self._ruleset_id(), rule_write(step.rule), first=step.first)
        elif isinstance(step, EditRule):
            rule_id = step.rule_id or self._rule_id(step.rule.ref)
            self.ruleset = rules.edit(zone_id, self._ruleset_id(), rule_id, rule_write(step.rule))
        else:
            rule_id = step.rule_id or self._rule_id(step.before.ref)
            self.ruleset = rules.delete(zone_id, self._ruleset_id(), rule_id)
        self.rules_read_at = None
        store_own_rules(self.zone, self.ruleset)
        return Outcome.APPLIED

    def _try_rules(self, tries: Tries, row: PlanStep) -> None:
        """A rule that Cloudflare refuses must leave nothing of the plan behind. `row` is the first of the rule writes.

        It asks as a write does: a try that a proxy mistakes for a write would be one.
        """
        try:
            self._may_write()
            try_rules(self.client, self.zone, self.ruleset, tries)
        except Rejected as error:
            end_step(row, PlanStep.State.FAILED, ray=error.ray, error=refused_first(error).message)
            raise
        except PortalError as error:
            state = PlanStep.State.UNKNOWN if isinstance(error, NotRehearsed) else PlanStep.State.NOT_STARTED
            end_step(row, state, error=error.message)
            raise

    def _ruleset_id(self) -> str:
        if self.ruleset is None:
            raise NotFoundAtEdge("The zone's custom rules are gone. A new plan follows.")
        return self.ruleset.id

    def _rule_id(self, ref: str) -> str:
        """The id that a rule added earlier in this very plan was given."""
        current = {rule.ref: rule.id for rule in (self.ruleset.rules if self.ruleset else ())}
        if ref not in current:
            raise NotFoundAtEdge("A rule that this plan added is gone. A new plan follows.")
        return current[ref]

    def _read_back_rules(self) -> Outcome:
        wanted = self._own_rules()
        self.ruleset = self.client.rules.entrypoint(self.zone.cloudflare_id)
        seen = self._own_rules()
        return Outcome.APPLIED if seen == wanted else Outcome.LAGGING

    def _own_rules(self) -> dict[str, tuple[str, str, bool]]:
        return {
            rule.ref: (rule.expression, rule.action, rule.enabled)
            for rule in rule_states(self.ruleset)
            if is_ours(rule)
        }
