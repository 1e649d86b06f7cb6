"""A circuit breaker per account: when Cloudflare does not answer, one call at a time finds out when it does again.

Without it every zone of an account would call on its own, each with its own back-off, into a far side that is down.
Closed, faults in a row are counted; an answer, whatever it says, begins anew. They open it when they are as many as
`BYOCA_BREAKER_FAULTS` and not all of one zone: a zone that fails alone must not hold the others up. Open, no call
goes until the cool-down is over, and then one, the trial. Its fault doubles the cool-down, its answer closes.

The state is in the write token's `CallBudget`, in the database's time, so that it is one for all processes.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from apps.inventory.budget.database_counter import locked_row, pause
from apps.inventory.models import CallBudget

COOLDOWN_S = 5.0
LONGEST_COOLDOWN_S = 60.0
# Who finds a trial on its way looks again this soon: it may be answered at once.
LOOK_AGAIN_S = 5.0
REASON = "Cloudflare does not answer."
SEVERAL = "*"

_ZONE = re.compile(r"/zones/([0-9a-f]{32})(?:/|$)")


def note_fault(token_hash: str, path: str, *, trial: bool) -> float:
    """One more call failed for want of Cloudflare. Returns the seconds for which that holds every call, or 0.0."""
    with transaction.atomic():
        row, now = locked_row(token_hash)
        if row.open_since and not trial:
            return 0.0  # It left before the breaker opened.
        row.faults += 1
        row.faults_of = _together(row.faults_of, path)
        opens = row.faults >= settings.BYOCA_BREAKER_FAULTS and row.faults_of == SEVERAL
        if row.open_since:
            row.failed_trials += 1
        elif opens:
            row.open_since = now
        row.trial_until = None
        row.save(update_fields=["faults", "faults_of", "open_since", "failed_trials", "trial_until"])
        if not row.open_since:
            return 0.0
        seconds = min(COOLDOWN_S * 2.0 ** min(row.failed_trials, 10), LONGEST_COOLDOWN_S)
        pause(token_hash, seconds, REASON)
        return seconds


def note_answer(token_hash: str) -> None:
    """Cloudflare answered: no faults in a row, and whatever waited for that may go."""
    rows = CallBudget.objects.filter(pk=token_hash)
    rows.filter(pause_reason=REASON).update(paused_until=None, pause_reason="")
    rows.update(faults=0, faults_of="", open_since=None, failed_trials=0, trial_until=None)


def claim_trial(token_hash: str) -> bool:
    """Whether this very call is the one that goes. A trial whose process dies is given up after one call's time.

    None goes while the cool-down of a trial that failed meanwhile holds every call.
    """
    ends_at = Now() + timedelta(seconds=settings.BYOCA_EDGE_DEADLINE_S + LOOK_AGAIN_S)
    rows = CallBudget.objects.filter(Q(trial_until=None) | Q(trial_until__lte=Now()), pk=token_hash)
    rows = rows.filter(Q(paused_until=None) | Q(paused_until__lte=Now()))
    return rows.exclude(open_since=None).update(trial_until=ends_at) == 1


def wait_for_trial_s(row: CallBudget, now: datetime) -> float:
    """Seconds after which to look again, while somebody else's trial is on its way; 0.0 when there is none."""
    if row.open_since is None or row.trial_until is None or row.trial_until <= now:
        return 0.0
    return min((row.trial_until - now).total_seconds(), LOOK_AGAIN_S)


def _together(before: str, path: str) -> str:
    """The one zone that all faults in a row are of ("account" for calls on none), or `SEVERAL`."""
    found = _ZONE.search(path)
    subject = found[1] if found else "account"
    return subject if before in {"", subject} else SEVERAL
