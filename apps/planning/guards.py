"""The last look at a plan before it is sent. A guard refuses; it never mends.

A removal passes when an approval names exactly this hostname under this CA: a second person has seen it then.
Everything else that would take a hostname off a list is a mistake somewhere, and stops here.
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.plan import AddRule, DeleteRule, EditRule, Plan, ReplaceList
from apps.planning.state import ObservedZone

Acknowledged = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Limits:
    """`ratio` of one list that may go unnamed by an approval (at least one hostname), and how many in all, named or not."""  # noqa: E501

    ratio: float = 0.1
    total: int = 500


@dataclass(frozen=True)
class Refusal:
    """Which guard, why, and what would let the plan pass."""

    guard: str
    message: str
    needs: str


def check(plan: Plan, limits: Limits, acknowledged: Acknowledged = frozenset()) -> tuple[Refusal, ...]:
    """Every reason against the plan; none when it may be sent."""
    refusals: list[Refusal] = []
    lists = [step for step in plan.steps if isinstance(step, ReplaceList)]
    for step in lists:
        refusals += _unnamed(plan.zone, step, acknowledged, limits)
    total = sum(len(step.removes) for step in lists)
    if total > limits.total:
        words = f"{total} hostnames would be removed in {plan.zone} at once; the limit is {limits.total}."
        refusals.append(Refusal("total", words, "Split the removal."))
    if plan.pairs_left == 0 and any((step.ca, n) not in acknowledged for step in lists for n in step.removes):
        words = f"No hostname of {plan.zone} would be left under any CA."
        refusals.append(Refusal("last_of_zone", words, "An approval that names each hostname."))
    return tuple(refusals + _order(plan))


def _unnamed(zone: str, step: ReplaceList, acknowledged: Acknowledged, limits: Limits) -> list[Refusal]:
    unnamed = [name for name in step.removes if (step.ca, name) not in acknowledged]
    if not unnamed:
        return []
    names = ", ".join(unnamed[:5])
    found = [Refusal("unmanaged", f"No approval names {names} in {zone}.", "A removal request for each of them.")]
    if not step.after:
        found.append(Refusal("emptied", f"The list in {zone} would be empty.", "An approval that names each hostname."))
    if len(unnamed) > max(1, int(len(step.before) * limits.ratio)):
        words = f"{len(unnamed)} of {len(step.before)} hostnames in {zone} would go."
        found.append(Refusal("ratio", words, "An approval that names each hostname."))
    return found


def _order(plan: Plan) -> list[Refusal]:
    """Additions before rules, removals after them."""
    rules = [n for n, step in enumerate(plan.steps) if isinstance(step, AddRule | EditRule | DeleteRule)]
    lists = [(n, step) for n, step in enumerate(plan.steps) if isinstance(step, ReplaceList)]
    early = any(step.removes and n < rules[-1] for n, step in lists) if rules else False
    late = any(step.adds and n > rules[0] for n, step in lists) if rules else False
    if not early and not late:
        return []
    return [Refusal("order", "The steps are not in the safe order.", "Nothing: this is a fault of the portal.")]


def stale(plan_base: str, observed: ObservedZone) -> bool:
    """Whether the edge is no longer what the plan was made from."""
    return observed.fingerprint() != plan_base
