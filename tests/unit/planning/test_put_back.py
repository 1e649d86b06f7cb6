"""Healing's plan: additions of approved names that are missing, whatever else differs."""

from __future__ import annotations

from apps.planning.diff import put_back
from apps.planning.guards import Limits, check
from apps.planning.plan import ReadBackLists, ReplaceList
from apps.planning.rule import compile_rules
from apps.planning.state import DesiredZone, Mode, ObservedZone, RuleState

A, B = "a" * 64, "b" * 64
DESIRED = DesiredZone(
    "x.example",
    {A: frozenset({"a.x.example", "b.x.example"}), B: frozenset({"a.x.example"})},
    releases={A: frozenset({"old.x.example"})},
    modes={"a.x.example": Mode.BLOCK},
)
(RULE,) = compile_rules(DESIRED)
OBSERVED = ObservedZone(
    "x.example",
    {A: frozenset({"old.x.example", "other.x.example"})},
    rules=(RuleState("1", RULE.ref, "", "block", RULE.expression, True, 0),),
)


def test_only_named_approved_missing_pairs_of_lists_that_were_read() -> None:
    pairs = {(A, "a.x.example"), (A, "old.x.example"), (A, "never.x.example"), (B, "a.x.example")}
    plan = put_back(DESIRED, OBSERVED, frozenset(pairs))
    replaced, read = plan.steps
    assert isinstance(replaced, ReplaceList)
    assert (replaced.ca, replaced.adds, replaced.removes) == (A, ("a.x.example",), ())
    assert read == ReadBackLists((A,))
    assert [(effect.operation, effect.hostname, effect.mode) for effect in plan.effects] == [
        ("associate", "a.x.example", "block")
    ]
    assert check(plan, Limits(), observed=OBSERVED) == ()


def test_nothing_to_put_back_is_no_plan() -> None:
    assert put_back(DESIRED, OBSERVED, frozenset()).is_noop
    assert put_back(DESIRED, OBSERVED, frozenset({(A, "other.x.example")})).is_noop
