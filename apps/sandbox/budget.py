"""The request budget of a token: 1,200 calls in 300 s, and whoever passes it is refused for the next 300 s.

https://developers.cloudflare.com/fundamentals/api/reference/limits/
"""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import dataclass
from email.utils import formatdate

from apps.sandbox import errors
from apps.sandbox.switches import Switches
from apps.sandbox.wire import Answer, failure

Headers = tuple[tuple[str, str], ...]
GARBAGE = "in a while"


@dataclass(frozen=True)
class Allowance:
    """What is left of the window. `reset_s` is whole seconds until it starts afresh."""

    refused: bool
    left: int
    reset_s: int


def full(switches: Switches) -> Allowance:
    """For calls that no known token makes."""
    return Allowance(refused=False, left=switches.rate_limit, reset_s=switches.rate_window_s)


def spend(db: sqlite3.Connection, token_id: str, switches: Switches, now: float) -> Allowance:
    """Count one call of this token. `now` is a Unix time in seconds."""
    if not switches.rate_limit_on:
        return full(switches)
    row = db.execute("SELECT * FROM budgets WHERE token_id = ?", (token_id,)).fetchone()
    started, used, blocked_until = (row["started_at"], row["used"], row["blocked_until"]) if row else (now, 0, 0.0)
    if blocked_until > now:
        return Allowance(refused=True, left=0, reset_s=math.ceil(blocked_until - now))
    if now - started >= switches.rate_window_s:
        started, used = now, 0
    used += 1
    refused = used > switches.rate_limit
    if refused:
        blocked_until = now + switches.rate_block_s
    db.execute("INSERT OR REPLACE INTO budgets VALUES (?, ?, ?, ?)", (token_id, started, used, blocked_until))
    reset = switches.rate_block_s if refused else math.ceil(started + switches.rate_window_s - now)
    return Allowance(refused, max(0, switches.rate_limit - used), reset)


def refusal(switches: Switches, reset_s: int, now: float) -> Answer:
    """The 429, in the form that the switches choose. `now` is a Unix time in seconds."""
    answer = failure(errors.too_many_requests(switches.rate_code))
    body = {"envelope": answer.body, "null": json.dumps(None).encode(), "empty": b""}[switches.rate_body]
    return Answer(429, body, headers=retry_after(switches.retry_after, reset_s, now))


def retry_after(form: str, seconds: int, now: float) -> Headers:
    """The header in one of its forms; any text that is none of the forms is sent as it stands."""
    if form == "absent":
        return ()
    known = {
        "seconds": str(seconds),
        "date": formatdate(math.ceil(now) + seconds, usegmt=True),
        "garbage": GARBAGE,
    }
    return (("Retry-After", known.get(form, form)),)


def headers(allowance: Allowance, switches: Switches) -> Headers:
    if not switches.ratelimit_headers:
        return ()
    return (
        ("Ratelimit", f'"default";r={allowance.left};t={allowance.reset_s}'),
        ("Ratelimit-Policy", f'"default";q={switches.rate_limit};w={switches.rate_window_s}'),
    )
