"""After chaos: everything is undone, and the portal must come to rest, stay there, and have its edge right."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.faults.chaos_acts import Acts
from tests.faults.chaos_world import differences
from tests.faults.driver import Driver, Refused
from tests.portal_process import wait_for

OPEN = ("planning", "approved", "applying")
UNDECIDED = ("waiting", "stale")
ENDED_BADLY = ("failed", "partly_done", "stale")
STATE = """
import json
from apps.outbox.models import OutboxEntry
from apps.reconcile.models import Plan
print(json.dumps({
    "parked": list(OutboxEntry.objects.exclude(parked_at=None).values_list("kind", "parked_reason")),
    "open": Plan.objects.filter(state__in=Plan.OPEN).count(),
}))
"""
PASSES = ("answer from Cloudflare", "Waits for a token that may write")
PEACE_S = 300


class Peace:
    """Judges one portal once chaos has ended."""

    def __init__(self, driver: Driver, acts: Acts) -> None:
        self.driver = driver
        self.acts = acts

    def wrong(self) -> list[str]:
        """Sentences, none for a portal that is well."""
        wait_for(self._made, within_s=120, every_s=0.5, saying="all parts answer")
        until = time.monotonic() + PEACE_S
        while time.monotonic() < until:
            with suppress(httpx.TransportError, Refused):
                written = None if self._unsteady() else self._rests(until)
                if written is not None:
                    return [*written, *self._wrong(), *self._differences(), *self.driver.violations()]
            time.sleep(1)
        return [f"no steady state: {self._unsteady()}", *self.driver.violations()]

    def _made(self) -> bool:
        try:
            self.acts.undo()
        except (httpx.TransportError, AssertionError):
            return False
        return True

    def _rests(self, until: float) -> list[str] | None:
        """What was written while every zone was read twice; None when something moved meanwhile, or time was up."""
        since, mark = self.driver.seq(), datetime.now(UTC).isoformat()
        for _ in range(2):
            while not all(row["read_at"] and row["read_at"] > mark for row in self.driver.zones()):
                if self._unsteady() or time.monotonic() > until:
                    return None
                time.sleep(1)
            mark = datetime.now(UTC).isoformat()
        if self._unsteady():
            return None
        rows = [row for row in self.driver.edge.requests(since) if row["token_id"] in self.driver.tokens]
        writes = [row for row in rows if row["method"] != "GET" and "dry_run" not in row["query"]]
        return [f"it rests and still writes: {row['method']} {row['path']}" for row in writes]

    def _unsteady(self) -> list[str]:
        """What is on its way. What waits for a person's own decision, an override or a CA that failed, is not."""
        cas = self.driver.get("/cas/?page_size=100")["results"]
        found = [f"CA {ca['name']} is {ca['state']}" for ca in cas if ca["state"] in {"queued", "pushing", "deleting"}]
        failed = {ca["id"] for ca in cas if ca["state"] == "failed"}
        waiting: set[str] = set()
        for row in [self.driver.request(row) for state in OPEN for row in self.acts.requests(state)]:
            if row["needs_override"] or row["ca"]["id"] in failed or self._says_why(row):
                waiting |= {each["hostname"] for each in row["hostnames"]}
            else:
                found.append(f"request {row['id']} is {row['state']}")
        for row in [self.driver.request(row) for state in UNDECIDED for row in self.acts.requests(state)]:
            # What is left of a request that was sent in part, and voided, waits for the new approval.
            waiting |= {each["hostname"] for each in row["hostnames"]}
        for row in self.driver.get("/associations/?page_size=500")["results"]:
            moving = [c["state"] for c in row["cells"] if c["state"] in {"queued", "pushing", "removing"}]
            found += [f"{row['hostname']} is {state}" for state in moving if row["hostname"] not in waiting]
        zones = [zone for zone in self.driver.zones() if zone["failing_since"]]
        found += [f"{zone['name']} fails since {zone['failing_since']}" for zone in zones]
        return found + [f"stopped: {stop['reason']}" for stop in self.driver.get("/stops/")["results"]]

    @staticmethod
    def _says_why(row: dict[str, Any]) -> bool:
        """Whether it waits for a decision on drift, or cannot be planned, and says so.

        Silence of the edge passes, and the token was replaced a moment ago: what waits for these goes by itself.
        """
        return bool(row["state_reason"]) and not any(words in row["state_reason"] for words in PASSES)

    def _differences(self) -> list[str]:
        """At rest whatever is still open waits for a person."""
        rows = [self.driver.request(row) for state in OPEN for row in self.acts.requests(state)]
        waiting = {each["hostname"] for row in rows for each in row["hostnames"]}
        return differences(self.driver, self.acts, waiting)

    def _wrong(self) -> list[str]:
        """Open plans, parked or failed without a reason, a slot twice."""
        state = self.driver.json(STATE)
        found = [f"{kind} is parked without a reason" for kind, reason in state["parked"] if not reason]
        found += [f"{state['open']} plans are open"] if state["open"] else []
        rows = [(word, row) for word in ENDED_BADLY for row in self.acts.requests(word)]
        found += [f"request {row['id']} is {word} without a reason" for word, row in rows if not row["state_reason"]]
        failed = [ca for ca in self.driver.get("/cas/?page_size=100")["results"] if ca["state"] == "failed"]
        found += [f"CA {ca['name']} failed without a reason" for ca in failed if not ca["state_reason"]]
        names = Counter(row["name"] for row in self.driver.edge.state()["certificates"])
        return found + [f"{name} takes {count} slots" for name, count in names.items() if count > 1]
