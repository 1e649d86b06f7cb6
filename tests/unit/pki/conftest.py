"""Shared by the tests of the gate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from apps.pki.findings import Finding, Severity
from apps.pki.inspection import Inspection, inspect
from tests.certs import Made, make_ca

Judge = Callable[[bytes | str], Inspection]


@pytest.fixture
def judge() -> Judge:
    return lambda data: inspect(data, now=datetime.now(UTC))


@pytest.fixture(scope="session")
def root() -> Made:
    return make_ca("Test Root", organisation="Northwind", country="SE")


@pytest.fixture(scope="session")
def rsa_root() -> Made:
    return make_ca("RSA Root", key="rsa2048")


def only(inspection: Inspection, severity: Severity) -> list[str]:
    """Names of the checks that ended with this severity, in order."""
    return [finding.check for finding in inspection.findings if finding.severity == severity]


def finding(inspection: Inspection, check: str) -> Finding:
    return next(found for found in inspection.findings if found.check == check)
