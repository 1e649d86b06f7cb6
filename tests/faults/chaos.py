"""Random faults, kills, foreign edits, requests and decisions for a while; then peace, and everything must be well.

`make chaos SECONDS=600 SEED=1`, or `python -m tests.faults.chaos`. The same seed plays the same acts in the same order;
what they meet depends on the machine. On PostgreSQL and Redis where DATABASE_URL and REDIS_URL are set.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count

import httpx
import psycopg
import redis

from tests.faults.chaos_acts import Acts
from tests.faults.chaos_peace import Peace
from tests.faults.driver import TEMPO, Driver, Refused
from tests.faults.portals import FaultPortal

# What a part that is down, or that was killed just now, looks like from outside.
AWAY = (httpx.TransportError, redis.RedisError, psycopg.OperationalError, ProcessLookupError)
# Somebody was faster, or the portal says that it cannot record anything now.
EXPECTED = {409, 422, 503}
# Asking for what is so already, a CA without a slot, and taking back what is not one's own, are refused in other words.
BESIDES = {"ask": {400}, "admit": {400}, "withdraw": {403}, "stop_writes": {404}}
# A run as long as this plays everything.
LONG_S = 600


class Chaos:
    """One run against one portal. `played` and `succeeded` count acts, `wrong` what they should not have met."""

    def __init__(self, driver: Driver, seed: int) -> None:
        self.driver = driver
        self.seed = seed
        self.acts = Acts(driver)
        self.played: Counter[str] = Counter()
        self.succeeded: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        acts = self.acts
        self.choice: list[tuple[int, Callable[[], bool]]] = [
            (30, acts.ask), (35, acts.approve), (6, acts.rebuild), (2, acts.withdraw), (8, acts.foreign_edit),
            (4, acts.foreign_rule), (20, acts.fault), (3, acts.storm), (4, acts.calm), (4, acts.kill_child),
            (2, acts.kill_worker), (2, acts.kill_part), (2, acts.kill_broker), (3, acts.stop_a_worker),
            (2, acts.hang_broker), (2, acts.empty_the_broker), (2, acts.edge_down), (2, acts.stop_writes),
            (6, acts.lift), (1, acts.admit), (2, acts.cut_database), (2, acts.lag), (5, acts.lag_ends),
            (1, acts.lose_token), (6, acts.mend_token), (1, acts.delete_ca), (1, acts.zone_leaves),
            (4, acts.zone_returns),
        ]  # fmt: skip

    def run(self, seconds: float) -> list[str]:
        """Play for so long, make peace, and return what is wrong: nothing, for a good portal."""
        self.acts.set_up()
        until = time.monotonic() + seconds
        for act, pause, drawn in self.draws():
            if time.monotonic() > until:
                break
            self.acts.random = drawn
            self.play(act)
            time.sleep(pause)
        found = Peace(self.driver, self.acts).wrong()
        found += [f"{words} ({times} times)" for words, times in self.wrong.items()]
        if seconds >= LONG_S:
            found += [f"{name} never succeeded" for name in sorted(self._names() - set(self.succeeded))]
        return found

    def draws(self) -> Iterator[tuple[Callable[[], bool], float, random.Random]]:
        """Without end: an act, the pause after it in seconds, and what it draws from. A seed always draws the same."""
        sequence = random.Random(self.seed)
        weights, acts = [weight for weight, _ in self.choice], [act for _, act in self.choice]
        for number in count(1):
            act = sequence.choices(acts, weights)[0]
            yield act, sequence.uniform(0, 0.15), random.Random(f"{self.seed}:{number}")

    def counts(self) -> str:
        """Each act: how often it did something, of how often it was played."""
        return ", ".join(f"{name} {self.succeeded[name]}/{times}" for name, times in sorted(self.played.items()))

    def play(self, act: Callable[[], bool]) -> None:
        name = act.__name__
        self.played[name] += 1
        try:
            if act():
                self.succeeded[name] += 1
        except AWAY:
            pass
        except Refused as refused:
            if refused.status not in EXPECTED | BESIDES.get(name, set()):
                self.wrong[f"{name}: {refused}"] += 1
        except Exception as error:
            self.wrong[f"{name}: {type(error).__name__}: {error}"] += 1

    def _names(self) -> set[str]:
        """The acts that this portal can be played."""
        left_out = set() if self.driver.portal.database else {"cut_database"}
        return {act.__name__ for _, act in self.choice} - left_out


def run(seconds: float, seed: int) -> tuple[list[str], Chaos]:
    """One chaos run on a portal of its own. Returns what is wrong, and the run with its counts."""
    with FaultPortal(**TEMPO) as portal, closing(Driver(portal)) as driver:
        chaos = Chaos(driver, seed)
        return chaos.run(seconds), chaos


def main() -> int:
    seconds = float(os.environ.get("SECONDS") or 600)
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    print(f"chaos: {seconds:g} s, SEED={seed}", flush=True)
    wrong, chaos = run(seconds, seed)
    print(chaos.counts())
    print("\n".join(wrong) or "0 violations, nothing parked without a reason, steady state reached and kept.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
