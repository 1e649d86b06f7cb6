"""What a check has to say."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """REFUSE blocks the upload, CAUTION travels with it to the reviewers, NOTE only informs."""

    REFUSE = "refuse"
    CAUTION = "caution"
    NOTE = "note"
    PASSED = "passed"


class Finding(NamedTuple):
    """One result. `check` is stable for programs, `message` is one line of fact without a full stop.

    `detail` says what to do (or, for a passed check, the value read), `citation` is the address of the rule's
    source, `position` counts blocks of the upload from 1. No field repeats bytes of an upload refused unread.
    """

    check: str
    severity: Severity
    message: str
    detail: str = ""
    citation: str = ""
    position: int | None = None


def verdict_of(findings: Iterable[Finding]) -> str:
    """The worst of them in a word: refuse, caution or accept."""
    severities = {finding.severity for finding in findings}
    if Severity.REFUSE in severities:
        return "refuse"
    return "caution" if Severity.CAUTION in severities else "accept"
