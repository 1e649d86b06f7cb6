"""What the steps of a plan touch, and what they leave alone although they name it."""

from __future__ import annotations

from dataclasses import replace

from apps.planning.plan import AddRule, DeleteRule, EditRule, Effect, Plan, ReplaceList
from apps.planning.reach import reach_of
from apps.planning.rule import make_rule
from apps.planning.rule_steps import as_state
from apps.planning.state import Mode

A, B, C, D = (f"{letter}.pay.example" for letter in "abcd")
REF = "byoca-0123456789ab-0"
PINS = frozenset({"AA" * 20})


def plan(*steps: ReplaceList | AddRule | EditRule | DeleteRule, effects: tuple[Effect, ...] = ()) -> Plan:
    return Plan("pay.example", "base", steps, effects)


def rule(*names: str, action: str = "block", pins: frozenset[str] | None = PINS):  # type: ignore[no-untyped-def]
    return make_rule(REF, action, frozenset(names), pins)


def touched(found: Plan, *names: str) -> list[str]:
    return [name for name in names if reach_of(found).touches("ca", name)]


def test_a_list_touches_what_comes_and_goes_under_its_own_ca() -> None:
    swap = plan(
        ReplaceList.of("ca", frozenset({A}), frozenset({A, B})), ReplaceList.of("ca", frozenset({A, C}), frozenset({A}))
    )
    assert touched(swap, A, B, C, D) == [B, C]
    assert not reach_of(swap).touches("other", B)


def test_what_is_adopted_is_touched_without_a_step() -> None:
    assert touched(plan(effects=(Effect("adopt", "pay.example", "ca", A, Mode.VERIFY.value),)), A, B) == [A]


def test_a_rule_that_comes_or_goes_touches_all_its_hostnames() -> None:
    assert touched(plan(AddRule(rule(A, B))), A, B, C) == [A, B]
    assert touched(plan(DeleteRule("id", as_state(rule(A, B)))), A, B, C) == [A, B]


def test_a_rule_that_is_edited_touches_those_that_it_treats_otherwise() -> None:
    before = as_state(rule(A, B))
    assert touched(plan(EditRule("id", before, rule(B, C))), A, B, C, D) == [A, C]
    for other in (rule(A, B, action="log"), rule(A, B, pins=None)):
        assert touched(plan(EditRule("id", before, other)), A, B, C) == [A, B]
    switched_off = replace(before, enabled=False)
    assert touched(plan(EditRule("id", switched_off, rule(A, B))), A, B, C) == [A, B]


def test_a_rule_that_cannot_be_read_may_touch_anything() -> None:
    edited = replace(as_state(rule(A)), expression="true")
    for step in (EditRule("id", edited, rule(A)), DeleteRule("id", edited)):
        assert touched(plan(step), A, D) == [A, D]
