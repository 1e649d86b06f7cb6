"""What becomes of changes that an earlier run left open: waited for while the edge lags, or closed by what is read.

A change counts as applied only when every call of it was made and a read shows all that was sent, rules included
(F08). What was cut off, or left when the edge lagged, is planned afresh.
"""

from __future__ import annotations

from enum import Enum, auto

from apps.coverage.progress_services import fail_requests
from apps.inventory.models import Zone
from apps.planning.rule import is_ours
from apps.planning.state import ObservedZone
from apps.reconcile.models import Plan, PlanStep
from apps.reconcile.observe import OTHER_LIST, WORKER
from apps.reconcile.plans import end_plan, end_step, may_lag
from apps.reconcile.versions import WRITES, list_versions, rule_versions, words_of

CUT_OFF = "The run was cut off. The next plan goes on from what the edge shows."
GOES_ON = "What was sent is at the edge now. The calls that were left go in the next change."
OTHER_RULE = (
    "A rule was changed outside right after it was sent, and stays as it is now. Look at Drift, then rebuild or retry."
)
NEVER_SHOWN = "The edge does not show what was sent, and the time a lag may take is over."


class Sight(Enum):
    """SHOWN: as sent. LAGGING: as it was at some earlier moment. Otherwise somebody changed a list, or a rule."""

    SHOWN = auto()
    LAGGING = auto()
    OTHER_LIST = auto()
    OTHER_RULE = auto()


def still_verifying(zone: Zone, observed: ObservedZone) -> bool:
    """Close each waiting change that this read decides. True while one waits within the time that a lag may take."""
    waiting = False
    for plan in Plan.objects.filter(zone=zone, state=Plan.State.VERIFYING):
        sight = _sight(plan, observed)
        if sight is Sight.SHOWN:
            _close_shown(plan)
        elif sight is Sight.OTHER_LIST:
            # No lag shows a list that never was, and waiting would help nobody. People are told; its requests fail only
            # if what they asked for cannot be brought there after all.
            _close(plan, Plan.State.DIVERGED, OTHER_LIST)
        elif sight is Sight.OTHER_RULE:
            # The next plan would write the rule whole, over whatever somebody meant by the change.
            _diverge(plan, OTHER_RULE)
        elif may_lag(plan):
            waiting = True
        else:
            _diverge(plan, NEVER_SHOWN)
    return waiting


def _sight(plan: Plan, observed: ObservedZone) -> Sight:
    """What this read shows of the calls that were made."""
    sent = [step.document for step in plan.steps.filter(state=PlanStep.State.DONE)]
    ours = {rule.ref: words_of(rule) for rule in observed.rules if is_ours(rule)}
    rules = [(ours.get(ref), versions) for ref, versions in rule_versions(sent).items()]
    lists = [(observed.lists.get(key), versions) for key, versions in list_versions(sent).items()]
    if any(words not in versions for words, versions in rules):
        return Sight.OTHER_RULE
    if any(names not in versions for names, versions in lists):
        return Sight.OTHER_LIST
    shown = all(words == versions[-1] for words, versions in rules)
    return Sight.SHOWN if shown and all(names == versions[-1] for names, versions in lists) else Sight.LAGGING


def _close_shown(plan: Plan) -> None:
    for step in plan.steps.filter(state=PlanStep.State.RUNNING):
        end_step(step, PlanStep.State.DONE, ray=step.ray)
    if plan.steps.filter(state=PlanStep.State.NOT_STARTED).exists():
        end_plan(plan, Plan.State.SUPERSEDED, error=GOES_ON)
    else:
        end_plan(plan, Plan.State.APPLIED)


def _diverge(plan: Plan, words: str) -> None:
    _close(plan, Plan.State.DIVERGED, words)
    fail_requests(by=WORKER, request_ids=plan.request_ids, why=f"{plan}: {words}")


def _close(plan: Plan, state: str, words: str) -> None:
    """With the read-back, which showed something else than what was sent."""
    for step in plan.steps.filter(state=PlanStep.State.RUNNING):
        end_step(step, PlanStep.State.FAILED, ray=step.ray, error=words)
    end_plan(plan, state, error=words)


def close_cut_off(zone: Zone) -> None:
    """A plan left open by a run that was cut off: what it reached is read already, the rest is planned afresh.

    The call that was under way may have been obeyed. So it is unknown, and what it removed counts as removed.
    """
    for plan in Plan.objects.filter(zone=zone, state=Plan.State.APPLYING):
        for step in plan.steps.filter(state=PlanStep.State.RUNNING):
            state = PlanStep.State.UNKNOWN if step.kind in WRITES else PlanStep.State.FAILED
            end_step(step, state, error="The run was cut off before the answer.")
        end_plan(plan, Plan.State.SUPERSEDED, error=CUT_OFF)
