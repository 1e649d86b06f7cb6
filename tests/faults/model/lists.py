"""Hostname lists: what is sent, over which reading, by whom."""

from __future__ import annotations

from tests.faults.model.calls import Call, History
from tests.faults.model.intent import Intent
from tests.faults.model.limits import FRESH_S, LEASE_S


def lists(intent: Intent, history: History) -> list[str]:
    found = []
    for call in (row for row in history.by_start if row.method == "PUT" and row.pair):
        base = _base(call, history)
        if base is None:
            found.append(f"INV-10: {call} replaces a list that the same run had not read since the last write")
            continue
        age = call.started - base.started
        if age > FRESH_S:
            found.append(f"INV-10: {call} replaces a list that was read {age:.1f} s before")
        found += stale(call, history)
        found += [
            f"INV-16: {call} replaces a list over {base}, and {other} by another run came between them"
            for other in history.between(base, call)
            if other.pair == call.pair
        ]
        found += _content(intent, history, call, base)
    return found


def stale(call: Call, history: History) -> list[str]:
    """Each answer renews the lease: whoever had none for longer has lost it (INV-17)."""
    since = history.since_answer(call)
    return [f"INV-16: {call} begins {since:.1f} s after the last answer of its run"] if since > LEASE_S else []


def _base(call: Call, history: History) -> Call | None:
    """The last believable reading of the list by the same run, after its own last write of it."""
    for row in history.earlier(call):
        if row.pair != call.pair:
            continue
        if row.method == "PUT":
            return None
        if row.method == "GET" and row.good:
            return row
    return None


def _content(intent: Intent, history: History, call: Call, base: Call) -> list[str]:
    """What the list breaks whatever the reading showed; nothing if one that it may have shown explains it."""
    shown = history.seen(base)
    if shown is None and call.row["before"] is None:
        # No write of this list ever had an effect: it holds what the stand-in was seeded with, which no log has.
        return []
    if shown is None:
        shown = [frozenset(call.row["before"])]
    verdicts = [_against(intent, history, call, seen) for seen in shown]
    return [] if [] in verdicts else verdicts[-1]


def _against(intent: Intent, history: History, call: Call, seen: frozenset[str]) -> list[str]:
    zone_id, ca_id = call.pair or ("", "")
    began = history.began(call)
    found = [f"INV-15: {call} sends the list that was read just before"] if seen == call.sent else []
    for name in sorted(call.sent - seen):
        if "approved" not in intent.words(ca_id, name, began):
            found.append(f"INV-8: {call} adds {name}, which nobody had approved for this CA")
        if (zone := history.zones.get(zone_id, "")) != history.zone_of(name):
            found.append(f"INV-8: {call} adds {name} to the list of {zone or 'a zone that nobody knows'}")
    found += [
        f"INV-11: {call} removes {name}, and no approval names that"
        for name in sorted(seen - call.sent)
        if "released" not in intent.words(ca_id, name, began)
    ]
    return found


def overlaps(history: History) -> list[str]:
    """INV-16: one writer of a list at a time, unless the first was stopped past its lease (INV-17)."""
    found = []
    last: dict[tuple[str, str], Call] = {}
    for call in (row for row in history.by_start if row.method == "PUT" and row.pair):
        pair = call.pair or ("", "")
        before = last.get(pair)
        if before and history.ended(before) > call.started and call.started - before.started < LEASE_S:
            found.append(f"INV-16: {call} begins while {before} is on its way")
        if before is None or history.ended(call) > history.ended(before):
            last[pair] = call
    return found
