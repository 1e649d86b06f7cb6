"""Plans as values: digests, sentences and documents."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.planning.diff import diff
from apps.planning.plan import AddRule, DeleteRule, EditRule, Effect, Plan, ReadBackLists, ReadBackRules, ReplaceList
from apps.planning.rule import make_rule
from apps.planning.rule_steps import as_state
from apps.planning.state import Mode
from tests.unit.planning.worlds import CAS, NAMES, ZONE, approved, edge, rule, rules_for

A, B = CAS[:2]
API, APP, DB = NAMES[:3]
RULE = make_rule("byoca-1a-0", "block", [APP, API], None)

_effects = st.builds(
    Effect,
    st.sampled_from(["associate", "adopt", "dissociate", "enforce", "relax"]),
    st.sampled_from([ZONE, "example.net"]),
    st.sampled_from(["", *CAS]),
    st.sampled_from(NAMES),
    st.sampled_from([mode.value for mode in Mode]),
)


@given(st.lists(_effects, unique=True), st.randoms(use_true_random=False))
def test_the_digest_is_that_of_the_effects_in_any_order(effects: list[Effect], random: object) -> None:
    plan = Plan(ZONE, "base", (), tuple(effects))
    random.shuffle(effects)
    again = Plan(ZONE, "another base", (ReadBackRules(),), tuple(effects), 7, (API,))
    assert plan.digest == again.digest
    assert len(plan.digest) == 64


@given(st.lists(_effects, unique=True), st.lists(_effects, unique=True))
def test_other_effects_have_another_digest(one: list[Effect], two: list[Effect]) -> None:
    digests = [Plan(ZONE, "base", (), tuple(effects)).digest for effects in (one, two)]
    assert (digests[0] == digests[1]) == (set(one) == set(two))


@pytest.mark.parametrize("name", ["operation", "zone", "ca", "hostname", "mode"])
def test_each_part_of_an_effect_counts(name: str) -> None:
    effect = Effect("associate", ZONE, A, API, "block")
    plans = [Plan(ZONE, "base", (), (e,)) for e in (effect, replace(effect, **{name: "other"}))]
    assert plans[0].digest != plans[1].digest


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (
            ReplaceList.of(A, frozenset(), frozenset([API])),
            "Send the list of aaaaaaaaaaaa: add 1 hostname, 1 in all.",
        ),
        (
            ReplaceList.of(A, frozenset([API, APP]), frozenset()),
            "Send the list of aaaaaaaaaaaa: remove 2 hostnames, 0 in all.",
        ),
        (ReadBackLists((A,)), "Read 1 list back."),
        (ReadBackLists((A, B)), "Read 2 lists back."),
        (AddRule(RULE), "Add a block rule for 2 hostnames."),
        (EditRule("id", as_state(RULE), RULE), "Change rule byoca-1a-0 to block 2 hostnames."),
        (DeleteRule("id", as_state(RULE)), "Delete the block rule byoca-1a-0."),
        (ReadBackRules(), "Read the rules back."),
    ],
)
def test_each_step_says_what_it_does(step: ReplaceList, sentence: str) -> None:
    assert step.summary() == sentence


def test_a_list_step_is_sorted_whatever_came_in() -> None:
    step = ReplaceList.of(A, frozenset([DB, API]), frozenset([DB, API, APP]))
    assert step.to_dict() == {
        "kind": "replace_list",
        "ca": A,
        "before": [API, DB],
        "after": [API, APP, DB],
        "adds": [APP],
        "removes": [],
    }


def test_the_document_is_json_and_names_everything() -> None:
    old = approved({A: [API]}, {API: Mode.BLOCK})
    observed = edge({A: [API], B: []}, [*rules_for(old), rule("byoca-9f-0", [DB])])
    plan = diff(approved({B: [API], CAS[2]: [APP]}, {API: Mode.BLOCK, APP: Mode.BLOCK}, releases={A: [API]}), observed)
    document = json.loads(json.dumps(plan.to_dict()))
    assert list(document) == ["zone", "base", "digest", "steps", "effects", "pairs_left", "waits"]
    assert (document["zone"], document["digest"], document["base"]) == (ZONE, plan.digest, observed.fingerprint())
    assert (document["pairs_left"], document["waits"]) == (1, [APP])
    assert [step["kind"] for step in document["steps"]] == [step.kind for step in plan.steps]
    added = next(step for step in document["steps"] if step["kind"] == "add_rule")
    assert set(added) == {"kind", "rule", "first", "creates_ruleset"}
    assert set(added["rule"]) == {"ref", "description", "action", "expression", "hostnames"}
    deleted = next(step for step in document["steps"] if step["kind"] == "delete_rule")
    assert set(deleted["before"]) == {"id", "ref", "description", "action", "expression", "enabled", "position"}
    assert EditRule("id", as_state(RULE), RULE).to_dict()["rule"]["hostnames"] == [API, APP]


def test_a_plan_without_steps_is_a_noop_although_it_adopts() -> None:
    assert Plan(ZONE, "base", (), (Effect("adopt", ZONE, A, API, "verify"),)).is_noop
    assert not Plan(ZONE, "base", (ReadBackRules(),), ()).is_noop
