"""Random faults, kills, foreign edits, requests and decisions for a while; then peace, and everything must be well.

`make chaos SECONDS=600 SEED=1`, or `python -m tests.faults.chaos`. The same seed plays the same acts in the same order;
what they meet depends on the machine. On PostgreSQL and Redis where DATABASE_URL and REDIS_URL are set.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import httpx
import psycopg
import redis

from tests.faults.driver import TEMPO, Driver
from tests.faults.portals import FaultPortal
from tests.portal_process import wait_for

# Faults that a careful client can tell from a good answer. A reading that lies cannot be told, by anybody.
FAULTS: list[str | dict[str, Any]] = [
    *[{"fault": "status", "status": status} for status in (500, 502, 503, 504, 520, 524)],
    "timeout", "reset", "close", "truncated_json", "truncated_body", "chunked_cut", "malformed_json", "null_body",
    "missing_result", "duplicate_keys", {"fault": "rate_limited", "retry_after": "2", "seconds": 2},
    {"fault": "refuse", "seconds": 1}, {"fault": "delay", "ms": 1500},
]  # fmt: skip
OPEN = ("planning", "approved", "applying")
PARKED = """
import json
from apps.outbox.models import OutboxEntry
from apps.reconcile.models import Plan
print(json.dumps({
    "parked": list(OutboxEntry.objects.exclude(parked_at=None).values_list("kind", "parked_reason")),
    "open": Plan.objects.filter(state__in=Plan.OPEN).count(),
}))
"""
PEACE_S = 240


class Chaos:
    """One run against one portal."""

    def __init__(self, driver: Driver, seed: int) -> None:
        self.driver = driver
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.cas: list[dict[str, Any]] = []
        self.zones = [*driver.edge.zones, *[f"chaos-{number}.example" for number in range(3)]]
        self.acts: list[tuple[int, Callable[[], None]]] = [
            (30, self.ask), (35, self.approve), (6, self.rebuild), (8, self.foreign_edit), (20, self.fault),
            (3, self.storm), (4, self.calm), (4, self.kill_child), (2, self.kill_worker), (2, self.kill_part),
            (3, self.stop_a_worker), (2, self.empty_the_broker), (2, self.edge_down), (2, self.stop_writes),
            (6, self.lift), (1, self.admit), (2, self.cut_database),
        ]  # fmt: skip

    def run(self, seconds: float) -> list[str]:
        """Play for so long, make peace, and return what is wrong: nothing, for a good portal."""
        self.driver.edge.switch(quota=50)
        self.driver.new_zones(*self.zones[3:])
        self.cas = [self.driver.upload(f"Chaos Root {number}") for number in range(2)]
        until = time.monotonic() + seconds
        weights, acts = [weight for weight, _ in self.acts], [act for _, act in self.acts]
        while time.monotonic() < until:
            act = self.random.choices(acts, weights)[0]
            self.counts[act.__name__] += 1
            # A part that is down, or a decision that came too late, is what chaos is about.
            with suppress(httpx.TransportError, AssertionError, LookupError, OSError, redis.RedisError):
                act()
            time.sleep(self.random.uniform(0, 0.15))
        return self._peace()

    # People

    def ask(self) -> None:
        zone = self.random.choice(self.zones)
        names = [f"h{self.random.randrange(8)}.{zone}" for _ in range(self.random.randint(1, 2))]
        kind = self.random.choice(["cover", "cover", "uncover"])
        mode = self.random.choice(["verify", "log", "block"])
        body = {
            "kind": kind, "ca": self.random.choice(self.cas)["id"], "hostnames": sorted(set(names)), "mode": mode,
            "reason": "Chaos", "override": "Chaos" if mode == "block" else "",
        }  # fmt: skip
        self.driver.send("/requests/", body, "owner")

    def approve(self) -> None:
        for row in self._requests("waiting")[:3]:
            with suppress(AssertionError):
                self.driver.approve(self.driver.request(row))
                self.counts["approved"] += 1

    def rebuild(self) -> None:
        for row in self._requests("stale")[:2]:
            self.driver.send(f"/requests/{row['id']}/rebuild/", {}, "owner")

    def admit(self) -> None:
        if self.counts["admitted"] < 5:
            self.counts["admitted"] += 1
            self.driver.admit(f"Chaos Extra {self.counts['admitted']}")

    def stop_writes(self) -> None:
        self.driver.send("/stops/", {"scope": "everything", "reason": "Chaos"}, "engineer")

    def lift(self) -> None:
        for stop in self.driver.get("/stops/")["results"]:
            self.driver.send(f"/stops/{stop['id']}/lift/", {"reason": "Chaos, looked at"}, "admin")

    # The far side

    def foreign_edit(self) -> None:
        zone, ca = self.random.choice(self.zones), self.random.choice(self.cas)
        names = set(self.driver.at_edge(zone, ca)) ^ {self.random.choice([f"h1.{zone}", f"foreign.{zone}"])}
        self.driver.edge.edit(zone, ca["cloudflare_id"], sorted(names))

    def fault(self) -> None:
        do = self.random.choice(FAULTS)
        played = {"fault": do} if isinstance(do, str) else dict(do)
        method = self.random.choice(["GET", "PUT", "PUT", "POST", "PATCH"])
        match = {"method": method, "zone": self.random.choice(self.zones)}
        self.driver.edge.faults({"match": match, "do": played})

    def storm(self) -> None:
        seed = self.random.randrange(1000)
        self.driver.edge.faults(random={"probability": 0.15, "seed": seed, "kinds": FAULTS})

    def calm(self) -> None:
        self.driver.edge.clear_faults()

    def edge_down(self) -> None:
        self.driver.edge.switch(down=True)
        time.sleep(self.random.uniform(0.2, 2))
        self.driver.edge.switch(down=False)

    # The portal's parts

    def kill_child(self) -> None:
        os.kill(self.random.choice(self.driver.pool()), signal.SIGKILL)

    def kill_worker(self) -> None:
        self.driver.kill_worker()

    def kill_part(self) -> None:
        parts = ["beat", "web", "sandbox", *([] if self.driver.portal.redis else ["broker"])]
        os.killpg(self.driver.part(self.random.choice(parts)), signal.SIGKILL)

    def stop_a_worker(self) -> None:
        with self.driver.stopped(self.random.choice([*self.driver.pool(), self.driver.part("worker")])):
            time.sleep(self.random.choice([0.5, 2, 8]))

    def empty_the_broker(self) -> None:
        with closing(self.driver.portal.broker()) as broker:
            broker.flushall()

    def cut_database(self) -> None:
        if self.driver.portal.database:
            cut_connections(self.driver.portal)

    # Judgement

    def _requests(self, state: str) -> list[dict[str, Any]]:
        return list(self.driver.get(f"/requests/?state={state}&page_size=100")["results"])

    def _peace(self) -> list[str]:
        wait_for(self._make_peace, within_s=60, every_s=0.5, saying="all parts answer")
        try:
            wait_for(self._steady, within_s=PEACE_S, every_s=1, saying="a steady state")
        except AssertionError:
            return [f"no steady state: {self._unsteady()}", *self.driver.violations()]
        return [*self._wrong(), *self.driver.violations()]

    def _make_peace(self) -> bool:
        try:
            self.driver.edge.clear_faults()
            self.driver.edge.switch(down=False)
            self.lift()
        except (httpx.TransportError, AssertionError):
            return False
        return True

    def _steady(self) -> bool:
        try:
            return not self._unsteady()
        except (httpx.TransportError, AssertionError):
            return False

    def _unsteady(self) -> list[str]:
        found = [f"request {row['id']} is {state}" for state in OPEN for row in self._requests(state)]
        rows = self.driver.get("/associations/?page_size=500")["results"]
        moving = {"queued", "pushing", "removing"}
        found += [f"{row['hostname']} is {c['state']}" for row in rows for c in row["cells"] if c["state"] in moving]
        found += [
            f"{row['name']} fails since {row['failing_since']}" for row in self.driver.zones() if row["failing_since"]
        ]
        found += [f"CA {ca['name']} is {ca['state']}" for ca in self.driver.get("/cas/")["results"] if ca["state"] in
                  {"queued", "pushing", "deleting"}]  # fmt: skip
        return found + [f"stopped: {stop['reason']}" for stop in self.driver.get("/stops/")["results"]]

    def _wrong(self) -> list[str]:
        """What a steady portal must not show: open plans, parked without a reason, failed without one, a slot twice."""
        state = self.driver.json(PARKED)
        found = [f"{kind} is parked without a reason" for kind, reason in state["parked"] if not reason]
        found += [f"{state['open']} plans are open"] if state["open"] else []
        for word in ("failed", "partly_done", "stale"):
            found += [
                f"request {r['id']} is {word} without a reason" for r in self._requests(word) if not r["state_reason"]
            ]
        names = Counter(row["name"] for row in self.driver.edge.state()["certificates"])
        return found + [f"{name} takes {count} slots" for name, count in names.items() if count > 1]


def cut_connections(portal: FaultPortal) -> None:
    """End every session of the portal's PostgreSQL database, as a failover does."""
    with psycopg.connect(portal.environment["DATABASE_URL"], autocommit=True) as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [portal.database],
        )


def run(seconds: float, seed: int) -> tuple[list[str], Counter[str]]:
    """One chaos run on a portal of its own. Returns what is wrong, and how often each act was played."""
    with FaultPortal(**TEMPO) as portal, closing(Driver(portal)) as driver:
        chaos = Chaos(driver, seed)
        return chaos.run(seconds), chaos.counts


def main() -> int:
    seconds = float(os.environ.get("SECONDS") or 600)
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    print(f"chaos: {seconds:g} s, SEED={seed}", flush=True)
    wrong, counts = run(seconds, seed)
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print("\n".join(wrong) or "0 violations, nothing parked without a reason, steady state reached.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
