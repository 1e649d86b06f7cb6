"""Whether a call to Cloudflare may go now. Asked before every call of every process; never waits itself.

Cloudflare counts 1,200 calls in five minutes per user, over all tokens and the dashboard, and refuses *every* call for
five minutes after that: a loop that runs wild would lock the people at the dashboard out as well. So the portal keeps
to a share of the limit, people go before sweeps, and one 429 pauses every process. So does a far side that is down
(`breaker.py`).
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

import structlog
from django.conf import settings
from django.utils.crypto import salted_hmac

from apps.cloudflare.client import CallRecord
from apps.errors import EdgeFault
from apps.inventory.budget import breaker, database_counter
from apps.inventory.budget.redis_counter import RedisSilent, redis_counter
from apps.inventory.budget.window import SLOTS, WINDOW_S, Ask, Told
from apps.inventory.credentials import CredentialUnreadable
from apps.inventory.models import Account, CallBudget
from apps.inventory.selectors import token_of

log = structlog.get_logger(__name__)

# What the far side has left is written down only once it gets short: above this part of its quota nobody looks.
SHORT = 0.25
# Sweeps that begin in one moment may take this many times the average, so that a restart's backlog is spread over
# minutes. One that has begun goes on: its calls would be lost, and a listing of many pages would never end.
SWEEP_BURST = 4


class Purpose(Enum):
    """Why a call is made, and which parts of the budget and of what the far side has left it leaves to others."""

    REMOVAL = (0.0, 0.0)
    CHANGE = (0.05, 0.0)
    # Reads a list in every zone, which may be all of the budget: what is approved does not wait for it.
    CA_DELETION = (0.15, 0.0)
    SWEEP = (0.3, 0.1)

    def __init__(self, kept_for_others: float, far_floor: float) -> None:
        self.kept_for_others = kept_for_others
        self.far_floor = far_floor


class BudgetExhausted(EdgeFault):
    """The call was not made. It may be made `retry_after_s` seconds later, jitter included. No failure of anything."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message, code="budget_exhausted")
        self.retry_after_s = retry_after_s


class NotAnswering(BudgetExhausted):
    """The call was not made because calls before it found nobody: no failure of its own, and yet nothing is read."""


@dataclass(frozen=True)
class Allowed:
    """Calls per `WINDOW_S` for the whole portal, and for one purpose. `trial`: but one call, to see who is there."""

    total: int
    purpose: int
    trial: bool = False


class BudgetGate:
    """The budget of one account, for one run: both its tokens count under the one that writes, because Cloudflare
    counts a user's tokens together. `before_call` and `on_response` are the client's hooks."""

    def __init__(self, *, account: Account, token: str, purpose: Purpose) -> None:
        self.purpose = purpose
        self.token_hash = budget_key(token)
        self._limit = account.call_limit or settings.BYOCA_CALL_LIMIT
        self._share = account.call_share_percent / 100
        self._published: int | None = None
        self._reserved = 0
        self._begun = False
        self._unwell = False
        self._trial = False

    def reserve(self, calls: int) -> bool:
        """Take calls that only make sense together, all or none. Raises BudgetExhausted.

        A reading of a zone that is refused in its middle would have to be read again from the start. False when the
        purpose may never make so many in one window: then it has as many as it may.
        """
        missing = calls - self._reserved
        if missing <= 0:
            return True
        allowed = self._allowed()
        taken = min(missing, allowed.purpose)
        self._take(taken, allowed)
        self._reserved += taken
        return taken == missing

    def may_ever(self, calls: int) -> bool:
        """Whether the purpose may make so many calls in one window at all. Raises BudgetExhausted during a pause."""
        return calls <= self._allowed().purpose

    def before_call(self) -> None:
        """Raises BudgetExhausted. A pause holds what was reserved, too."""
        allowed = self._allowed()
        self._trial = False
        if self._reserved:
            self._reserved -= 1
        else:
            self._take(1, allowed)
        if allowed.trial:
            self._trial = breaker.claim_trial(self.token_hash)
            if not self._trial:
                self._allowed()

    def on_response(self, record: CallRecord) -> None:
        """Learn from the answer: whether there is one, the pause after a 429, what is left, and the policy itself."""
        self._note_health(record)
        quota, span_s = record.ratelimit_quota or 0, record.ratelimit_window_s or 0
        published = quota * WINDOW_S // span_s if quota and span_s else None
        if record.retry_after_s is not None:
            if database_counter.pause(self.token_hash, record.retry_after_s, "Cloudflare answered 429."):
                log.warning("calls_paused", budget=self.token_hash[:8], seconds=record.retry_after_s, ray=record.ray)
            self._note(Told(0, record.retry_after_s, quota if published else 0, span_s))
            return
        if published and published != self._published:
            database_counter.publish_limit(self.token_hash, published)
            self._published = published
        left, reset_s = record.ratelimit_remaining, record.ratelimit_reset_s
        if left is not None and reset_s is not None and left <= SHORT * (published or self._limit):
            # What was reserved before Cloudflare told of less would be refused by it now: it is asked for anew.
            self._reserved = min(self._reserved, left)
            self._note(Told(left, min(float(reset_s), 3.0 * WINDOW_S), quota if published else 0, span_s))

    def _note_health(self, record: CallRecord) -> None:
        if record.health == "down":
            self._unwell = True
            if seconds := breaker.note_fault(self.token_hash, record.path, trial=self._trial):
                log.warning("calls_broken_off", budget=self.token_hash[:8], seconds=seconds, ray=record.ray)
        elif record.health == "answered" and self._unwell:
            breaker.note_answer(self.token_hash)
            log.info("calls_answered_again", budget=self.token_hash[:8])

    def _allowed(self) -> Allowed:
        """Raises BudgetExhausted during a pause, and while another call tries whether Cloudflare answers again."""
        row, now = database_counter.budget_row(self.token_hash)
        self._published = row.published_limit
        self._unwell = bool(row.faults)
        if row.paused_until and row.paused_until > now:
            raise _paused(row, now, (row.paused_until - now).total_seconds())
        if wait_s := breaker.wait_for_trial_s(row, now):
            raise _paused(row, now, wait_s)
        total = max(int(min(self._limit, row.published_limit or self._limit) * self._share), 1)
        purpose = max(int(total * (1 - self.purpose.kept_for_others)), 1)
        return Allowed(total, purpose, trial=row.open_since is not None)

    def _take(self, calls: int, allowed: Allowed) -> None:
        counter = redis_counter()
        burst = max(allowed.purpose * SWEEP_BURST // SLOTS, 1)
        begins = self.purpose is Purpose.SWEEP and not self._begun
        floor = int((self._published or self._limit) * self.purpose.far_floor)
        ask = Ask(calls, allowed.purpose, burst if begins else allowed.purpose, floor)
        try:
            wait_s = counter.take(self.token_hash, ask) if counter else database_counter.take(self.token_hash, ask)
        except RedisSilent:
            # Both counters may be in use while Redis comes and goes: half here keeps the sum below what is published.
            half = Ask(min(calls, max(ask.cap // 2, 1)), max(ask.cap // 2, 1), max(ask.slot_cap // 2, 1), floor)
            wait_s = database_counter.take(self.token_hash, half)
        if wait_s > 0:
            _, now = database_counter.budget_row(self.token_hash)
            raise _exhausted("The portal's share of Cloudflare's request limit is used up for now.", now, wait_s)
        self._begun = True

    def _note(self, told: Told) -> None:
        """Both counters are told: whoever falls back on the database must not believe that nothing is short."""
        database_counter.note(self.token_hash, told)
        counter = redis_counter()
        if counter:
            with suppress(RedisSilent):
                counter.note(self.token_hash, told)


@dataclass(frozen=True)
class BudgetState:
    """For pages. `allowed` calls per `WINDOW_S`; `paused_until` only while every call is held back.

    `needed` calls let a change be sent for certain. `down_since`: since when Cloudflare does not answer; after
    `paused_until` one call tries it.
    """

    allowed: int
    needed: int
    paused_until: datetime | None
    down_since: datetime | None = None


def budget_of(account: Account) -> BudgetState:
    """How much an account's token may be used, and whether Cloudflare asked for a pause or does not answer."""
    needed = needed_calls(account)
    limit = account.call_limit or settings.BYOCA_CALL_LIMIT
    try:
        row, now = database_counter.budget_row(budget_key(token_of(account)))
    except CredentialUnreadable:
        return BudgetState(limit * account.call_share_percent // 100, needed, None)
    paused_until = row.paused_until if row.paused_until and row.paused_until > now else None
    allowed = min(limit, row.published_limit or limit) * account.call_share_percent // 100
    return BudgetState(allowed, needed, paused_until, row.open_since)


def needed_calls(account: Account) -> int:
    """The calls in five minutes without which a change may wait for ever (docs/budget.md): its zone is read before and
    after it, one list for each CA slot and the rules, and its rules are tried and written.
    """
    return 2 * (account.slot_limit + 1) + 6


def sweep_calls_per_s(account: Account) -> float:
    """What sweeps may have, spread evenly, with some room for the runs that people ask for in between."""
    limit = (account.call_limit or settings.BYOCA_CALL_LIMIT) * account.call_share_percent / 100
    return max(0.8 * limit * (1 - Purpose.SWEEP.kept_for_others) / WINDOW_S, 0.01)


def budget_key(token: str) -> str:
    """Names a token's budget without telling the token: a keyed hash, the same in every process."""
    return salted_hmac("byoca.budget", token, algorithm="sha256").hexdigest()


def _paused(row: CallBudget, now: datetime, wait_s: float) -> BudgetExhausted:
    if row.open_since is None:
        return _exhausted("Cloudflare asked the portal to slow down.", now, wait_s)
    since = f"{row.open_since:%H:%M:%S} UTC, {row.faults} calls in a row"
    why = f"Cloudflare does not answer (since {since}), so the portal waits."
    return _exhausted(why, now, wait_s, NotAnswering)


def _exhausted(
    why: str, now: datetime, wait_s: float, kind: type[BudgetExhausted] = BudgetExhausted
) -> BudgetExhausted:
    resumes = now + timedelta(seconds=wait_s)
    words = f"{why} The portal goes on by itself after {resumes:%H:%M:%S} UTC. Nothing to do."
    return kind(words, retry_after_s=wait_s + random.uniform(0.0, 1.0 + min(wait_s / 10, 10.0)))
