"""What tests of pages share."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.coverage.test_requests import Desk


@pytest.fixture(autouse=True)
def _no_collected_files(settings: Any) -> None:
    """Static files are served without having been collected."""
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture
def desk() -> Desk:
    return Desk()
