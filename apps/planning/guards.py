"""The last look at a plan before it is sent. A guard refuses; it never mends. docs/plans.md has the table.

Three kinds of refusal. A fault (unmanaged name, stale base, unsafe order) has no way round. A removal of any
consequence needs an approval that names each hostname: a second person has seen and confirmed it then. A big removal,
at once or in slices, needs an override besides: from one more person, for one guard and one plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from apps.planning.order import in_safe_order, unsafe_prefixes
from apps.planning.plan import Plan, ReplaceList
from apps.planning.state import Mode, ObservedZone

# (CA, hostname) pairs whose removal an approval names.
Acknowledged = frozenset[tuple[str, str]]
NO_PAIRS: Acknowledged = frozenset()

CONFIRMATION = "An approval that names each hostname, confirmed by the approver."
# Guards for which naming the plan's digest is no confirmation: the number has to be typed, by a program too.
TYPED = frozenset({"emptied", "last_of_zone", "share"})
# From this many hostnames on a list loses no more than `most_percent` by an approval alone.
LONG_LIST = 10
OVERRIDE = "An override for this plan, with a reason, by someone who neither asked for the removal nor approved it."
NOTHING = "Nothing: this is a fault of the portal. The plan has to be built again."


@dataclass(frozen=True)
class Limits:
    """How much may go from one zone. Reaching a limit passes, exceeding it does not; no list is too small to count.

    More than `percent` of a list (at least 1 hostname) needs a confirmed approval; more than that and more than `few`
    hostnames needs an override, and so does more than `most_percent` of a list of `LONG_LIST` or more. Each counts
    within one plan, and over `window` together with what has gone from the list, of its size when the window began.
    `total` hostnames and `pairs` (zone, CA) lists that lose any count over everything that the caller calls recent.
    """

    percent: int = 10
    few: int = 10
    most_percent: int = 30
    total: int = 100
    pairs: int = 10
    window: timedelta = timedelta(hours=24)


@dataclass(frozen=True, order=True)
class Removal:
    """One hostname taken off one list, by whatever plan."""

    at: datetime
    zone: str
    ca: str
    hostname: str


@dataclass(frozen=True)
class Recent:
    """Removals up to `now`; older ones than the window do not count.

    `sizes` says how many hostnames each (zone, CA) list held when the window began. A list without an entry counts
    with its present size.
    """

    now: datetime
    removals: tuple[Removal, ...] = ()
    sizes: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Override:
    """One person lets one guard pass for one plan. The store has to use it up with the plan that passes by it."""

    plan_digest: str
    guard: str
    by: str
    why: str

    def __post_init__(self) -> None:
        if not all(text.strip() for text in (self.plan_digest, self.guard, self.by, self.why)):
            raise ValueError("An override names a plan, a guard, a person and a reason.")


@dataclass(frozen=True)
class Refusal:
    """Which guard, why, by what numbers, what would let the plan pass, and whether an override can."""

    guard: str
    message: str
    needs: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    overridable: bool = False

    @property
    def confirmable(self) -> bool:
        """Whether the approver's confirmation lets it pass."""
        return self.needs == CONFIRMATION


def check(
    plan: Plan,
    limits: Limits,
    acknowledged: Acknowledged = NO_PAIRS,
    recent: Recent | None = None,
    overrides: Iterable[Override] = (),
    *,
    unconfirmed: Acknowledged = NO_PAIRS,
    untyped: Acknowledged = NO_PAIRS,
    observed: ObservedZone | None = None,
    decided_by: frozenset[str] = frozenset(),
) -> tuple[Refusal, ...]:
    """Every reason against the plan; none when it may be sent.

    `acknowledged` pairs are named by an approval; it counts as confirmed for all but those in `unconfirmed`, and as
    confirmed by a typed number for all but those in `untyped` besides.
    With `observed`, the read it is about to be sent against, the plan is also replayed step by step. An override by
    one of `decided_by`, who asked for or approved these changes, counts for nothing.
    """
    refusals = _faults(plan, acknowledged, observed)
    leaving = {(step.ca, name) for step in _removing(plan) for name in step.removes}
    confirmed = leaving <= acknowledged - unconfirmed
    typed = confirmed and not leaving & untyped
    refusals += [r for r in confirmations(plan, limits, recent) if not (typed if r.guard in TYPED else confirmed)]
    passed = {o.guard for o in overrides if o.plan_digest == plan.digest and o.by not in decided_by}
    refusals += [r for r in too_big(plan, limits, recent) if r.guard not in passed]
    return tuple(refusals)


def stale(plan_base: str, observed: ObservedZone) -> bool:
    """Whether the edge is no longer what the plan was made from."""
    return observed.fingerprint() != plan_base


def _removing(plan: Plan) -> list[ReplaceList]:
    return [step for step in plan.steps if isinstance(step, ReplaceList) and step.removes]


def _faults(plan: Plan, acknowledged: Acknowledged, observed: ObservedZone | None) -> list[Refusal]:
    """What nobody can wave through."""
    found: list[Refusal] = []
    if observed is not None and stale(plan.base, observed):
        words = f"The edge of {plan.zone} is no longer what this plan was made from."
        found.append(Refusal("stale_base", words, "A new plan, from a fresh read."))
    for step in _removing(plan):
        unnamed = [name for name in step.removes if (step.ca, name) not in acknowledged]
        if unnamed:
            words = f"No approval names {_some(unnamed)} in {plan.zone}."
            needs = "A removal request for each of them."
            found.append(Refusal("unmanaged", words, needs, {"unnamed": len(unnamed)}))
    if not in_safe_order(plan):
        found.append(Refusal("order", "The steps are not in the safe order, or do not fit each other.", NOTHING))
    if observed is not None and not found:
        for guard, names in unsafe_prefixes(plan, observed):
            how = "would be blocked with no CA" if guard == "locks_out" else "would stand open for a moment"
            found.append(Refusal(guard, f"{_some(sorted(names))} {how}.", NOTHING, {"hostnames": len(names)}))
    return found


def confirmations(plan: Plan, limits: Limits, recent: Recent | None = None) -> tuple[Refusal, ...]:
    """What the approver of this plan has to confirm, by typing how many hostnames go."""
    found: list[Refusal] = []
    steps = _removing(plan)
    for step in steps:
        if not step.after:
            words = f"The list of CA {step.ca[:12]} in {plan.zone} would be empty."
            numbers = {"removed": len(step.removes), "of": len(step.before)}
            found.append(Refusal("emptied", words, CONFIRMATION, numbers))
        found += _share_of_one_list(plan.zone, step, limits, recent)
    if steps and plan.pairs_left == 0:
        words = f"No hostname of {plan.zone} would be left under any CA."
        found.append(Refusal("last_of_zone", words, CONFIRMATION, {"left": 0}))
    relaxed = {effect.hostname for effect in plan.effects if effect.operation == "relax"}
    leaving = [effect for effect in plan.effects if effect.operation == "dissociate"]
    if enforced := sorted({e.hostname for e in leaving if e.hostname in relaxed or e.mode != Mode.VERIFY}):
        words = f"A rule of ours names {_some(enforced)}: it checks their clients now."
        found.append(Refusal("enforced", words, CONFIRMATION, {"hostnames": len(enforced)}))
    return tuple(found)


def _share_of_one_list(zone: str, step: ReplaceList, limits: Limits, recent: Recent | None) -> list[Refusal]:
    """In one go, or one by one within the window: of what the list held when that began."""
    size, gone = len(step.before), len(step.removes)
    if gone > (limit := _share(size, limits)):
        words = f"{gone} of {size} hostnames of CA {step.ca[:12]} in {zone} would go."
        return [Refusal("share", words, CONFIRMATION, {"removed": gone, "of": size, "limit": limit})]
    before = _gone_before((zone, step.ca), limits, recent)
    if before and recent is not None:
        size = recent.sizes.get((zone, step.ca), size)
        gone = len(before | set(step.removes))
        if gone > (limit := _share(size, limits)):
            words = (
                f"{gone} hostnames of CA {step.ca[:12]} in {zone} would be gone {_within_words(limits)}, "
                f"{_of_words(size, len(before | set(step.before)))}."
            )
            numbers = {"removed": gone, "earlier": len(before), "of": size, "limit": limit}
            return [Refusal("share", words, CONFIRMATION, numbers)]
    return []


def too_big(plan: Plan, limits: Limits, recent: Recent | None = None) -> tuple[Refusal, ...]:
    """What an override has to let pass, whoever approved the removal."""
    steps = _removing(plan)
    if not steps:
        return ()
    past = _within(recent, limits)
    found: list[Refusal] = []
    for step in steps:
        found += _too_much_of_one_list(step, (plan.zone, step.ca), limits, recent)
    gone = {(r.zone, r.ca, r.hostname) for r in past} | {(plan.zone, s.ca, name) for s in steps for name in s.removes}
    if len(gone) > limits.total:
        words = f"{len(gone)} hostnames would be removed {_within_words(limits)}; the limit is {limits.total}."
        found.append(Refusal("total", words, OVERRIDE, {"removed": len(gone), "limit": limits.total}, overridable=True))
    pairs = {(zone, ca) for zone, ca, _ in gone}
    if len(pairs) > limits.pairs:
        words = f"{len(pairs)} lists would lose hostnames {_within_words(limits)}; the limit is {limits.pairs}."
        found.append(Refusal("pairs", words, OVERRIDE, {"pairs": len(pairs), "limit": limits.pairs}, overridable=True))
    return tuple(found)


def _too_much_of_one_list(
    step: ReplaceList, key: tuple[str, str], limits: Limits, recent: Recent | None
) -> list[Refusal]:
    found: list[Refusal] = []
    size = len(step.before)
    limit = _alone(size, limits)
    if len(step.removes) > limit:
        words = (
            f"{len(step.removes)} of {size} hostnames of CA {key[1][:12]} in {key[0]} would go; the limit is {limit}."
        )
        numbers = {"removed": len(step.removes), "of": size, "limit": limit}
        found.append(Refusal("ratio", words, OVERRIDE, numbers, overridable=True))
    before = _gone_before(key, limits, recent)
    if before and recent is not None:
        # A list that was filled within the window is as long as what it holds and has lost.
        known = len(before | set(step.before))
        size = recent.sizes.get(key, size)
        limit = _alone(size, limits, known)
        gone = len(before | set(step.removes))
        if gone > limit:
            words = (
                f"{gone} hostnames of CA {key[1][:12]} in {key[0]} would be gone {_within_words(limits)}, "
                f"{_of_words(size, known)}; the limit is {limit}."
            )
            numbers = {"removed": gone, "earlier": len(before), "of": size, "limit": limit}
            found.append(Refusal("window", words, OVERRIDE, numbers, overridable=True))
    return found


def _share(size: int, limits: Limits) -> int:
    return max(1, size * limits.percent // 100)


def _alone(size: int, limits: Limits, known: int = 0) -> int:
    """How many hostnames a list of that size may lose by a confirmed approval alone; `known` is another size of it."""
    long = [max(1, count * limits.most_percent // 100) for count in (size, known) if count >= LONG_LIST]
    return min([max(limits.few, _share(size, limits)), *long])


def _gone_before(key: tuple[str, str], limits: Limits, recent: Recent | None) -> set[str]:
    return {removal.hostname for removal in _within(recent, limits) if (removal.zone, removal.ca) == key}


def _within(recent: Recent | None, limits: Limits) -> list[Removal]:
    if recent is None:
        return []
    return [removal for removal in recent.removals if removal.at > recent.now - limits.window]


def _within_words(limits: Limits) -> str:
    hours = limits.window / timedelta(hours=1)
    return f"within {hours:g} hours"


def _of_words(size: int, known: int) -> str:
    """Of how many, in words: `size` when the window began; `known` have been on the list since."""
    if known <= size:
        return f"of {size} at their start"
    return f"of a list that held {size or 'none'} at their start and {known} in all since"


def _some(names: list[str]) -> str:
    more = len(names) - 5
    return ", ".join(names[:5]) + (f" and {more} more" if more > 0 else "")
