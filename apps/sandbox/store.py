"""What the stand-in remembers: one SQLite file, one writer at a time.

Every API call runs in one transaction that holds its effect and its line in the request log, so the order of the
log is the order of the effects.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from apps.sandbox.store_schema import prepare


def utc_now() -> datetime:
    return datetime.now(tz=UTC)


class Store:
    """The open store. `clock` is the only source of time for everything that is remembered."""

    def __init__(self, path: Path | str, *, clock: Callable[[], datetime] = utc_now) -> None:
        """Open or create. Raises sqlite3.OperationalError or OSError where the file cannot be written."""
        self.clock = clock
        self._lock = threading.Lock()
        self._late: deque[tuple[str, tuple[object, ...]]] = deque()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        prepare(self._db)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer at a time. Commits at the end, rolls back on any exception. Not re-entrant."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                while self._late:
                    self._db.execute(*self._late.popleft())
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def later(self, statement: str, values: tuple[object, ...]) -> None:
        """Run a statement at the start of the next transaction, or at `close`: no transaction of its own."""
        self._late.append((statement, values))

    def close(self) -> None:
        with self.transaction():
            pass
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
