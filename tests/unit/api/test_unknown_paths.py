"""A path that does not exist is said to be none, in the API's own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.identity.permissions import Role
from tests.unit.api.test_drift import Caller

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["", "/", "/cas", "/cas/c0ffee/delete/"])
def test_every_method_finds_nothing_there(method: str, path: str, settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    answer = Caller(Role.ADMIN).send(method, path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
