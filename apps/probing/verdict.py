"""Does what a probe saw fit what was last read at the edge? Plain Python: facts in, one word and one sentence out.

A probe can contradict. It can never prove that a hostname is closed: it saw one answer, from one place, at one time
(docs/probing.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

FRESH_FOR = timedelta(minutes=15)
BLOCKED = 403
# Statuses that an application gives and our block rule never does: the request got past the rule.
PASSED = frozenset({401, 404, 405})


class Asked(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Agreement(StrEnum):
    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class Seen:
    """What one probe saw. `turned_away`: the handshake itself ended because no certificate came."""

    asked: Asked
    status: int | None = None
    turned_away: bool = False
    certificate_problem: str = ""
    error: str = ""


@dataclass(frozen=True)
class Expected:
    """What the last read of the edge says of the hostname. `rule` is block, log or none."""

    associated: bool
    rule: str
    read_at: datetime | None
    changed_at: datetime | None


@dataclass(frozen=True)
class Finding:
    """`code` is stable for programs and tells one contradiction from another."""

    agreement: Agreement
    code: str
    sentence: str


def judge(seen: Seen, expected: Expected, now: datetime, settle: timedelta) -> Finding:
    """First match wins. Within `settle` of a change nothing contradicts yet: the edge takes time to spread it."""
    if expected.read_at is None or now - expected.read_at > FRESH_FOR:
        return _unclear(
            "edge_not_read", "The edge was not read in the last 15 minutes, so there is nothing to compare."
        )
    if seen.certificate_problem:
        return _unclear(
            "certificate",
            f"The server's certificate was not accepted: {seen.certificate_problem}. "
            "What answered may not be the edge, so no request was sent.",
        )
    if found := _contradiction(seen, expected):
        if expected.changed_at is not None and now - expected.changed_at < settle:
            return _unclear("settling", "The edge changed a moment ago and may still spread it. Another probe follows.")
        return found
    if not expected.associated and expected.rule == "none":
        return _unclear(
            "nothing_live", "No CA and no block rule is live for this hostname: there is nothing to compare."
        )
    if seen.error and seen.status is None and not seen.turned_away:
        return _unclear("no_answer", seen.error)
    if expected.associated and seen.asked is not Asked.YES:
        return _unclear("handshake_unread", "Whether the handshake asks for a certificate could not be read.")
    return _blocking(seen) if expected.rule == "block" else _open(seen)


def _contradiction(seen: Seen, expected: Expected) -> Finding | None:
    if expected.associated and seen.asked is Asked.NO:
        sentence = "The handshake asks for no client certificate, although a CA is live for this hostname."
        return Finding(Agreement.CONTRADICTS, "does_not_ask", sentence)
    if expected.rule == "block" and seen.status is not None and _passed(seen.status):
        sentence = f"A request without a certificate got {seen.status}, although the block rule is live."
        return Finding(Agreement.CONTRADICTS, "lets_through", sentence)
    return None


def _passed(status: int) -> bool:
    return 200 <= status < 300 or status in PASSED


def _blocking(seen: Seen) -> Finding:
    asks = "The handshake asks for a certificate" if seen.asked is Asked.YES else "The block rule is live"
    if seen.turned_away:
        return _fits(f"{asks}, and ended when none came.")
    if seen.status == BLOCKED:
        return _fits(f"{asks}, and a request without one got 403.")
    return _unclear(
        "other_status",
        f"A request without a certificate got {seen.status}. A block rule answers 403; this may come from a redirect, "
        "a limit or a fault ahead of it.",
    )


def _open(seen: Seen) -> Finding:
    if seen.turned_away:
        return _fits("The handshake asks for a certificate, and ended when none came, although no block rule is live.")
    return _fits(
        f"The handshake asks for a certificate. A request without one got {seen.status}; no block rule is live."
    )


def _fits(sentence: str) -> Finding:
    return Finding(Agreement.AGREES, "agrees", sentence)


def _unclear(code: str, sentence: str) -> Finding:
    return Finding(Agreement.CANNOT_TELL, code, sentence)
