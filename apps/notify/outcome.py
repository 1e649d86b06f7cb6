"""What became of one attempt to deliver."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """LATER is tried again, NEVER is not."""

    SENT = "sent"
    LATER = "later"
    NEVER = "never"


@dataclass(frozen=True)
class Outcome:
    """`receiver_down`: the receiver itself did not answer, so nothing else that waits for it is tried now either."""

    verdict: Verdict
    reason: str = ""
    receiver_down: bool = False


SENT = Outcome(Verdict.SENT)
MAIL_IS_OFF = "No mail server is set up. Set EMAIL_URL, then send it again."


def later(reason: str, *, receiver_down: bool = False) -> Outcome:
    return Outcome(Verdict.LATER, reason, receiver_down)


def never(reason: str) -> Outcome:
    return Outcome(Verdict.NEVER, reason)
