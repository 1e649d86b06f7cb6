"""What every test stands on: a data folder of its own, and a database that may be emptied although its log may not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections
from django.test import TransactionTestCase

from apps.audit import triggers


def pytest_configure() -> None:
    """People of tests in this process get their passwords hashed fast; portals in processes of their own do not."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if connections["default"].vendor != "postgresql":
        left_out = [item for item in items if item.get_closest_marker("postgresql")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True, scope="session")
def _flushable_audit_log() -> Iterator[None]:
    """Emptying a test database is the one act the audit triggers must let pass."""
    flush = TransactionTestCase._fixture_teardown

    def teardown(self: TransactionTestCase) -> None:
        for alias in self._databases_names(include_mirrors=False):
            triggers.remove(connections[alias])
        flush(self)
        for alias in self._databases_names(include_mirrors=False):
            triggers.install(connections[alias])

    TransactionTestCase._fixture_teardown = teardown  # type: ignore[method-assign]
    yield
    TransactionTestCase._fixture_teardown = flush  # type: ignore[method-assign]


@pytest.fixture
def data_dir() -> Path:
    return Path(os.environ["BYOCA_DATA_DIR"])
