"""What is refused, at which number, and who can let it pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.planning.diff import diff
from apps.planning.guards import (
    Acknowledged,
    Limits,
    Override,
    Recent,
    Refusal,
    Removal,
    check,
    confirmations,
    stale,
    too_big,
)
from apps.planning.plan import AddRule, Plan, ReadBackLists, ReadBackRules, ReplaceList, Step
from apps.planning.rule import make_rule
from apps.planning.state import Mode, ObservedZone
from tests.unit.planning.worlds import CAS, ZONE, approved, edge, rules_for

A, B, C = CAS[:3]
API = "api.example.com"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Limits()


def names(count: int, start: int = 0) -> list[str]:
    return [f"h{n:04}.example.com" for n in range(start, start + count)]


def removal(count: int, size: int, *, ca: str = A) -> tuple[Plan, ObservedZone]:
    """A plan that removes so many of a list of that size; another CA keeps the zone from being emptied."""
    observed = edge({ca: names(size), B: [API]})
    return diff(approved({}, releases={ca: names(count)}), observed), observed


def pairs_of(plan: Plan) -> Acknowledged:
    return frozenset((e.ca, e.hostname) for e in plan.effects if e.operation == "dissociate")


def guards(refusals: Iterable[Refusal]) -> list[str]:
    return [refusal.guard for refusal in refusals]


@pytest.mark.parametrize(("size", "limit"), [(1, 1), (2, 1), (9, 1), (10, 1), (11, 1), (20, 2), (99, 9), (100, 10)])
def test_more_than_a_tenth_needs_a_confirmed_approval_however_short_the_list(size: int, limit: int) -> None:
    for count in range(1, size + 1):
        plan, _ = removal(count, size)
        expected = (["emptied"] if count == size else []) + (["share"] if count > limit else [])
        assert guards(confirmations(plan, LIMITS)) == expected, count
        big = ["ratio"] if count > ALONE[size] else []
        assert guards(check(plan, LIMITS)) == ["unmanaged", *expected, *big]


# How many hostnames a list of that size may lose by an approval alone: 30 % from ten hostnames on, and then ten.
ALONE = {1: 1, 2: 2, 9: 9, 10: 3, 11: 3, 20: 6, 33: 9, 34: 10, 99: 10, 100: 10, 200: 20}


@pytest.mark.parametrize("size", ALONE)
def test_a_few_named_hostnames_go_with_a_confirmed_approval_and_many_need_an_override(size: int) -> None:
    limit = ALONE[size]
    for count in {1, 2, 9, 10, 11, limit, limit + 1, size} & set(range(1, size + 1)):
        plan, observed = removal(count, size)
        expected = (["ratio"] if count > limit else []) + (["total"] if count > LIMITS.total else [])
        assert guards(check(plan, LIMITS, pairs_of(plan), observed=observed)) == expected, count


def test_the_limits_are_settings() -> None:
    plan, _ = removal(3, 30)
    assert guards(confirmations(plan, LIMITS)) == []
    assert guards(confirmations(plan, Limits(percent=9))) == ["share"]
    assert guards(too_big(plan, Limits(few=2, percent=9))) == ["ratio"]
    assert guards(too_big(plan, Limits(most_percent=9))) == ["ratio"]
    assert guards(too_big(plan, Limits(total=2))) == ["total"]
    assert guards(too_big(plan, Limits(pairs=0))) == ["pairs"]


def test_percentages_are_exact() -> None:
    # 0.29 * 100 is 28.999999999999996 in floating point.
    plan, _ = removal(29, 100)
    assert guards(too_big(plan, Limits(percent=29))) == []
    assert guards(too_big(plan, Limits(percent=28))) == ["ratio"]


def test_an_unnamed_hostname_is_refused_and_nothing_but_a_request_helps() -> None:
    plan, _ = removal(7, 100)
    named = frozenset([(A, name) for name in names(7)][1:]) | {(B, names(1)[0])}
    (refusal,) = check(plan, LIMITS, named)
    assert (refusal.guard, refusal.overridable, refusal.numbers) == ("unmanaged", False, {"unnamed": 1})
    assert refusal.message == "No approval names h0000.example.com in example.com."
    waved = [Override(plan.digest, "unmanaged", "eve", "It is fine")]
    assert guards(check(plan, LIMITS, named, overrides=waved)) == ["unmanaged"]
    (refusal,) = check(plan, LIMITS)
    assert refusal.message.startswith("No approval names h0000.example.com, ")
    assert "h0004.example.com and 2 more in" in refusal.message


def test_the_last_hostname_of_a_zone_has_to_be_confirmed() -> None:
    plan = diff(approved({}, releases={A: [API]}), edge({A: [API], B: []}))
    found = {refusal.guard: refusal for refusal in confirmations(plan, LIMITS)}
    assert list(found) == ["emptied", "last_of_zone"]
    assert found["last_of_zone"].numbers == {"left": 0}
    assert check(plan, LIMITS, pairs_of(plan)) == ()
    assert guards(check(plan, LIMITS, pairs_of(plan), unconfirmed=pairs_of(plan))) == ["emptied", "last_of_zone"]
    assert guards(confirmations(diff(approved({}), edge({A: []})), LIMITS)) == []


def test_a_hostname_that_a_rule_names_has_to_be_confirmed() -> None:
    before = approved({A: [*names(30)], B: [names(1)[0]]}, dict.fromkeys(names(2), Mode.BLOCK))
    observed = edge(dict(before.associations), rules_for(before))
    stays = replace(before, associations={**before.associations, A: frozenset(names(29, 1))})
    plan = diff(replace(stays, releases={A: frozenset(names(1))}), observed)
    assert guards(confirmations(plan, LIMITS)) == ["enforced"], "it stays blocked, under its other CA"
    goes = replace(before, associations={A: before.associations[A] - {names(2)[1]}, B: before.associations[B]})
    plan = diff(replace(goes, releases={A: frozenset([names(2)[1]])}), observed)
    (refusal,) = confirmations(plan, LIMITS)
    assert (refusal.guard, refusal.numbers) == ("enforced", {"hostnames": 1})
    assert refusal.message.startswith("A rule of ours names h0001.example.com:")
    plan = diff(
        replace(before, releases={A: frozenset(names(1, 29))}, associations={B: before.associations[B]}), observed
    )
    assert guards(confirmations(plan, LIMITS)) == [], "no rule names it"


def test_the_main_job_takes_all_three_hostnames_of_a_ca_with_one_confirmed_approval() -> None:
    before = approved({A: names(3)}, dict.fromkeys(names(3), Mode.BLOCK))
    observed = edge({A: names(3), B: []}, rules_for(before))
    plan = diff(approved({}, dict.fromkeys(names(3), Mode.VERIFY), releases={A: names(3)}), observed)
    assert guards(confirmations(plan, LIMITS)) == ["emptied", "share", "last_of_zone", "enforced"]
    assert check(plan, LIMITS, pairs_of(plan), Recent(NOW), observed=observed) == ()


def test_adding_and_nothing_to_do_pass() -> None:
    for desired in (approved({A: names(400)}), approved({})):
        plan = diff(desired, edge({A: []}))
        past = Recent(NOW, tuple(Removal(NOW, "z", A, name) for name in names(500)))
        assert check(plan, LIMITS, frozenset(), past) == ()


# The window.


def sliced(*slices: int, size: int = 100, ages: Iterable[timedelta] = ()) -> tuple[Plan, Recent]:
    """The last slice as a plan, those before it as the recent past."""
    *past, last = slices
    hours = [*ages] or [timedelta(hours=len(past) - n) for n in range(len(past))]
    removals, gone = [], 0
    for count, age in zip(past, hours, strict=True):
        removals += [Removal(NOW - age, ZONE, A, name) for name in names(count, gone)]
        gone += count
    observed = edge({A: names(size - gone, gone), B: [API]})
    plan = diff(approved({}, releases={A: names(last, gone)}), observed)
    return plan, Recent(NOW, tuple(removals), {(ZONE, A): size})


def test_slices_of_a_big_removal_count_together() -> None:
    passing, recent = sliced(3, 3, 3, 1)
    assert check(passing, LIMITS, pairs_of(passing), recent) == ()
    plan, recent = sliced(3, 3, 3, 2)
    (refusal,) = check(plan, LIMITS, pairs_of(plan), recent)
    assert (refusal.guard, refusal.overridable) == ("window", True)
    assert refusal.numbers == {"removed": 11, "earlier": 9, "of": 100, "limit": 10}
    assert "would be gone within 24 hours, of 100 at their start; the limit is 10." in refusal.message


def test_one_by_one_a_list_of_ten_loses_no_more_than_at_once() -> None:
    passing, recent = sliced(1, 1, 1, size=10)
    assert check(passing, LIMITS, pairs_of(passing), recent) == ()
    plan, recent = sliced(1, 1, 1, 1, size=10)
    (refusal,) = check(plan, LIMITS, pairs_of(plan), recent)
    assert (refusal.guard, refusal.numbers) == ("window", {"removed": 4, "earlier": 3, "of": 10, "limit": 3})


def test_a_list_that_was_filled_within_the_window_is_as_long_as_what_it_lost_and_holds() -> None:
    plan, recent = sliced(1, 1, 1, 1, size=10)
    (refusal,) = check(plan, LIMITS, pairs_of(plan), replace(recent, sizes={(ZONE, A): 0}))
    assert (refusal.guard, refusal.numbers["limit"]) == ("window", 3)
    filled = (
        "would be gone within 24 hours, of a list that held none at their start and 10 in all since; the limit is 3."
    )
    assert filled in refusal.message
    second, recent = sliced(1, 1, size=5)
    for size, held in ((0, "none"), (2, "2")):
        (refusal,) = confirmations(second, LIMITS, replace(recent, sizes={(ZONE, A): size}))
        assert f"within 24 hours, of a list that held {held} at their start and 5 in all since." in refusal.message


def test_a_share_taken_one_by_one_has_to_be_confirmed_like_one_taken_at_once() -> None:
    first, recent = sliced(1, size=5)
    assert guards(confirmations(first, LIMITS, recent)) == []
    second, recent = sliced(1, 1, size=5)
    (refusal,) = confirmations(second, LIMITS, recent)
    assert (refusal.guard, refusal.confirmable) == ("share", True)
    assert refusal.numbers == {"removed": 2, "earlier": 1, "of": 5, "limit": 1}
    assert "2 hostnames of CA" in refusal.message
    assert "would be gone within 24 hours, of 5 at their start." in refusal.message
    named = pairs_of(second)
    assert guards(check(second, LIMITS, named, recent, unconfirmed=named)) == ["share"]
    assert check(second, LIMITS, named, recent) == ()
    later, recent = sliced(1, 1, size=5, ages=[LIMITS.window])
    assert guards(confirmations(later, LIMITS, recent)) == []
    many, recent = sliced(5, 5, size=100)
    assert guards(confirmations(many, LIMITS, recent)) == [], "ten of a hundred is the limit"


def test_naming_the_digest_confirms_no_share_and_no_empty_list() -> None:
    before = approved({A: names(3)}, dict.fromkeys(names(3), Mode.BLOCK))
    observed = edge({A: names(3), B: []}, rules_for(before))
    plan = diff(approved({}, dict.fromkeys(names(3), Mode.VERIFY), releases={A: names(3)}), observed)
    named = pairs_of(plan)
    assert guards(check(plan, LIMITS, named, untyped=named)) == ["emptied", "share", "last_of_zone"]
    assert guards(check(plan, LIMITS, named, unconfirmed=named)) == ["emptied", "share", "last_of_zone", "enforced"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 10), min_size=2, max_size=12), st.integers(10, 300))
def test_no_way_of_slicing_takes_more_than_one_removal_could(slices: list[int], size: int) -> None:
    limit = min(max(LIMITS.few, size // 10), size * 3 // 10)
    taken = 0
    for number in range(1, len(slices) + 1):
        if sum(slices[:number]) > size:
            break
        plan, recent = sliced(*slices[:number], size=size)
        if check(plan, LIMITS, pairs_of(plan), recent):
            break
        taken = sum(slices[:number])
    assert taken <= limit


def test_what_is_older_than_the_window_does_not_count() -> None:
    day = LIMITS.window
    plan, recent = sliced(10, 1, ages=[day])
    assert check(plan, LIMITS, pairs_of(plan), recent) == ()
    plan, recent = sliced(10, 1, ages=[day - timedelta(microseconds=1)])
    assert guards(check(plan, LIMITS, pairs_of(plan), recent)) == ["window"]
    assert guards(check(plan, Limits(window=timedelta(minutes=90)), pairs_of(plan), recent)) == []


def test_another_list_counts_for_the_total_only() -> None:
    plan, observed = removal(1, 100)
    elsewhere = [Removal(NOW, ZONE, B, name) for name in names(60)] + [Removal(NOW, "z", A, name) for name in names(40)]
    (refusal,) = check(plan, LIMITS, pairs_of(plan), Recent(NOW, tuple(elsewhere)), observed=observed)
    assert (refusal.guard, refusal.overridable, refusal.numbers) == ("total", True, {"removed": 101, "limit": 100})
    assert check(plan, LIMITS, pairs_of(plan), Recent(NOW, tuple(elsewhere[1:]))) == ()


def test_a_hostname_removed_twice_counts_once() -> None:
    plan, _ = removal(5, 100)
    again = tuple(Removal(NOW, ZONE, A, name) for name in names(10))
    assert check(plan, LIMITS, pairs_of(plan), Recent(NOW, again)) == ()


def test_growing_a_list_first_does_not_raise_its_limit() -> None:
    plan, _ = removal(11, 1000)
    past = (Removal(NOW, ZONE, A, "gone.example.com"),)
    assert check(plan, LIMITS, pairs_of(plan), Recent(NOW, past)) == (), "without a known start, the present size"
    assert guards(check(plan, LIMITS, pairs_of(plan), Recent(NOW, past, {(ZONE, A): 20}))) == ["window"]


def test_touching_many_lists_needs_an_override() -> None:
    plan, _ = removal(1, 100)
    past = tuple(Removal(NOW, f"zone{n}", A, API) for n in range(10))
    (refusal,) = check(plan, LIMITS, pairs_of(plan), Recent(NOW, past))
    assert (refusal.guard, refusal.overridable, refusal.numbers) == ("pairs", True, {"pairs": 11, "limit": 10})
    assert check(plan, LIMITS, pairs_of(plan), Recent(NOW, past[1:])) == ()


# Overrides.


def test_an_override_lets_exactly_one_guard_pass_for_exactly_one_plan() -> None:
    plan, _ = removal(101, 200)
    named = pairs_of(plan)
    assert guards(check(plan, LIMITS, named)) == ["ratio", "total"]
    ratio = Override(plan.digest, "ratio", "carol", "The product was shut down")
    total = replace(ratio, guard="total")
    assert guards(check(plan, LIMITS, named, overrides=[ratio])) == ["total"]
    assert guards(check(plan, LIMITS, named, overrides=[ratio, total])) == []
    other, _ = removal(102, 200)
    assert guards(check(other, LIMITS, pairs_of(other), overrides=[ratio, total])) == ["ratio", "total"]
    assert guards(check(plan, LIMITS, named, overrides=[replace(ratio, guard="window")])) == ["ratio", "total"]


def test_an_override_by_those_who_asked_or_approved_counts_for_nothing() -> None:
    plan, _ = removal(11, 100)
    override = Override(plan.digest, "ratio", "bob", "Trust me")
    check_with = {"acknowledged": pairs_of(plan), "overrides": [override]}
    assert guards(check(plan, LIMITS, **check_with, decided_by=frozenset({"alice", "bob"}))) == ["ratio"]
    assert guards(check(plan, LIMITS, **check_with, decided_by=frozenset({"alice"}))) == []


def test_an_override_does_not_stand_in_for_a_confirmation() -> None:
    plan, _ = removal(2, 2)
    waved = [Override(plan.digest, guard, "carol", "Sure") for guard in ("emptied", "share", "order", "unmanaged")]
    assert guards(check(plan, LIMITS, pairs_of(plan), None, waved, unconfirmed=pairs_of(plan))) == ["emptied", "share"]


@pytest.mark.parametrize("missing", ["plan_digest", "guard", "by", "why"])
def test_an_override_names_plan_guard_person_and_reason(missing: str) -> None:
    values = {"plan_digest": "d", "guard": "ratio", "by": "carol", "why": "because", missing: " "}
    with pytest.raises(ValueError, match="names a plan, a guard, a person and a reason"):
        Override(**values)


# Faults: what nobody lets pass.


def test_a_stale_base_is_refused() -> None:
    plan, observed = removal(1, 100)
    assert not stale(plan.base, observed)
    moved = edge({A: names(99), B: [API]})
    assert stale(plan.base, moved)
    (refusal,) = check(plan, LIMITS, pairs_of(plan), observed=moved)
    assert (refusal.guard, refusal.overridable) == ("stale_base", False)


def _plan(*steps: Step) -> Plan:
    return Plan(ZONE, "base", steps, (), 1)


ADD = ReplaceList.of(A, frozenset([API]), frozenset([API, "b.example.com"]))
REMOVE = ReplaceList.of(A, frozenset([API, "b.example.com"]), frozenset([API]))
RULE = AddRule(make_rule("byoca-1a-0", "block", [API], None))
READ, READ_RULES = ReadBackLists((A,)), ReadBackRules()


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [ADD, READ],
        [RULE, READ_RULES],
        [REMOVE, READ],
        [ADD, READ, RULE, READ_RULES, REMOVE, READ],
        [ADD, READ, REMOVE, READ],
    ],
)
def test_the_safe_order(steps: list[Step]) -> None:
    assert "order" not in guards(check(_plan(*steps), LIMITS, frozenset({(A, "b.example.com")})))


@pytest.mark.parametrize(
    "steps",
    [
        [RULE, READ_RULES, ADD, READ],
        [REMOVE, READ, RULE, READ_RULES],
        [REMOVE, READ, ADD, READ],
        [ADD, RULE, READ_RULES],
        [ADD],
        [RULE],
        [RULE, REMOVE, READ],
        [REMOVE],
        [ADD, ReadBackLists((B,))],
        [ADD, ReadBackLists((A, B))],
        [READ],
        [replace(ADD, adds=(), removes=())],
        [replace(ADD, removes=("b.example.com",))],
        [replace(ADD, after=(API,)), READ],
        [replace(ADD, after=("b.example.com", API)), READ],
        [ADD, READ, replace(REMOVE, before=(API,), removes=(API,), after=()), READ],
    ],
)
def test_an_unsafe_order_is_refused_and_no_override_helps(steps: list[Step]) -> None:
    plan = _plan(*steps)
    named = frozenset({(A, "b.example.com"), (A, API)})
    waved = [Override(plan.digest, "order", "carol", "Hurry")]
    found = [r for r in check(plan, LIMITS, named, overrides=waved) if r.guard == "order"]
    assert [(r.overridable, r.needs[:9]) for r in found] == [(False, "Nothing: ")]


def test_a_replay_finds_what_would_be_locked_out_or_opened() -> None:
    blocked = approved({A: [API]}, {API: Mode.BLOCK})
    observed = edge({A: [API], B: ["b.example.com"]}, rules_for(blocked))
    remove = ReplaceList.of(A, frozenset([API]), frozenset())
    plan = Plan(ZONE, observed.fingerprint(), (remove, READ), (), 1)
    (refusal,) = check(plan, LIMITS, frozenset({(A, API)}), observed=observed)
    assert (refusal.guard, refusal.numbers) == ("locks_out", {"hostnames": 1})
    assert refusal.message == f"{API} would be blocked with no CA."
    other = approved({B: [API]}, {API: Mode.BLOCK})
    moving = diff(other, edge({A: [API], B: [API]}, rules_for(blocked)))
    unbridged = [s for s in moving.steps if "bridge" not in str(s.to_dict())]
    observed = edge({A: [API], B: [API]}, rules_for(blocked))
    (refusal,) = check(replace(moving, steps=tuple(unbridged)), LIMITS, observed=observed)
    assert (refusal.guard, refusal.message) == ("opens", f"{API} would stand open for a moment.")
    assert check(moving, LIMITS, observed=observed) == ()


def test_who_is_locked_out_already_is_no_reason_against_a_plan() -> None:
    observed = edge({A: [], B: []}, rules_for(approved({A: [API]}, {API: Mode.BLOCK})))
    plan = diff(approved({A: [API], B: ["b.example.com"]}, {API: Mode.BLOCK}), observed)
    assert check(plan, LIMITS, observed=observed) == ()
