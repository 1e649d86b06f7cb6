"""From verify over log to block: who is refused tomorrow must have been seen in log today, or somebody says why not.

The edge tells the portal nothing of the requests that a log rule matched. So the evidence is time in log, in which
whoever runs the hostname looks at the security events of its zone; pages say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from apps.coverage.models import Enforcement, ModeChoice
from apps.inventory.models import Account


@dataclass(frozen=True)
class Ladder:
    """Where each hostname stands, and what lets it go on to block."""

    quiet: timedelta
    modes: dict[str, Enforcement]
    override: str
    now: datetime

    @classmethod
    def of(cls, account: Account, modes: Iterable[Enforcement], override: str) -> Ladder:
        quiet = timedelta(hours=account.quiet_hours)
        return cls(quiet, {row.hostname: row for row in modes}, override.strip(), timezone.now())

    def obstacle(self, hostname: str) -> str:
        """Why the hostname may not go to block yet; empty when it may, or is there already."""
        row = self.modes.get(hostname)
        if row is not None and (row.mode == ModeChoice.BLOCK or row.settled_mode == ModeChoice.BLOCK):
            return ""
        if row is None or row.mode != ModeChoice.LOG:
            return "it was never in log" if row is None else f"it is in {row.mode}"
        if row.live_at is None:
            return "log has not reached the edge yet"
        if self.now - row.live_at < self.quiet:
            return f"it is in log since {row.live_at:%d %b %H:%M} UTC only"
        return ""

    def judge(self, hostname: str, status: str, message: str, code: str) -> tuple[str, str, str]:
        """The verdict of a hostname that is asked to go to block."""
        why = self.obstacle(hostname)
        if not why:
            return status, message, code
        if self.override:
            return "check", f"{message}. Goes to block by override: {why}.", "override"
        hours = int(self.quiet.total_seconds() // 3600)
        return "fix", f"Block needs {hours} h in log first: {why}. Ask for log, or give an override.", "needs_log"
