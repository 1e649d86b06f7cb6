"""Every call to the API, in the order of its effect, for people and for checkers. Never an Authorization header."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from apps.sandbox.ids import microseconds

KEPT = 100_000
WITHHELD = '"withheld: it held a private key"'


@dataclass(frozen=True)
class Entry:
    """One line. `origin` is "api", or "dashboard" for an edit past the API."""

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


def record(db: sqlite3.Connection, entry: Entry) -> None:
    body, violation = entry.body, entry.violation
    if body and "PRIVATE KEY" in body:
        body, violation = WITHHELD, "; ".join(filter(None, [violation, "a private key was sent"]))
    values = (microseconds(entry.at), entry.origin, entry.method, entry.path, entry.query, body, entry.status)
    added = db.execute(
        "INSERT INTO requests (at, origin, method, path, query, body, status, token_id, violation, ray)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, entry.token_id or None, violation, entry.ray),
    )
    seq = added.lastrowid or 0
    if seq % 1000 == 0:
        db.execute("DELETE FROM requests WHERE seq <= ?", (seq - KEPT,))


def entries_since(db: sqlite3.Connection, seq: int, *, origin: str = "api") -> list[dict[str, Any]]:
    """Entries after `seq`, oldest first. `origin` "all" includes edits past the API."""
    rows = db.execute(
        "SELECT * FROM requests WHERE seq > ? AND (? = 'all' OR origin = ?) ORDER BY seq",
        (seq, origin, origin),
    )
    return [_document(row) for row in rows]


def newest(db: sqlite3.Connection, count: int) -> list[dict[str, Any]]:
    """The last entries, newest first."""
    return [_document(row) for row in db.execute("SELECT * FROM requests ORDER BY seq DESC LIMIT ?", (count,))]


def last_seq(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(seq), 0) FROM requests").fetchone()[0])


def _document(row: sqlite3.Row) -> dict[str, Any]:
    return {**dict(row), "query": parse_qs(row["query"], keep_blank_values=True)}
