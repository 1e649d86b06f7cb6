"""The stand-in's request log, and what was at the edge at each moment of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

LIST = re.compile(r"/client/v4/zones/([0-9a-f]+)/certificate_authorities/hostname_associations$")
RULES = re.compile(r"/client/v4/zones/([0-9a-f]+)/rulesets(/.*)?$")
CA = re.compile(r"/accounts/[0-9a-f]+/mtls_certificates/([^/]+)$")
UPLOAD = re.compile(r"/client/v4/accounts/[0-9a-f]+/mtls_certificates$")
# Answers that a fault changed and a careful client may believe all the same.
BELIEVED = {None, "headers", "delay", "hold", "switches"}

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Call:
    """One line of the request log."""

    row: Mapping[str, Any]

    @property
    def seq(self) -> int:
        return int(self.row["seq"])

    @property
    def method(self) -> str:
        return str(self.row["method"])

    @property
    def path(self) -> str:
        return str(self.row["path"])

    @property
    def connection(self) -> int:
        """Every run has connections of its own, so the port tells one run from another."""
        return int(self.row["peer_port"] or 0)

    @property
    def applied(self) -> bool:
        return bool(self.row["applied"])

    @cached_property
    def body(self) -> dict[str, Any]:
        try:
            value = json.loads(self.row["body"] or "{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @cached_property
    def pair(self) -> Pair | None:
        """(zone, CA) of a call on a hostname list."""
        if not (found := LIST.match(self.path)):
            return None
        ca = self.row["query"].get("mtls_certificate_id", [""])[0]
        return found[1], str(ca or self.body.get("mtls_certificate_id", ""))

    @cached_property
    def rules_zone(self) -> str:
        """The zone of a call on custom rules, else nothing."""
        found = RULES.match(self.path)
        return found[1] if found else ""

    @property
    def rehearses(self) -> bool:
        return "dry_run" in self.row["query"]

    @property
    def sent(self) -> frozenset[str]:
        return frozenset(self.body.get("hostnames") or ())

    @cached_property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.row["at"])

    @property
    def started(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return float(self.row["started_ns"] or 0) / 1e9

    @property
    def is_write(self) -> bool:
        return self.method in {"PUT", "POST", "PATCH", "DELETE"}

    @property
    def cut(self) -> bool:
        """Whether its sender was gone before the body was whole: such a call never has an effect."""
        if not self.row["body"] or self.applied:
            return False
        try:
            json.loads(self.row["body"])
        except ValueError:
            return True
        return False

    @property
    def good(self) -> bool:
        """Whether its answer may be believed."""
        return self.row["status"] == 200 and self.row["fault"] in BELIEVED

    def __str__(self) -> str:
        return f"call {self.seq} ({self.method} {self.path.removeprefix('/client/v4')})"


class History:
    """The whole log, oldest first. `ours` are the calls of the portal that had their body whole.

    `zones` has the name of every zone there ever was, by id. `restarts` are the moments at which the stand-in was
    killed, and `lags` the spans (from, to, seconds) in which readings were so much older, all on the monotonic clock.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]],
        tokens: Iterable[str],
        zones: Mapping[str, str],
        restarts: Iterable[float] = (),
        lags: Iterable[tuple[float, float, float]] = (),
    ) -> None:
        known = set(tokens)
        self.rows = [Call(row) for row in rows]
        self.ours = [c for c in self.rows if c.row["origin"] == "api" and c.row["token_id"] in known and not c.cut]
        self.by_start = sorted(self.ours, key=lambda call: call.started)
        self.zones = dict(zones)
        self.restarts = sorted(restarts)
        self.lags = list(lags)
        self._wall = min((row.at.timestamp() - row.started for row in self.rows), default=0.0)

    def began(self, call: Call) -> datetime:
        """When it left its sender, which may be long before its effect."""
        early = call.at.timestamp() - (self._wall + call.started)
        return call.at - timedelta(seconds=max(early, 0))

    def ended(self, call: Call) -> float:
        """When its answer was sent. A call without an end is still on its way, unless the stand-in was killed."""
        if call.row["ended_ns"]:
            return float(call.row["ended_ns"]) / 1e9
        return next((moment for moment in self.restarts if moment >= call.started), float("inf"))

    def zone_of(self, hostname: str) -> str:
        """The name of the zone that holds it: the longest that it ends with; nothing if none does."""
        held = [name for name in set(self.zones.values()) if f".{hostname}".endswith(f".{name}")]
        return max(held, key=len, default="")

    def earlier(self, call: Call) -> Iterator[Call]:
        """Calls of the same run before this one, the latest first."""
        for row in reversed(self.by_start):
            if row.connection == call.connection and row.started < call.started:
                yield row

    def since_answer(self, call: Call) -> float:
        """Seconds from the last answer of its run to its own start."""
        return call.started - max((self.ended(row) for row in self.earlier(call)), default=float("-inf"))

    def between(self, base: Call, call: Call) -> list[Call]:
        """Writes of ours by other runs that left their sender after `base` and before `call`."""
        return [
            row
            for row in self.by_start
            if base.started < row.started < call.started and row.is_write and row.connection != call.connection
        ]

    # Lists

    @cached_property
    def _changes(self) -> list[tuple[Call, Pair | None, str, frozenset[str]]]:
        """(Call, pair, CA, list afterwards) of all that changed lists; without a pair it is a CA that was deleted."""
        found: list[tuple[Call, Pair | None, str, frozenset[str]]] = []
        for row in self.rows:
            if not row.applied:
                continue
            if row.pair and row.row["after"] is not None:
                found.append((row, row.pair, row.pair[1], frozenset(row.row["after"])))
            elif row.method == "DELETE" and (gone := CA.search(row.path)):
                found.append((row, None, gone[1], frozenset()))
        return found

    def lists(self, pair: Pair) -> list[tuple[Call, frozenset[str]]]:
        """Every change of one list with what it left there, in the order of effect."""
        return [(row, left) for row, named, ca, left in self._changes if named == pair or (not named and ca == pair[1])]

    def seen(self, read: Call) -> list[frozenset[str]] | None:
        """What a reading may have shown: one list, or several where readings lag. None where no write is logged."""
        changes = self.lists(read.pair or ("", ""))
        if not changes:
            return None
        lag = max((late for since, until, late in self.lags if since <= read.started <= until), default=0.0)
        earliest = read.at - timedelta(seconds=lag + (2 if lag else 0))
        shown = [frozenset(changes[0][0].row["before"] or ())]
        for row, left in changes:
            if row.seq > read.seq:
                break
            shown = [*shown, left] if lag and row.at >= earliest else [left]
        return shown

    def was_listed(self, ca_ids: Iterable[str], name: str, since: datetime, until: datetime) -> set[bool]:
        """Whether any of the CAs' lists held the hostname at some moment of a span: True, False, or both."""
        zone = self.zone_of(name)
        found: set[bool] = set()
        for pair in [(zone_id, ca) for zone_id, known in self.zones.items() if known == zone for ca in ca_ids]:
            found |= _held(self.lists(pair), lambda left: name in left, since, until, before=False)
        return found or {False}

    # Rules

    def rule_changes(self, zone_id: str) -> list[Call]:
        return [row for row in self._rule_changes if row.rules_zone == zone_id]

    @cached_property
    def _rule_changes(self) -> list[Call]:
        return [row for row in self.rows if row.rules_zone and row.applied and row.row["after"] is not None]


def _held(
    changes: list[tuple[Call, frozenset[str]]], test: Any, since: datetime, until: datetime, *, before: bool
) -> set[bool]:
    """The values that `test` had between two instants."""
    if changes:
        before = test(frozenset(changes[0][0].row["before"] or ()))
    found: set[bool] = set()
    for row, left in changes:
        if row.at > until:
            break
        if row.at >= since:
            found.add(before)
        before = test(left)
    return found | {before}
