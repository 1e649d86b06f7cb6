"""What the stand-in remembers: one SQLite file, one writer at a time.

Every API call runs in one transaction that holds its effect and its line in the request log, so the order of the
log is the order of the effects.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, name TEXT NOT NULL, created_on TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS zones (
    id TEXT PRIMARY KEY, account_id TEXT NOT NULL, name TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0, created_on TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, account_id TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE, permissions TEXT NOT NULL, zones TEXT,
    revoked INTEGER NOT NULL DEFAULT 0, created_on TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS certificates (
    position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, account_id TEXT NOT NULL, name TEXT,
    ca INTEGER NOT NULL, type TEXT NOT NULL, pem TEXT NOT NULL, digest TEXT NOT NULL, issuer TEXT NOT NULL,
    serial_number TEXT NOT NULL, signature TEXT NOT NULL, expires_on TEXT NOT NULL, uploaded_on TEXT NOT NULL,
    UNIQUE (account_id, digest));
CREATE TABLE IF NOT EXISTS associations (
    zone_id TEXT NOT NULL, certificate_id TEXT NOT NULL, hostnames TEXT NOT NULL,
    PRIMARY KEY (zone_id, certificate_id));
CREATE TABLE IF NOT EXISTS rulesets (
    id TEXT PRIMARY KEY, zone_id TEXT NOT NULL, phase TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    description TEXT NOT NULL, version INTEGER NOT NULL, last_updated TEXT NOT NULL, rules TEXT NOT NULL,
    UNIQUE (zone_id, phase));
CREATE TABLE IF NOT EXISTS ruleset_versions (
    ruleset_id TEXT NOT NULL, version INTEGER NOT NULL, document TEXT NOT NULL,
    PRIMARY KEY (ruleset_id, version));
CREATE TABLE IF NOT EXISTS budgets (
    token_id TEXT PRIMARY KEY, started_at REAL NOT NULL, used INTEGER NOT NULL, blocked_until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, origin TEXT NOT NULL, method TEXT NOT NULL,
    path TEXT NOT NULL, query TEXT NOT NULL, body TEXT, status INTEGER NOT NULL, token_id TEXT,
    violation TEXT, ray TEXT NOT NULL);
"""


def utc_now() -> datetime:
    return datetime.now(tz=UTC)


class Store:
    """The open store. `clock` is the only source of time for everything that is remembered."""

    def __init__(self, path: Path | str, *, clock: Callable[[], datetime] = utc_now) -> None:
        """Open or create. Raises sqlite3.OperationalError or OSError where the file cannot be written."""
        self.clock = clock
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer at a time. Commits at the end, rolls back on any exception. Not re-entrant."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        with self._lock:
            self._db.close()


@contextmanager
def savepoint(db: sqlite3.Connection, *, keep: bool = True) -> Iterator[None]:
    """Undo what happens inside when it raises, or in any case with `keep=False` (a dry run)."""
    db.execute("SAVEPOINT call")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK TO call")
        db.execute("RELEASE call")
        raise
    if not keep:
        db.execute("ROLLBACK TO call")
    db.execute("RELEASE call")
