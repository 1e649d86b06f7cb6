"""One word per hostname: are clients without our certificate refused? From what was read and when, never from intent."""  # noqa: E501

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from apps.planning.state import Mode

FRESH_FOR = timedelta(minutes=15)


class Answer(StrEnum):
    """In the order of their rank."""

    LOCKED_OUT = "locked_out"
    NOT_PROTECTED = "not_protected"
    CHANGING = "changing"
    DRIFT = "drift"
    NOT_ENFORCED = "not_enforced"
    PROTECTED = "protected"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class HostnameFacts:
    """What is known of one hostname. CAs go by name; `live_cas` are at the edge now, `expired_cas` among any of them."""  # noqa: E501

    approved_cas: frozenset[str]
    live_cas: frozenset[str]
    expired_cas: frozenset[str]
    rule_live: bool
    rule_paused: bool
    log_rule: bool
    mode: Mode | None
    changing: bool
    push_failed: bool
    has_drift: bool
    read_at: datetime | None

    @property
    def valid_cas(self) -> frozenset[str]:
        return self.live_cas - self.expired_cas


def answer(facts: HostnameFacts, now: datetime) -> Answer:
    """First match wins. An old read proves nothing, so it outranks every other word."""
    if facts.read_at is None or now - facts.read_at > FRESH_FOR:
        return Answer.UNKNOWN
    if facts.rule_live and not facts.valid_cas:
        return Answer.LOCKED_OUT
    if not facts.rule_live and _uncovered(facts):
        return Answer.NOT_PROTECTED
    if facts.changing:
        return Answer.CHANGING
    if facts.has_drift:
        return Answer.DRIFT
    return Answer.PROTECTED if facts.rule_live else Answer.NOT_ENFORCED


def _uncovered(facts: HostnameFacts) -> bool:
    """No rule in effect, and a failed push, an expired CA, or nothing approved, at the edge or on its way."""
    if facts.push_failed or (facts.live_cas and not facts.valid_cas):
        return True
    return not facts.live_cas and not facts.changing and not facts.has_drift


def sentence(word: Answer, facts: HostnameFacts) -> str:
    """The answer in one plain sentence."""
    cas = ", ".join(sorted(facts.valid_cas)) or "any CA"
    return {
        Answer.LOCKED_OUT: "The block rule is live and no valid CA is tied to this hostname: every client is refused.",
        Answer.NOT_PROTECTED: _not_protected(facts),
        Answer.CHANGING: "An approved change is on its way to the edge.",
        Answer.DRIFT: "The edge differs from what was approved.",
        Answer.NOT_ENFORCED: _not_enforced(facts, cas),
        Answer.PROTECTED: f"Clients without a certificate from {cas} are refused.",
        Answer.UNKNOWN: "The edge was not read in the last 15 minutes, so nothing can be said.",
    }[word]


def _not_protected(facts: HostnameFacts) -> str:
    if facts.push_failed:
        return "The approved change did not reach the edge. Clients are not asked for a certificate."
    if facts.expired_cas & facts.live_cas:
        return "Its CA has expired and no rule is in effect."
    return "No CA covers this hostname. Clients are not asked for a certificate."


def _not_enforced(facts: HostnameFacts, cas: str) -> str:
    if facts.rule_paused:
        return f"Clients are asked for a certificate from {cas}, but the block rule is switched off."
    if facts.log_rule:
        return f"Clients are asked for a certificate from {cas}. Those without one are logged, not refused."
    return f"Clients are asked for a certificate from {cas}. Those without one still get through."
