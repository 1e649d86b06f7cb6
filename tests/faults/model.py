"""The model checker: what must hold in every history, whatever faults it went through.

It knows nothing of the product's code. It replays two logs that are written by different programs, the portal's audit
log (as its API gives it) and the stand-in's request log, and says in sentences what they break. Numbers are those of
the invariants in docs/reliability.md.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

LIST = re.compile(r"/client/v4/zones/([0-9a-f]+)/certificate_authorities/hostname_associations$")
RULES = re.compile(r"/client/v4/zones/([0-9a-f]+)/rulesets(/.*)?$")
UPLOAD = re.compile(r"/client/v4/accounts/[0-9a-f]+/mtls_certificates$")
# A list is replaced over a reading of the same run that is younger than this, one lease and one call at most.
FRESH_S = 30.0
# A worker stopped for longer than its lease has lost it; that its call is still on the wire cannot be excluded.
LEASE_S = 6.0
# A call that is on its way when something is decided may still arrive.
IN_FLIGHT = timedelta(seconds=6)
# Answers that a fault changed and a careful client may believe all the same.
BELIEVED = {"headers", "delay", "hold", "switches"}


@dataclass(frozen=True)
class Call:
    """One line of the request log. `started` and `ended` are seconds of one monotonic clock."""

    row: dict[str, Any]

    @property
    def seq(self) -> int:
        return int(self.row["seq"])

    @property
    def method(self) -> str:
        return str(self.row["method"])

    @property
    def path(self) -> str:
        return str(self.row["path"])

    @cached_property
    def body(self) -> dict[str, Any]:
        try:
            value = json.loads(self.row["body"] or "{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @cached_property
    def pair(self) -> tuple[str, str] | None:
        """(zone, CA) of a call on a hostname list."""
        if not (found := LIST.match(self.path)):
            return None
        ca = self.row["query"].get("mtls_certificate_id", [""])[0]
        return found[1], str(ca or self.body.get("mtls_certificate_id", ""))

    @property
    def sent(self) -> frozenset[str]:
        return frozenset(self.body.get("hostnames") or ())

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.row["at"])

    @property
    def started(self) -> float:
        return float(self.row["started_ns"] or 0) / 1e9

    @property
    def ended(self) -> float:
        return float(self.row["ended_ns"] or self.row["started_ns"] or 0) / 1e9

    @property
    def is_write(self) -> bool:
        return self.method in {"PUT", "POST", "PATCH", "DELETE"}

    @property
    def cut(self) -> bool:
        """Whether its sender was gone before the body was whole: such a call never has an effect."""
        if not self.row["body"] or self.row["applied"]:
            return False
        try:
            json.loads(self.row["body"])
        except ValueError:
            return True
        return False

    @property
    def good(self) -> bool:
        """Whether its answer may be believed."""
        return self.row["status"] == 200 and (self.row["fault"] is None or self.row["fault"] in BELIEVED)

    def __str__(self) -> str:
        return f"call {self.seq} ({self.method} {self.path.removeprefix('/client/v4')})"


@dataclass
class Intent:
    """What people had decided at an instant, from the audit log alone."""

    events: list[dict[str, Any]]
    cas: dict[str, str] = field(default_factory=dict)
    _turns: dict[tuple[str, str], list[tuple[datetime, str]]] = field(default_factory=dict)
    stops: list[tuple[datetime, datetime | None, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        prints: dict[str, str] = {}
        requests: dict[str, dict[str, Any]] = {}
        for event in self.events:
            subject, after = event["subject_id"], event["after"] or {}
            if event["action"] == "ca:admitted":
                prints[subject] = after["fingerprint"]
            elif after.get("cloudflare_id") and subject in prints:
                self.cas[after["cloudflare_id"]] = prints[subject]
            elif event["action"] == "request:created":
                requests[subject] = {"kind": after["kind"], "ca": after["ca"], "hostnames": event["hostnames"]}
            elif subject in requests and event["subject_type"] == "request":
                self._decide(event, requests[subject])
            elif event["action"] == "writes:stopped":
                self.stops.append((_at(event), None, event))
            elif event["action"] == "writes:resumed":
                self._resume(event)

    def _decide(self, event: dict[str, Any], request: dict[str, Any]) -> None:
        releasing = request["kind"] == "uncover"
        word = ""
        if event["action"] == "request:approved":
            word = "released" if releasing else "approved"
        elif event["action"] == "request:outdated" and event["before"].get("state") in {"approved", "applying"}:
            word = "approved" if releasing else ""
        elif event["action"] != "request:completed" or not releasing:
            return
        for name in request["hostnames"]:
            self._turns.setdefault((request["ca"], name), []).append((_at(event), word))

    def _resume(self, event: dict[str, Any]) -> None:
        for index, (since, until, stop) in enumerate(self.stops):
            if until is None and stop["subject_id"] == event["subject_id"]:
                self.stops[index] = (since, _at(event), stop)

    def words(self, ca_id: str, hostname: str, at: datetime) -> set[str]:
        """What held for the pair when a call at `at` was made or decided on."""
        turns = self._turns.get((self.cas.get(ca_id, ""), hostname), [])
        times = [time for time, _ in turns]
        now, before = bisect_right(times, at), bisect_right(times, at - IN_FLIGHT)
        return {turns[index - 1][1] if index else "" for index in range(before, now + 1)}


def violations(
    audit: Iterable[dict[str, Any]], calls: Iterable[dict[str, Any]], portal_tokens: Iterable[str]
) -> list[str]:
    """Sentences, none for a good history. `audit` and `calls` are whole logs, oldest first.

    `portal_tokens` are the ids of the API tokens that the portal has: calls with any other are somebody else's.
    """
    intent = Intent(list(audit))
    tokens = set(portal_tokens)
    rows = [Call(row) for row in calls]
    ours = [row for row in rows if row.row["origin"] == "api" and row.row["token_id"] in tokens and not row.cut]
    found = [f"INV-9: {call} breaks the API: {call.row['violation']}" for call in ours if call.row["violation"]]
    found += _chain(intent.events)
    found += _lists(intent, rows, ours)
    found += _rules(ours)
    found += _overlaps(ours)
    found += _stopped(intent, ours)
    found += _uploads(rows, ours)
    return found


def _lists(intent: Intent, rows: list[Call], ours: list[Call]) -> list[str]:
    found = []
    for call in ours:
        if call.method != "PUT" or call.pair is None:
            continue
        base = _base(call, ours)
        if base is None:
            found.append(f"INV-10: {call} replaces a list that the same run had not read since the last write")
            continue
        if call.started - base.started > FRESH_S:
            found.append(f"INV-10: {call} replaces a list that was read {call.started - base.started:.0f} s before")
        seen = _list_at(base, rows)
        if seen is None:
            seen = frozenset(call.row["before"] or ())
        if seen == call.sent:
            found.append(f"INV-15: {call} sends the list that was read just before")
        ca_id = call.pair[1]
        found += [
            f"INV-8: {call} adds {name}, which nobody had approved for this CA"
            for name in sorted(call.sent - seen)
            if "approved" not in intent.words(ca_id, name, call.at)
        ]
        found += [
            f"INV-11: {call} removes {name}, and no approval names that"
            for name in sorted(seen - call.sent)
            if "released" not in intent.words(ca_id, name, call.at)
        ]
    return found


def _base(call: Call, ours: list[Call]) -> Call | None:
    """The last believable reading of the pair on the same connection, after the last write of ours to the pair."""
    earlier = [row for row in ours if row.pair == call.pair and row.started < call.started and row is not call]
    for row in sorted(earlier, key=lambda row: row.started, reverse=True):
        same_run = row.row["peer_port"] == call.row["peer_port"]
        if row.method == "PUT" and same_run:
            return None
        if row.method == "GET" and row.good and same_run:
            return row
    return None


def _list_at(read: Call, rows: list[Call]) -> frozenset[str] | None:
    """The list as it was at the edge when it was read; None where no earlier write of it is in the log."""
    writes = [row for row in rows if row.pair == read.pair and row.row["applied"] and row.row["after"] is not None]
    earlier = [row for row in writes if row.seq < read.seq]
    if earlier:
        return frozenset(earlier[-1].row["after"])
    later = [row for row in writes if row.seq > read.seq]
    return frozenset(later[0].row["before"] or ()) if later else None


def _rules(ours: list[Call]) -> list[str]:
    """Rules of others stay as they are, and nothing is written over an entry point that was not read."""
    found = []
    for call in ours:
        zone = RULES.match(call.path)
        if not zone or not call.is_write:
            continue
        if call.row["applied"] and _others(call.row["before"]) != _others(call.row["after"]):
            found.append(f"INV-11: {call} changes rules that are not the portal's")
        reads = [row for row in ours if row.method == "GET" and RULES.match(row.path) and row.started < call.started]
        same = [row for row in reads if RULES.match(row.path)[1] == zone[1]]  # type: ignore[index]
        if not any(
            row.row["peer_port"] == call.row["peer_port"] and row.row["status"] in {200, 404}
            and row.row["fault"] in {None, *BELIEVED}
            for row in same
        ):  # fmt: skip
            found.append(f"INV-10: {call} writes rules that the same run had not read")
    return found


def _others(rules: list[dict[str, Any]] | None) -> list[tuple[str, ...]]:
    kept = [rule for rule in rules or () if not str(rule.get("ref", "")).startswith("byoca-")]
    return [tuple(str(rule.get(name)) for name in ("id", "expression", "action", "enabled")) for rule in kept]


def _overlaps(ours: list[Call]) -> list[str]:
    """INV-16: one writer of a pair at a time, unless the first was stopped past its lease (INV-17)."""
    found = []
    last: dict[tuple[str, str], Call] = {}
    for call in sorted((c for c in ours if c.method == "PUT" and c.pair), key=lambda c: c.started):
        pair = call.pair or ("", "")
        before = last.get(pair)
        if before and before.ended > call.started and call.started - before.started < LEASE_S:
            found.append(f"INV-16: {call} begins while {before} is on its way")
        if before is None or call.ended > before.ended:
            last[pair] = call
    return found


def _stopped(intent: Intent, ours: list[Call]) -> list[str]:
    """INV-18: nothing is written while it is stopped. Zones are named in the event, so is everything."""
    found = []
    for since, until, event in intent.stops:
        if (event["after"] or {}).get("scope") == "zone":
            continue
        found += [
            f"INV-18: {call} writes although writes are stopped since {since:%H:%M:%S}"
            for call in ours
            if call.is_write and call.at > since + IN_FLIGHT and (until is None or call.at < until)
        ]
    return found


def _uploads(rows: list[Call], ours: list[Call]) -> list[str]:
    """INV-23: the same certificate takes one slot."""
    taken: set[str] = set()
    found = []
    deleted = [row.seq for row in rows if row.method == "DELETE" and "/mtls_certificates/" in row.path]
    for call in ours:
        if call.method != "POST" or not UPLOAD.match(call.path) or not call.row["applied"]:
            continue
        pem = str(call.body.get("certificates"))
        if pem in taken and not any(seq < call.seq for seq in deleted):
            found.append(f"INV-23: {call} takes a second slot for the same CA")
        taken.add(pem)
    return found


def _chain(events: list[dict[str, Any]]) -> list[str]:
    """INV-32: no gap, and each event names the one before it."""
    return [
        f"INV-32: event {event['seq']} does not follow event {before['seq']}"
        for before, event in pairwise(events)
        if event["seq"] != before["seq"] + 1 or event["prev_hash"] != before["hash"]
    ]


def _at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])
