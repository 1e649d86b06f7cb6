"""One word per hostname: are clients without our certificate refused? From what was read and when, never from intent."""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from apps.planning.rule import pins_for
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
    """What is known of one hostname.

    CAs go by name: `approved_cas` by intent (without what a failed request holds), `live_cas` at the edge now;
    `expired_cas` and `early_cas` (not valid yet) are among any of them. `issuers` says who signs a CA's clients, None
    or no entry where that is not known. The rule facts are those of `RuleFacts`: `rule_live` is an enabled block rule
    of ours, `pins` what it is pinned to.
    """

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
    early_cas: frozenset[str] = frozenset()
    issuers: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    pins: frozenset[str] | None = None
    bypasses: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def valid_cas(self) -> frozenset[str]:
        """At the edge, and within their validity: their clients can be verified."""
        return self.live_cas - self.expired_cas - self.early_cas

    @property
    def refuses_everyone(self) -> bool:
        """The rule is live and no client can satisfy it: no valid CA, or pins that no issuer of a valid CA meets."""
        if not self.rule_live:
            return False
        return not any(self._lets_in(ca) for ca in self.valid_cas)

    def _lets_in(self, ca: str) -> bool:
        """As far as is known: a CA whose issuers nobody named may have one that the rule names."""
        if self.pins is None:
            return True
        issuers = self.issuers.get(ca)
        return bool(self.pins & issuers if issuers else self.pins)

    @property
    def differs(self) -> bool:
        """The edge is not what was approved: what a read named, other CAs, a rule nobody approved, or other pins."""
        if self.has_drift or self.live_cas != self.approved_cas:
            return True
        return self.rule_live and (self.mode is not Mode.BLOCK or not self.pinned_as_approved)

    @property
    def pinned_as_approved(self) -> bool:
        return self.pins == pins_for(self.approved_cas, self.issuers)


def answer(facts: HostnameFacts, now: datetime) -> Answer:
    """First match wins, in the order of `Answer`, but for an old read, which outranks all.

    The table of words ends with Unknown; still it comes first here. Every other word claims something about the edge
    as it is now, and a read that is older than 15 minutes, or that never was, proves none of them: a page that went on
    saying Protected, or Locked out, would be intent under another name. `sentence` tells what the last read showed.
    """
    if facts.read_at is None or now - facts.read_at > FRESH_FOR:
        return Answer.UNKNOWN
    if facts.refuses_everyone:
        return Answer.LOCKED_OUT
    if not facts.rule_live and _uncovered(facts):
        return Answer.NOT_PROTECTED
    if facts.changing:
        return Answer.CHANGING
    if facts.differs:
        return Answer.DRIFT
    return Answer.PROTECTED if facts.rule_live and not facts.bypasses else Answer.NOT_ENFORCED


def _uncovered(facts: HostnameFacts) -> bool:
    """No rule in effect, and a failed push, no CA within its validity, or no CA at the edge nor on its way."""
    if facts.push_failed or (facts.live_cas and not facts.valid_cas):
        return True
    return not facts.live_cas and not facts.changing and not facts.has_drift


def sentence(word: Answer, facts: HostnameFacts) -> str:
    """The answer in a few plain sentences. Whatever the word, they say what a client without a certificate meets."""
    effect = _effect(facts)
    also = f" A rule that is not ours names this hostname too: {_listed(facts.others)}." if facts.others else ""
    return {
        Answer.LOCKED_OUT: _locked_out(facts),
        Answer.NOT_PROTECTED: _not_protected(facts, effect),
        Answer.CHANGING: f"An approved change is on its way to the edge. {effect}",
        Answer.DRIFT: f"The edge differs from what was approved. {effect}",
        Answer.NOT_ENFORCED: effect,
        Answer.PROTECTED: effect,
        Answer.UNKNOWN: _unknown(facts),
    }[word] + also


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _locked_out(facts: HostnameFacts) -> str:
    past = f", unless {_listed(facts.bypasses)} lets them past the rule" if facts.bypasses else ""
    if facts.valid_cas:
        return (
            "The block rule is live and accepts none of the issuers that sign clients for "
            f"{_listed(facts.valid_cas)}: every client is refused{past}."
        )
    return f"The block rule is live and no valid CA is tied to this hostname: every client is refused{past}."


def _not_protected(facts: HostnameFacts, effect: str) -> str:
    if facts.push_failed:
        return f"The approved change did not reach the edge. {effect}"
    if facts.expired_cas & facts.live_cas:
        return f"Its CA has expired and no rule is in effect. {effect}"
    if facts.early_cas & facts.live_cas:
        return f"Its CA is not valid yet and no rule is in effect. {effect}"
    return f"No CA covers this hostname. {effect}"


def _unknown(facts: HostnameFacts) -> str:
    if facts.read_at is None:
        return "The edge was not read yet, so nothing can be said."
    last = answer(facts, facts.read_at).replace("_", " ")
    return f"The edge was not read in the last 15 minutes, so nothing can be said. The last read said: {last}."


def _effect(facts: HostnameFacts) -> str:
    """What the rules and lists as read mean for a client."""
    if facts.rule_live:
        refused = f"Clients without a certificate {_accepted(facts)} are refused"
        if facts.bypasses:
            return f"{refused}, but a rule ahead of the block rule may let them past it: {_listed(facts.bypasses)}."
        return f"{refused}." + ("" if facts.pins is not None else " The rule is not pinned.")
    if not facts.live_cas:
        return "Clients are not asked for a certificate."
    asked = f"Clients are asked for a certificate from {_listed(facts.valid_cas or facts.live_cas)}"
    if facts.rule_paused:
        return f"{asked}, but its rule is switched off."
    if facts.log_rule:
        return f"{asked}. Those without one are logged, not refused."
    return f"{asked}. Those without one still get through."


def _accepted(facts: HostnameFacts) -> str:
    """Which certificate opens the rule. A CA is named only when the rule's pins are exactly what its CAs come to."""
    if facts.pins is None:
        return "of any CA in this account"
    if facts.valid_cas and facts.pins == pins_for(facts.live_cas, facts.issuers):
        return f"from {_listed(facts.valid_cas)}"
    return "from an issuer that the rule names"
