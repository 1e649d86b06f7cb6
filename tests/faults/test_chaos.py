"""A short chaos run, with a new seed each time: the failure says it, `make chaos SEED=...` plays it again."""

from __future__ import annotations

import os
import random

import pytest

from tests.faults.chaos import run


@pytest.mark.timeout(900)
def test_after_a_short_chaos_everything_is_well() -> None:
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    wrong, chaos = run(45, seed)
    assert wrong == [], f"SEED={seed}, acts {chaos.counts()}"
    assert chaos.succeeded["approve"], f"nothing was approved with SEED={seed}"
