"""The words on the expiry line: none runs into another, whatever the CAs are called and whenever they end."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.utils import timezone

from apps.web.plots import LABEL_LENGTH, LABEL_WIDTH, ExpiryLine, expiry_line

YEAR = timedelta(days=365)


def line_of(*ends: tuple[str, timedelta]) -> ExpiryLine:
    now: datetime = timezone.now()
    holders = [SimpleNamespace(label=label, expires_at=now + after) for label, after in ends]
    line = expiry_line(cast("Any", SimpleNamespace(holders=holders)))
    assert line is not None
    return line


def extents(line: ExpiryLine) -> list[tuple[float, float]]:
    """Left and right end of every label, in percent of the width."""
    shift = {"start": 0.0, "middle": LABEL_WIDTH / 2, "end": LABEL_WIDTH}
    lefts = [float(mark.x[:-1]) - shift[mark.anchor] for mark in line.marks if mark.label]
    return [(left, left + LABEL_WIDTH) for left in lefts]


def test_cas_that_end_together_share_one_label_and_keep_their_dots() -> None:
    line = line_of(("Devices", YEAR), ("Partners", 9 * YEAR), ("Partners new", 9 * YEAR), ("Logistics", 9.2 * YEAR))
    assert [mark.label for mark in line.marks] == ["Devices", "Partners and 2 more", "", ""]
    assert all(name in line.sentence for name in ("Partners new", "Logistics"))


@pytest.mark.parametrize("years", [(1, 1, 1, 1, 1), (1, 2, 3, 4, 5), (0.1, 4, 4.5, 9, 10), (8, 8.5, 9, 9.5, 10)])
def test_no_label_overlaps_another(years: tuple[float, ...]) -> None:
    line = line_of(*((f"A rather long name of a CA, number {n}", after * YEAR) for n, after in enumerate(years)))
    assert len(line.marks) == 5
    found = extents(line)
    assert all(right <= left + 0.01 for (_, right), (left, _) in pairwise(found))
    assert all(len(mark.label) <= LABEL_LENGTH for mark in line.marks)


def test_a_name_that_is_cut_says_so() -> None:
    assert [mark.label for mark in line_of(("Legacy Partners Root 2023", YEAR)).marks] == ["Legacy Partners Root 20…"]
