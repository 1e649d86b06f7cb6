"""Every call to the API, in the order of its effect, for people and for checkers. Never an Authorization header."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from apps.sandbox.ids import microseconds

KEPT = 100_000
KEPT_BYTES = 512 * 1024 * 1024
TIDY_EVERY = 1000
PAGE = 10_000
WITHHELD = '"withheld: it held a private key"'
ENDED = "UPDATE requests SET ended_ns = ? WHERE seq = ?"
COLUMNS = (
    "at origin method path query body status token_id violation ray started_ns peer_port applied before after fault"
)


@dataclass(frozen=True)
class Entry:
    """One line. `origin` is "api", or "dashboard" for an edit past the API. `status` 0: no status line was sent.

    `before` and `after` are a hostname list or the rules of a ruleset. `started_ns` is of the monotonic clock.
    """

    at: datetime
    method: str
    path: str
    query: str
    body: str | None
    status: int
    token_id: str | None
    violation: str | None
    ray: str
    origin: str = "api"
    started_ns: int | None = None
    peer_port: int | None = None
    applied: bool = False
    before: Sequence[Any] | None = None
    after: Sequence[Any] | None = None
    fault: str | None = None


def record(db: sqlite3.Connection, entry: Entry) -> int:
    """Returns its seq."""
    body, violation = entry.body, entry.violation
    if body and "PRIVATE KEY" in body:
        body, violation = WITHHELD, "; ".join(filter(None, [violation, "a private key was sent"]))
    values = (microseconds(entry.at), entry.origin, entry.method, entry.path, entry.query, body, entry.status)
    names = COLUMNS.split()
    added = db.execute(
        f"INSERT INTO requests ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",  # noqa: S608 - constants
        (
            *(*values, entry.token_id or None, violation, entry.ray, entry.started_ns, entry.peer_port),
            *(int(entry.applied), _json(entry.before), _json(entry.after), entry.fault),
        ),
    )
    seq = added.lastrowid or 0
    if seq % TIDY_EVERY == 0:
        tidy(db, seq)
    return seq


def tidy(db: sqlite3.Connection, seq: int, *, kept: int = KEPT, kept_bytes: int = KEPT_BYTES) -> None:
    """Drop the oldest lines beyond either bound. `seq` is the newest."""
    db.execute("DELETE FROM requests WHERE seq <= ?", (seq - kept,))
    size = "coalesce(length(body), 0) + coalesce(length(before), 0) + coalesce(length(after), 0)"
    totals = f"SELECT seq, sum({size}) OVER (ORDER BY seq DESC) AS total FROM requests"  # noqa: S608 - constants
    row = db.execute(f"SELECT max(seq) FROM ({totals}) WHERE total > ?", (kept_bytes,)).fetchone()  # noqa: S608
    if row[0] is not None:
        db.execute("DELETE FROM requests WHERE seq <= ?", (row[0],))


def entries_since(db: sqlite3.Connection, seq: int, *, origin: str = "api", limit: int = PAGE) -> list[dict[str, Any]]:
    """At most `limit` entries after `seq`, oldest first. `origin` "all" includes edits past the API."""
    rows = db.execute(
        "SELECT * FROM requests WHERE seq > ? AND (? = 'all' OR origin = ?) ORDER BY seq LIMIT ?",
        (seq, origin, origin, limit),
    )
    return [_document(row) for row in rows]


def newest(db: sqlite3.Connection, count: int) -> list[dict[str, Any]]:
    """The last entries, newest first."""
    return [_document(row) for row in db.execute("SELECT * FROM requests ORDER BY seq DESC LIMIT ?", (count,))]


def last_seq(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(seq), 0) FROM requests").fetchone()[0])


def _json(value: Sequence[Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _document(row: sqlite3.Row) -> dict[str, Any]:
    read = {name: json.loads(row[name]) if row[name] else None for name in ("before", "after")}
    query = parse_qs(row["query"], keep_blank_values=True)
    return {**dict(row), **read, "query": query, "applied": bool(row["applied"])}
