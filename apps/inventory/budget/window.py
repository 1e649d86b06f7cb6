"""How many calls a token made of late, and whether more may go: plain Python, time passed in.

Calls are counted per slot of a sliding window. The window is rounded up to whole slots, so that no stretch of
`WINDOW_S` seconds, wherever it begins, ever holds more than was allowed. `TAKE` and `NOTE` in `redis_counter.py` say
the same in Lua; one table of tests holds both against each other.

https://developers.cloudflare.com/fundamentals/api/reference/limits/
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

WINDOW_S = 300
SLOTS = 60
SLOT_S = WINDOW_S / SLOTS
# Two answers of one far-side window differ by rounding and by their way through the network.
SAME_RESET_S = 2.0


@dataclass(frozen=True)
class Ask:
    """`calls` wanted at once. They go while the window then holds at most `cap`, the slot at most `slot_cap`, and the
    far side would still have `floor` calls left."""

    calls: int
    cap: int
    slot_cap: int
    floor: int = 0


@dataclass(frozen=True)
class Told:
    """What an answer says: `left` calls for `reset_s` seconds, then `quota` calls in `span_s`; 0 where it does not."""

    left: int
    reset_s: float
    quota: int = 0
    span_s: float = 0.0


@dataclass
class Window:
    """`counts` is slot number -> calls. `left` is what the far side says is left until `resets_at`; -1: it did not.

    `quota` calls in `span_s` seconds is what its next window begins with, so that calls on their way count before the
    first answer; 0: it named no policy.
    """

    counts: dict[int, int] = field(default_factory=dict)
    left: int = -1
    resets_at: float = 0.0
    quota: int = 0
    span_s: float = 0.0

    def take(self, now: float, ask: Ask) -> float:
        """Count the calls and return 0.0, or count nothing and return the seconds after which to ask again."""
        if self.left >= 0 and now >= self.resets_at and self.quota:
            self.left, self.resets_at = self.quota, now + self.span_s
        if self.left >= 0 and now < self.resets_at and self.left - ask.calls < ask.floor:
            return self.resets_at - now
        current = math.floor(now / SLOT_S)
        self.counts = {slot: count for slot, count in self.counts.items() if slot >= current - SLOTS}
        in_slot = self.counts.get(current, 0)
        if in_slot and in_slot + ask.calls > ask.slot_cap:
            return (current + 1) * SLOT_S - now
        over = sum(self.counts.values()) + ask.calls - ask.cap
        if over > 0:
            return self._until_free(over) - now
        self.counts[current] = in_slot + ask.calls
        if self.left >= 0:
            self.left = max(self.left - ask.calls, 0)
        return 0.0

    def note(self, now: float, told: Told) -> None:
        """Believe the far side. Within one of its windows an answer that overtook another cannot raise what is left."""
        resets_at = now + told.reset_s
        same = self.left >= 0 and now < self.resets_at and abs(resets_at - self.resets_at) <= SAME_RESET_S
        self.left = min(self.left, told.left) if same else told.left
        self.resets_at = max(self.resets_at, resets_at) if same else resets_at
        self.quota, self.span_s = told.quota, told.span_s

    def _until_free(self, over: int) -> float:
        """The moment at which `over` counted calls have left the window."""
        latest = max(self.counts, default=0)
        for slot in sorted(self.counts):
            over -= self.counts[slot]
            if over <= 0:
                return (slot + SLOTS + 1) * SLOT_S
        return (latest + SLOTS + 1) * SLOT_S
