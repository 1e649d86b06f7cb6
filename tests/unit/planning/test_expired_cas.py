"""A CA that is not valid lets nobody in: no hostname goes to block on its strength, and nothing else changes."""

from __future__ import annotations

import pytest

from apps.planning.diff import diff, unfinished
from apps.planning.plan import ReplaceList
from apps.planning.rule import compile_rules
from apps.planning.seen import edge_modes
from apps.planning.simulate import apply_step
from apps.planning.state import DesiredZone, Mode, ObservedZone, RuleState

ZONE, NAME = "pay.example", "api.pay.example"
OLD, NEW = "aa" * 32, "bb" * 32
ONE: frozenset[str] = frozenset({NAME})


def wanted(*cas: str, mode: Mode = Mode.BLOCK, releases: tuple[str, ...] = ()) -> DesiredZone:
    return DesiredZone(
        ZONE, dict.fromkeys(cas, ONE), dict.fromkeys(releases, ONE), {NAME: mode}, not_valid=frozenset({OLD})
    )


def seen(*cas: str, mode: Mode = Mode.VERIFY) -> ObservedZone:
    """The hostname in these lists, and in a rule of ours for its mode."""
    made = compile_rules(DesiredZone(ZONE, dict.fromkeys(cas, ONE), modes={NAME: mode})) if mode != Mode.VERIFY else ()
    rules = tuple(
        RuleState(rule.ref, rule.ref, rule.description, rule.action, rule.expression, True, position)
        for position, rule in enumerate(made)
    )
    return ObservedZone(ZONE, {ca: ONE if ca in cas else frozenset() for ca in (OLD, NEW)}, "rs", "1", rules)


def after(desired: DesiredZone, observed: ObservedZone) -> tuple[Mode, set[str], tuple[str, ...]]:
    """What the plan comes to: the mode, the CAs that list the hostname, and what waits."""
    plan = diff(desired, observed, heal=False)
    for step in plan.steps:
        observed = apply_step(observed, step)
    mode = edge_modes(observed.rules).get(NAME, Mode.VERIFY)
    return mode, {ca for ca, names in observed.lists.items() if NAME in names}, plan.waits


@pytest.mark.parametrize("now", [seen(), seen(OLD), seen(OLD, mode=Mode.LOG)])
def test_no_new_block_on_an_expired_ca(now: ObservedZone) -> None:
    mode = edge_modes(now.rules).get(NAME, Mode.VERIFY)
    assert after(wanted(OLD), now) == (mode, {OLD}, (NAME,))
    assert unfinished(wanted(OLD), now) == ONE


def test_a_valid_ca_beside_it_is_enough_and_only_where_it_lists_the_hostname() -> None:
    assert after(wanted(OLD, NEW), seen(OLD)) == (Mode.BLOCK, {OLD, NEW}, ())
    unread = ObservedZone(ZONE, {OLD: ONE}, "rs", "1")
    assert after(wanted(OLD, NEW), unread) == (Mode.VERIFY, {OLD}, (NAME,))


@pytest.mark.parametrize("mode", [Mode.VERIFY, Mode.LOG])
def test_what_refuses_nobody_goes(mode: Mode) -> None:
    assert after(wanted(OLD, mode=mode), seen()) == (mode, {OLD}, ())


def test_a_block_that_stands_goes_on_as_approved() -> None:
    assert after(wanted(OLD), seen(OLD, mode=Mode.BLOCK)) == (Mode.BLOCK, {OLD}, ())
    assert after(wanted(OLD, releases=(NEW,)), seen(OLD, NEW, mode=Mode.BLOCK)) == (Mode.BLOCK, {OLD}, ())
    assert after(wanted(OLD, mode=Mode.LOG), seen(OLD, mode=Mode.BLOCK)) == (Mode.LOG, {OLD}, ())


def test_it_is_part_of_what_was_approved_at_that_moment() -> None:
    steps = diff(wanted(OLD), seen(), heal=False).steps
    assert [step.adds for step in steps if isinstance(step, ReplaceList)] == [(NAME,)]
    assert wanted(OLD).fingerprint() != DesiredZone(ZONE, {OLD: ONE}, {}, {NAME: Mode.BLOCK}).fingerprint()
