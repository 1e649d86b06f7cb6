"""Bodies of JSON have one meaning, or are refused in words."""

from __future__ import annotations

import io
import sys

import pytest
from rest_framework.exceptions import ParseError

from apps.api.parsers import StrictJsonParser


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_however_deep_it_is_nested_the_answer_is_no_crash(opens: str, closes: str) -> None:
    """Each reader of the body gives up at another depth, so each depth around Python's limit is tried."""
    refused = 0
    for depth in range(sys.getrecursionlimit() // 8, sys.getrecursionlimit()):
        try:
            StrictJsonParser().parse(io.BytesIO((opens * depth + "1" + closes * depth).encode()))
        except ParseError as error:
            refused += "nested too deeply" in str(error)
    assert refused > sys.getrecursionlimit() // 4
