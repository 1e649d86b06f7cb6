"""The rule compiler: same text for same intent, one changed rule per added hostname, nothing but plain text in it."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.errors import Unsafe
from apps.planning.diff import diff
from apps.planning.plan import Plan
from apps.planning.rule import (
    MAX_EXPRESSION,
    DesiredRule,
    compile_rules,
    expression_for,
    group_of,
    hostnames_in,
    is_altered,
    is_ours,
    is_pinned,
    make_rules,
    pins_for,
    pins_in,
)
from apps.planning.rule_limit import over_limit, rules_allowed, rules_at_peak, rules_needed
from apps.planning.simulate import apply_plan
from apps.planning.state import DesiredZone, Mode, ObservedZone, RuleState
from apps.sandbox.expressions import check

ZONE = "northwind.example"
A, B = "a" * 64, "b" * 64
SKI_A, SKI_B = "AA" * 20, "BB" * 20
PINNED = expression_for(["a.x.example", "b.x.example"], frozenset({SKI_A, SKI_B}))
OPEN = expression_for(["a.x.example"], None)


def zone(names: list[str], mode: Mode = Mode.BLOCK) -> DesiredZone:
    return DesiredZone(
        ZONE, {A: frozenset(names)}, modes=dict.fromkeys(names, mode), issuers={A: frozenset({SKI_A})}
    )  # fmt: skip


def state(ref: str, expression: str, action: str = "block", *, enabled: bool = True) -> RuleState:
    return RuleState("1" * 32, ref, "", action, expression, enabled=enabled, position=0)


def by_ref(rules: tuple[DesiredRule, ...]) -> dict[str, DesiredRule]:
    return {rule.ref: rule for rule in rules}


def test_the_expression_is_the_one_in_the_documentation() -> None:
    assert (
        '(http.host in {"a.x.example" "b.x.example"}'
        " and (not cf.tls_client_auth.cert_presented or not cf.tls_client_auth.cert_verified"
        " or cf.tls_client_auth.cert_revoked"
        f' or not cf.tls_client_auth.cert_issuer_ski in {{"{SKI_A}" "{SKI_B}"}}))'
    ) == PINNED


def test_cloudflares_grammar_takes_it() -> None:
    check(PINNED)
    check(OPEN)


def test_groups_are_by_cas_and_mode() -> None:
    names = [f"{letter}.{ZONE}" for letter in "abcdef"]
    desired = DesiredZone(
        ZONE,
        {A: frozenset(names[:4]), B: frozenset(names[2:5])},
        modes={**dict.fromkeys(names, Mode.BLOCK), names[1]: Mode.LOG, names[3]: Mode.VERIFY},
        issuers={A: frozenset({SKI_A}), B: None},
    )
    found = {(rule.action, rule.hostnames, pins_in(rule.expression)) for rule in compile_rules(desired)}
    assert found == {
        ("block", frozenset({names[0]}), frozenset({SKI_A})),
        ("log", frozenset({names[1]}), frozenset({SKI_A})),
        ("block", frozenset({names[2]}), None),
        ("block", frozenset({names[4]}), None),
    }


def test_the_order_of_the_input_changes_nothing() -> None:
    names = [f"host-{n}.{ZONE}" for n in range(200)]
    shuffled = random.Random(7).sample(names, len(names))
    assert compile_rules(zone(names)) == compile_rules(zone(shuffled))
    assert [rule.ref for rule in compile_rules(zone(names))] == sorted(r.ref for r in compile_rules(zone(names)))


def test_one_more_hostname_changes_one_rule_and_a_full_shard_only_itself() -> None:
    """Over 600 hostnames, one by one: nothing outside the shard that takes the new one is ever touched."""
    names = [f"svc-{n:03}.team-{n % 7}.{ZONE}" for n in range(600)]
    before: dict[str, DesiredRule] = {}
    splits = 0
    for count in range(1, len(names) + 1):
        after = by_ref(compile_rules(zone(names[:count])))
        changed = {ref for ref in before.keys() | after.keys() if before.get(ref) != after.get(ref)}
        gone = before.keys() - after.keys()
        if gone:
            (full,) = gone
            assert all(ref.startswith(full) for ref in changed)
            assert {name for ref in changed - gone for name in after[ref].hostnames} == before[full].hostnames | {
                names[count - 1]
            }
            splits += 1
        else:
            assert len(changed) == 1
        assert all(len(rule.expression) <= MAX_EXPRESSION for rule in after.values())
        before = after
    assert splits >= 3
    assert frozenset().union(*(rule.hostnames for rule in before.values())) == frozenset(names)


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", fullmatch=True)


@given(st.sets(labels.map(lambda label: f"{label}.{ZONE}"), min_size=1, max_size=200), st.data())
def test_shards_share_the_hostnames_out(names: set[str], data: st.DataObject) -> None:
    pins = data.draw(st.none() | st.just(frozenset({SKI_A, SKI_B})))
    rules = make_rules("byoca-0123-0", "block", names, pins)
    assert sorted(name for rule in rules for name in rule.hostnames) == sorted(names)
    for rule in rules:
        assert (hostnames_in(rule.expression), pins_in(rule.expression)) == (rule.hostnames, pins)
        assert len(rule.expression) <= MAX_EXPRESSION
        assert group_of(rule.ref) == "byoca-0123"
        assert is_ours(state(rule.ref, rule.expression))
        hosts = re.search(r"http\.host in \{(.*?)\}", rule.expression)
        assert hosts is not None
        assert re.fullmatch(r'"[a-z0-9.-]+"(?: "[a-z0-9.-]+")*', hosts[1])


@pytest.mark.parametrize(
    "name", ["", "A.x.example", "a.x.example.", 'a"x.example', "a|b.example", "a.x.example\n", "ä.example",
             "*.x.example", "a b.example", "a\\.example", "(a)", "a:443", "a_b.example"],
)  # fmt: skip
def test_only_plain_hostnames_reach_an_expression(name: str) -> None:
    with pytest.raises(ValueError, match="Not fit for an expression"):
        expression_for(["a.x.example", name], None)


@pytest.mark.parametrize("ski", ["", "aa", "AA:BB", 'AA"', "0xAA", "AA BB"])
def test_only_plain_issuers_reach_an_expression(ski: str) -> None:
    with pytest.raises(ValueError, match="Not fit for an expression"):
        expression_for(["a.x.example"], frozenset({"AA", ski}))


def test_nothing_is_written_for_nobody_and_an_empty_pin_is_no_pin_that_can_be_written() -> None:
    assert compile_rules(DesiredZone(ZONE, modes={f"a.{ZONE}": Mode.BLOCK})) == ()
    for names, pins in (([], None), (["a.x.example"], frozenset())):
        with pytest.raises(ValueError, match="Not fit"):
            expression_for(names, pins)


def test_pins_that_fill_a_rule_are_refused_in_words() -> None:
    many = frozenset(f"{n:040X}" for n in range(100))
    with pytest.raises(Unsafe, match="too many known issuers") as caught:
        make_rules("byoca-0-0", "block", [f"a.{ZONE}", f"b.{ZONE}"], many)
    assert caught.value.code == "rule_too_long"


def test_a_shard_splits_until_it_fits_even_where_one_half_is_empty() -> None:
    names = {f"host-number-{n}.{ZONE}" for n in range(8)}
    pins = frozenset(f"{n:040X}" for n in range(88))
    rules = make_rules("byoca-0-0", "block", names, pins)
    assert {rule.hostnames for rule in rules} == {frozenset({name}) for name in names}
    assert len({rule.ref for rule in rules}) == 8
    assert max(len(rule.ref) for rule in rules) > len("byoca-0-0") + 3


def test_pins_are_the_issuers_of_all_or_none() -> None:
    issuers = {A: frozenset({SKI_A}), B: frozenset({SKI_B}), "c": None, "d": frozenset()}
    assert pins_for([A], issuers) == {SKI_A}
    assert pins_for([A, B], issuers) == {SKI_A, SKI_B}
    assert pins_for([A, "c"], issuers) is None
    assert pins_for([A, "d"], issuers) is None
    assert pins_for([A, "never heard of"], issuers) is None
    assert is_pinned(PINNED)
    assert not is_pinned(OPEN)


@pytest.mark.parametrize(
    "edited",
    [
        PINNED.replace('"a.x.example"', '"c.x.example" "a.x.example"'),
        PINNED.replace('"a.x.example"', '"A.x.example"'),
        PINNED.replace("http.host in", "lower(http.host) in"),
        PINNED.replace("not cf.tls_client_auth.cert_presented or ", ""),
        PINNED.replace(SKI_B, SKI_B.lower()),
        PINNED.replace(f'"{SKI_A}" "{SKI_B}"', f'"{SKI_B}" "{SKI_A}"'),
        PINNED.replace(" and (", ' and ip.src ne 192.0.2.1 and ('),
        PINNED + " ",
        f"({PINNED})",
        PINNED + " and false",
        '(http.host in {"a.x.example"} and not cf.tls_client_auth.cert_verified)',
        '(http.host in {"a.x.example"})',
        "",
    ],
)  # fmt: skip
def test_a_hand_edit_is_recognised_and_nothing_is_guessed_from_it(edited: str) -> None:
    assert edited != PINNED
    assert hostnames_in(edited) == frozenset()
    assert pins_in(edited) is None
    assert is_altered(state("byoca-0123-0", edited))


def test_what_is_ours_is_told_by_ref() -> None:
    for ref in ("byoca-0a1b2c3d4e5f-0", "byoca-0a1b2c3d4e5f-0110", "byoca-bridge-0a1b2c3d4e5f-01"):
        assert is_ours(state(ref, "true"))
        assert not is_altered(state(ref, OPEN, enabled=False))
        assert not is_altered(state(ref, OPEN, "log"))
        assert is_altered(state(ref, OPEN, "managed_challenge"))
    for ref in (
        "byoca",
        "byoca-",
        "byoca-mtls",
        "byoca_mtls_v1",
        "byoca-0a1b-2",
        "my-byoca-0a1b-0",
        "byoca-0a1b-0\n",
        "",
    ):
        assert not is_ours(state(ref, OPEN))
        assert not is_altered(state(ref, "true"))


@pytest.mark.parametrize(
    ("name", "limit"),
    [("Free Website", 5), ("Pro Website", 20), ("Business Website", 100), ("Enterprise Website", 1000),
     ("enterprise", 1000), ("", None), ("Prototype", None)],
)  # fmt: skip
def test_the_limit_goes_by_the_plan_of_the_zone(name: str, limit: int | None) -> None:
    assert rules_allowed(name) == limit


def observed_with(desired: DesiredZone, others: int) -> ObservedZone:
    """The edge after everything approved arrived, beside rules of other people."""
    foreign = tuple(replace(state(f"theirs-{n}", "ssl"), id=f"{n:032x}") for n in range(others))
    start = ObservedZone(ZONE, {A: frozenset(), B: frozenset()}, "r", "1", foreign)
    return apply_plan(start, diff(desired, start))


def test_rules_of_others_count_and_a_plan_over_the_limit_is_refused_before_it_is_tried() -> None:
    desired = zone([f"a.{ZONE}"])
    full = ObservedZone(ZONE, {A: frozenset()}, "r", "1", tuple(state(f"theirs-{n}", "ssl") for n in range(5)))
    plan = diff(desired, full)
    assert rules_needed(desired, full) == rules_at_peak(plan, full) == 6
    (refusal,) = over_limit(plan, full, 5)
    assert refusal.guard == "rule_limit"
    assert "would hold 6 custom rules, 5 of them not ours; its Cloudflare plan allows 5" in refusal.message
    assert over_limit(plan, full, 6) == ()
    assert over_limit(plan, full, None) == ()


def test_a_bridge_counts_while_it_stands() -> None:
    names = frozenset({f"a.{ZONE}", f"b.{ZONE}"})
    desired = zone(sorted(names))
    observed = observed_with(desired, others=4)
    moved = replace(desired, associations={A: names, B: frozenset({f"a.{ZONE}"})}, issuers={A: None, B: None})
    plan = diff(moved, observed)
    assert rules_needed(desired, observed) == 5
    assert rules_needed(moved, observed) == 6
    assert rules_at_peak(plan, observed) > 6
    assert over_limit(plan, observed, 6)


def test_a_zone_that_is_over_already_may_still_shrink() -> None:
    desired = zone([f"a.{ZONE}"])
    observed = observed_with(desired, others=9)
    plan = diff(zone([]), observed)
    assert plan.steps
    assert over_limit(plan, observed, 5) == ()
    assert rules_at_peak(Plan(ZONE, "", (), ()), observed) == 10
