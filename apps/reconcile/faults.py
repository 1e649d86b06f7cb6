"""What to do when a call to Cloudflare fails: wait, stop for a person, or read to find out.

One table for every task, keyed on the client's error classes, never on text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from apps.cloudflare.errors import CloudflareError, PermissionMissing, RateLimited, Unauthorized
from apps.errors import PortalError
from apps.inventory.credentials import CredentialUnreadable

TOKEN_RETRY_S = 60.0
PARK_AFTER_ATTEMPTS = 12
# The account's list may lack a certificate for some seconds after its upload (docs/cloudflare.md).
LISTING_LAG = timedelta(seconds=15)


@dataclass(frozen=True)
class Handling:
    """`park` needs a person; otherwise try again after `delay_s`. `token_broken` stops the account's writes."""

    park: bool
    delay_s: float
    token_broken: bool


def handling(error: PortalError, attempts: int) -> Handling:
    """Back-off with jitter, doubled per attempt from one second up to two minutes; `Retry-After` wins."""
    if isinstance(error, Unauthorized | PermissionMissing | CredentialUnreadable):
        return Handling(park=False, delay_s=TOKEN_RETRY_S, token_broken=True)
    if isinstance(error, RateLimited):
        return Handling(
            park=False, delay_s=(error.retry_after_s or 300.0) * random.uniform(1.0, 1.1), token_broken=False
        )
    retryable = not isinstance(error, CloudflareError) or error.retryable
    if not retryable or attempts >= PARK_AFTER_ATTEMPTS:
        return Handling(park=True, delay_s=0.0, token_broken=False)
    return Handling(park=False, delay_s=backoff_s(attempts), token_broken=False)


def backoff_s(attempts: int) -> float:
    """Seconds before the next attempt, with jitter so that workers do not return in step."""
    return min(2.0 ** min(attempts, 7), 120.0) * random.uniform(0.5, 1.0)
