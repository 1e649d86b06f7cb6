"""The script of faults: rules that wait for calls and are used up by them, and a random mode for chaos runs.

A rule is `{"match": {...}, "do": {"fault": ...}}`. `match` takes method; path and query, regular expressions that
are searched; zone, ca and token, by id or name; nth, the first matching call that counts, from 1; times, null for
ever. All of it is kept in the store, so a script goes on after a restart.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

from apps.sandbox.fault_kinds import MIXED, TOSSED, Fault, fault_from

TEXTS = ("method", "path", "query", "zone", "ca", "token")
COUNTS = ("nth", "times")
MOST = 1000
ZONE = re.compile(r"/zones/([^/]+)")
CERTIFICATE = re.compile(r"/mtls_certificates/([^/]+)")


@dataclass(frozen=True)
class Target:
    """What a rule may look at in a call. `path` is below `/client/v4`; the body is read only when a rule needs it."""

    method: str
    path: str
    query: str
    body: bytes
    token_id: str


def add(db: sqlite3.Connection, rules: Sequence[object]) -> None:
    """Append rules in their order. Raises ValueError, and then adds none of them."""
    read = [_rule_from(rule) for rule in rules]
    if db.execute("SELECT count(*) FROM faults").fetchone()[0] + len(read) > MOST:
        raise ValueError(f"The script holds at most {MOST} rules. Clear it first.")
    db.executemany("INSERT INTO faults (matcher, action, skip, remaining) VALUES (?, ?, ?, ?)", read)


def clear(db: sqlite3.Connection) -> None:
    """No rule and no random mode."""
    db.execute("DELETE FROM faults")
    db.execute("DELETE FROM settings WHERE key = 'random_faults'")


def set_random(db: sqlite3.Connection, sent: object) -> None:
    """`{probability, seed?, kinds?, match?}`, or None for off. Raises ValueError."""
    if sent is None:
        db.execute("DELETE FROM settings WHERE key = 'random_faults'")
        return
    if not isinstance(sent, dict) or not set(sent) <= {"probability", "seed", "kinds", "match"}:
        raise ValueError("random takes probability, seed, kinds and match.")
    probability, seed = sent.get("probability"), sent.get("seed", 0)
    if not isinstance(probability, (int, float)) or not 0 <= probability <= 1 or type(seed) is not int:
        raise ValueError("random takes a probability from 0 to 1 and a whole number as its seed.")
    kinds = [kind if isinstance(kind, dict) else {"fault": kind} for kind in sent.get("kinds") or MIXED]
    for kind in kinds:
        fault_from(kind)
    match = sent.get("match") or {}
    _check_match(match)
    mode = {"probability": probability, "seed": seed, "kinds": kinds, "match": match, "calls": 0, "played": 0}
    _keep_random(db, mode)


def listed(db: sqlite3.Connection) -> dict[str, Any]:
    """The script as it stands: rules in order with what is left of each (None: for ever), and the random mode."""
    rules = [
        {
            "id": row["id"],
            "match": json.loads(row["matcher"]),
            "do": json.loads(row["action"]),
            "waits": row["skip"],
            "left": row["remaining"],
            "played": row["played"],
        }
        for row in db.execute("SELECT * FROM faults ORDER BY id")
    ]
    return {"rules": rules, "left": sum(rule["left"] != 0 for rule in rules), "random": _random_mode(db)}


def take(db: sqlite3.Connection, target: Target, *, at_headers: bool = False) -> Fault | None:
    """The fault for this call, used up by it. `at_headers`: only holds in mid-body, which are known by nothing else."""
    for row in db.execute("SELECT * FROM faults WHERE remaining IS NULL OR remaining > 0 ORDER BY id").fetchall():
        fault = fault_from(json.loads(row["action"]))
        if fault.holds("mid_request_body") is not at_headers or not _matches(db, json.loads(row["matcher"]), target):
            continue
        if row["skip"]:
            db.execute("UPDATE faults SET skip = skip - 1 WHERE id = ?", (row["id"],))
            continue
        db.execute("UPDATE faults SET remaining = remaining - 1, played = played + 1 WHERE id = ?", (row["id"],))
        return fault
    return None if at_headers else _take_random(db, target)


def _take_random(db: sqlite3.Connection, target: Target) -> Fault | None:
    """The same seed and the same order of calls play the same faults."""
    mode = _random_mode(db)
    if mode is None or not _matches(db, mode["match"], target):
        return None
    mode["calls"] += 1
    dice = random.Random(f"{mode['seed']}:{mode['calls']}")
    fault = None
    if dice.random() < mode["probability"]:
        mode["played"] += 1
        fault = fault_from(dice.choice(mode["kinds"]))
        coin = dice.random() < 0.5
        fault = replace(fault, applied=coin) if fault.applied is None and fault.kind in TOSSED else fault
    _keep_random(db, mode)
    return fault


def _matches(db: sqlite3.Connection, match: Mapping[str, Any], target: Target) -> bool:
    if match.get("method", target.method).upper() != target.method:
        return False
    if not re.search(match.get("path", ""), target.path) or not re.search(match.get("query", ""), target.query):
        return False
    zone = ZONE.match(target.path)
    return (
        _named(db, "zones", match.get("zone"), zone[1] if zone else "")
        and _named(db, "tokens", match.get("token"), target.token_id)
        and ("ca" not in match or _named(db, "certificates", match["ca"], _ca_of(target)))
    )


def _named(db: sqlite3.Connection, table: str, wanted: str | None, found_id: str) -> bool:
    """Whether the row with this id is the wanted one, by id or by name."""
    if wanted is None or wanted == found_id:
        return True
    row = db.execute(f"SELECT name FROM {table} WHERE id = ?", (found_id,)).fetchone()  # noqa: S608 - constants
    return row is not None and row["name"] == wanted


def _ca_of(target: Target) -> str:
    in_path = CERTIFICATE.search(target.path)
    if in_path:
        return in_path[1]
    if target.method == "GET":
        return parse_qs(target.query).get("mtls_certificate_id", [""])[-1]
    try:
        sent = json.loads(target.body)
    except (ValueError, RecursionError):
        return ""
    return str(sent.get("mtls_certificate_id", "")) if isinstance(sent, dict) else ""


def _rule_from(sent: object) -> tuple[str, str, int, int | None]:
    """(matcher, action, skip, remaining) as they are stored."""
    if not isinstance(sent, dict) or not set(sent) <= {"match", "do"}:
        raise ValueError("A rule is an object with match and do.")
    match = sent.get("match") or {}
    _check_match(match)
    nth, times = match.get("nth", 1), match.get("times", 1)
    if type(nth) is not int or nth < 1 or (times is not None and (type(times) is not int or times < 1)):
        raise ValueError("nth and times are whole numbers from 1; times may be null for ever.")
    fault = fault_from(sent.get("do"))
    if fault.holds("mid_request_body") and "ca" in match:
        raise ValueError("A hold in mid-body cannot match by ca: the id is in the body.")
    return json.dumps(match), json.dumps(sent["do"]), nth - 1, times


def _check_match(match: object) -> None:
    if not isinstance(match, dict) or not set(match) <= {*TEXTS, *COUNTS}:
        raise ValueError(f"match takes {', '.join((*TEXTS, *COUNTS))}.")
    for name in TEXTS:
        if not isinstance(match.get(name, ""), str):
            raise ValueError(f"{name} is a text.")
    try:
        re.compile(match.get("path", "")), re.compile(match.get("query", ""))
    except re.error as why:
        raise ValueError(f"path and query are regular expressions: {why}") from None


def _random_mode(db: sqlite3.Connection) -> dict[str, Any] | None:
    row = db.execute("SELECT value FROM settings WHERE key = 'random_faults'").fetchone()
    found: dict[str, Any] | None = json.loads(row["value"]) if row else None
    return found


def _keep_random(db: sqlite3.Connection, mode: Mapping[str, Any]) -> None:
    db.execute("INSERT OR REPLACE INTO settings VALUES ('random_faults', ?)", (json.dumps(mode),))
