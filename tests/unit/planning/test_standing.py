"""What nobody decided about keeps its rule, whatever is written beside it; what was decided does not."""

from __future__ import annotations

from dataclasses import replace

from apps.planning.diff import diff
from apps.planning.rule import compile_rules, pins_in
from apps.planning.seen import accepted_issuers, edge_modes
from apps.planning.simulate import apply_plan
from apps.planning.state import DesiredZone, Mode, ObservedZone, RuleState
from tests.unit.planning.worlds import CAS, NAMES, approved, edge, rule

A, B, C = CAS[:3]
API, APP, DB = NAMES[:3]
BLOCK, LOG = Mode.BLOCK, Mode.LOG


def written(*cas: str, names: list[str], mode: Mode = BLOCK) -> RuleState:
    """The rule that the portal writes for hostnames of exactly these CAs."""
    zone = approved(dict.fromkeys(cas, names), dict.fromkeys(names, mode))
    (made,) = compile_rules(zone)
    return replace(rule(made.ref, names), action=made.action, expression=made.expression)


def after(desired: DesiredZone, observed: ObservedZone) -> ObservedZone:
    return apply_plan(observed, diff(desired, observed, heal=False))


def test_it_joins_the_others_of_its_cas() -> None:
    observed = edge({A: [API, DB]}, [written(A, names=[API])])
    then = after(approved({A: [DB]}, {DB: BLOCK}), observed)
    assert edge_modes(then.rules) == {API: BLOCK, DB: BLOCK}
    assert len(then.rules) == 1


def test_it_stays_alone_when_the_others_leave_for_another_ca() -> None:
    observed = edge({A: [API, DB], B: [DB]}, [written(A, names=[API, DB])])
    then = after(approved({B: [DB]}, {DB: BLOCK}, releases={A: [DB]}), observed)
    assert edge_modes(then.rules) == {API: BLOCK, DB: BLOCK}
    assert accepted_issuers(then.rules, API) == pins_in(written(A, names=[API]).expression)
    assert accepted_issuers(then.rules, DB) == pins_in(written(B, names=[DB]).expression)


def test_log_stays_log_and_what_is_switched_off_does_not_come_on() -> None:
    desired = approved({A: [DB]}, {DB: LOG})
    assert edge_modes(after(desired, edge({A: [API, DB]}, [written(A, names=[API], mode=LOG)])).rules)[API] is LOG
    off = replace(written(A, names=[API], mode=LOG), enabled=False)
    assert API not in edge_modes(after(desired, edge({A: [API, DB]}, [off])).rules)


def test_a_rule_whose_action_was_changed_by_hand_brings_nobody_to_block() -> None:
    by_hand = replace(written(A, names=[API]), action="log")
    then = after(approved({A: [DB]}, {DB: BLOCK}), edge({A: [API, DB]}, [by_hand]))
    assert edge_modes(then.rules) == {DB: BLOCK}


def test_what_is_approved_to_end_ends() -> None:
    observed = edge({A: [API, DB]}, [written(A, names=[API, DB])])
    then = after(approved({A: [DB]}, {DB: BLOCK, API: Mode.VERIFY}, releases={A: [API]}), observed)
    assert edge_modes(then.rules) == {DB: BLOCK}


def test_a_ca_that_is_not_adopted_yet_keeps_its_clients() -> None:
    observed = edge({A: [API, DB], B: [API]}, [written(A, B, names=[API])])
    then = after(approved({A: [API, DB]}, {API: BLOCK, DB: BLOCK}), observed)
    both = pins_in(written(A, B, names=[API]).expression)
    assert (accepted_issuers(then.rules, API), edge_modes(then.rules)[DB]) == (both, BLOCK)


def test_a_ca_whose_end_is_approved_loses_them() -> None:
    observed = edge({A: [API], B: [API]}, [written(A, B, names=[API])])
    then = after(approved({A: [API]}, {API: BLOCK}, releases={B: [API]}), observed)
    assert accepted_issuers(then.rules, API) == pins_in(written(A, names=[API]).expression)


def test_pins_that_somebody_widened_by_hand_are_taken_back() -> None:
    """The list of another CA holds the hostname, but the rule was never written for it."""
    mine, wide = written(A, names=[API]), written(A, B, names=[API])
    observed = edge({A: [API], B: [API]}, [replace(mine, expression=wide.expression)])
    then = after(approved({A: [API]}, {API: BLOCK}), observed)
    assert accepted_issuers(then.rules, API) == pins_in(mine.expression)


def test_another_mode_that_is_approved_goes() -> None:
    observed = edge({A: [API], B: [API]}, [written(A, B, names=[API])])
    assert edge_modes(after(approved({A: [API]}, {API: LOG}), observed).rules) == {API: LOG}


def test_what_stands_in_block_is_not_weakened_for_another_hostname() -> None:
    observed = edge({A: [API, DB]}, [written(A, names=[API])])
    for mode in (LOG, Mode.VERIFY):
        desired = approved({A: [API, DB]}, {API: mode, DB: BLOCK})
        known = replace(desired, settled=frozenset({(A, API)}), settled_modes={API: mode})
        assert edge_modes(after(known, observed).rules) == {API: BLOCK, DB: BLOCK}
        wanted = {API: LOG, DB: BLOCK} if mode is LOG else {DB: BLOCK}
        assert edge_modes(after(desired, observed).rules) == wanted, "an approval in hand names it"


def test_what_somebody_blocked_by_hand_in_a_rule_for_others_is_not_kept() -> None:
    observed = edge({A: [API], B: [DB]}, [written(B, names=[API])])
    desired = approved({A: [API], B: [DB]}, {API: LOG, DB: BLOCK})
    known = replace(desired, settled=frozenset({(A, API)}), settled_modes={API: LOG})
    assert edge_modes(after(known, observed).rules) == {API: LOG, DB: BLOCK}


def test_what_is_as_approved_is_written_as_ever() -> None:
    observed = edge({A: [API, DB]}, [written(A, names=[API])])
    desired = approved({A: [API, DB]}, {API: BLOCK, DB: BLOCK})
    known = replace(desired, settled=frozenset({(A, API)}), settled_modes={API: BLOCK})
    assert [(r.ref, r.expression) for r in after(known, observed).rules] == [
        (r.ref, r.expression) for r in compile_rules(desired)
    ]


def test_rules_in_shards_are_left_as_they_are() -> None:
    names = [f"{'x' * 20}{n:03}.example.com" for n in range(300)]
    whole = approved({A: names, B: names}, dict.fromkeys(names, BLOCK))
    shards = [replace(rule(r.ref, names), action=r.action, expression=r.expression) for r in compile_rules(whole)]
    assert len(shards) > 2
    observed = edge({A: names, B: names}, shards)
    for known in (names, names[:1], names[10:20]):
        assert diff(approved({A: known}, dict.fromkeys(known, BLOCK)), observed, heal=False).steps == ()
