"""Fingerprints change with the content, and with nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apps.planning.state import DesiredZone, Mode, ObservedZone, digest_of
from tests.unit.planning.worlds import CAS, FOREIGN, NAMES, approved, edge

A, B = CAS[:2]
API, APP = NAMES[:2]
DESIRED = approved({A: [API], B: [APP]}, {API: Mode.BLOCK}, releases={B: [API]}, settled=True)
OBSERVED = edge({A: [API, APP], B: []}, FOREIGN)


@pytest.mark.parametrize(
    "change",
    [
        {"zone": "example.net"},
        {"associations": {A: frozenset([API])}},
        {"releases": {}},
        {"modes": {API: Mode.LOG}},
        {"issuers": {A: None}},
        {"settled": frozenset({(A, API)})},
        {"settled_modes": {}},
    ],
)
def test_every_part_of_the_approved_state_counts(change: dict) -> None:
    assert replace(DESIRED, **change).fingerprint() != DESIRED.fingerprint()


def test_the_order_of_the_approved_state_does_not_count() -> None:
    turned = {name: dict(reversed(getattr(DESIRED, name).items())) for name in ("associations", "releases", "issuers")}
    assert replace(DESIRED, **turned).fingerprint() == DESIRED.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"zone": "example.net"},
        {"lists": {A: frozenset([API, APP])}},
        {"lists": {A: frozenset([API]), B: frozenset()}},
        {"ruleset_id": None},
        {"rules": FOREIGN[:2]},
        {"rules": (*OBSERVED.rules[:2], replace(OBSERVED.rules[2], enabled=True))},
        {"rules": (*OBSERVED.rules[:2], replace(OBSERVED.rules[2], position=7))},
    ],
)
def test_every_part_of_a_read_counts(change: dict) -> None:
    assert replace(OBSERVED, **change).fingerprint() != OBSERVED.fingerprint()


def test_neither_the_order_of_a_read_nor_its_version_counts() -> None:
    turned = ObservedZone(
        OBSERVED.zone,
        dict(reversed(OBSERVED.lists.items())),
        OBSERVED.ruleset_id,
        "8",
        tuple(reversed(OBSERVED.rules)),
    )
    assert turned.fingerprint() == OBSERVED.fingerprint()


def test_an_empty_list_was_read_and_a_missing_one_was_not() -> None:
    assert edge({A: []}).fingerprint() != edge({}).fingerprint()


def test_the_cas_of_a_hostname() -> None:
    desired = approved({A: [API], B: [API, APP]})
    assert (desired.cas_of(API), desired.cas_of(APP), desired.cas_of("x")) == ({A, B}, {B}, frozenset())
    assert DesiredZone("z").cas_of(API) == frozenset()


def test_a_digest_is_that_of_canonical_json() -> None:
    assert digest_of({"b": 1, "a": ["é"]}) == digest_of({"a": ["é"], "b": 1})
    assert digest_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
