"""What to do when a call to Cloudflare fails: wait, stop for a person, or read to find out.

One table for every task, keyed on the client's error classes, never on text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

from apps.cloudflare.errors import CloudflareError, RateLimited
from apps.errors import PortalError
from apps.inventory.budget.gate import BudgetExhausted
from apps.inventory.models import TokenKind
from apps.outbox.services import Lease, defer
from apps.reconcile.edge import READ_TOKEN_REFUSED, TOKEN_FAULTS

TOKEN_RETRY_S = 60.0
GIVEN_UP_S = 60.0
PARK_AFTER_ATTEMPTS = 12
# The account's list may lack a certificate for some seconds after its upload (docs/cloudflare.md).
LISTING_LAG = timedelta(seconds=15)


@dataclass(frozen=True)
class Handling:
    """`park`: what was being sent needs a person; otherwise it is tried again after `delay_s`.

    `refused` is the token that Cloudflare did not take, if it was that.
    """

    park: bool
    delay_s: float
    refused: TokenKind | None = None


def handling(error: PortalError, attempts: int) -> Handling:
    """Back-off with jitter, doubled per attempt from one second up to two minutes. Ask `held_back_s` first."""
    if isinstance(error, TOKEN_FAULTS):
        refused = TokenKind.READ if error.code == READ_TOKEN_REFUSED else TokenKind.WRITE
        return Handling(park=False, delay_s=TOKEN_RETRY_S, refused=refused)
    retryable = not isinstance(error, CloudflareError) or error.retryable
    if not retryable or attempts >= PARK_AFTER_ATTEMPTS:
        return Handling(park=True, delay_s=0.0)
    return Handling(park=False, delay_s=backoff_s(attempts))


def held_back_s(error: PortalError) -> float | None:
    """Seconds to wait, jitter included, when the budget or Cloudflare's 429 held a call back; None for a failure.

    The call was not made, or certainly not obeyed: that is no failed attempt of what it was for.
    """
    if isinstance(error, BudgetExhausted):
        return error.retry_after_s
    if isinstance(error, RateLimited):
        return (error.retry_after_s or 300.0) * random.uniform(1.0, 1.1)
    return None


def try_again(lease: Lease, how: Handling, error: PortalError) -> None:
    """End a failed run, to read again later. Reading is never given up: where others would park, and while the token is
    refused, the count of attempts begins again, so that only runs that were cut off can exhaust it."""
    delay_s = max(settings.BYOCA_SWEEP_INTERVAL_S, GIVEN_UP_S) if how.park else how.delay_s
    defer(lease, delay_s=delay_s, error=error.message, forget_attempts=how.park or how.refused is not None)


def backoff_s(attempts: int) -> float:
    """Seconds before the next attempt, with jitter so that workers do not return in step."""
    return min(2.0 ** min(attempts, 7), 120.0) * random.uniform(0.5, 1.0)
