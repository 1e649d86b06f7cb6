"""Holding what the portal needs to commit, from a database session of the test's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.faults.portals import FaultPortal


@contextmanager
def nothing_commits(portal: FaultPortal) -> Iterator[None]:
    """While it lasts no act can be recorded: SQLite's one writer and PostgreSQL's head of the audit log are taken."""
    if portal.database:
        with psycopg.connect(portal.environment["DATABASE_URL"]) as session:
            session.execute("SELECT * FROM audit_audithead FOR UPDATE")
            yield
            session.rollback()
        return
    session = sqlite3.connect(portal.folder / "portal.sqlite3", isolation_level=None, timeout=30)
    try:
        session.execute("BEGIN IMMEDIATE")
        yield
        session.execute("ROLLBACK")
    finally:
        session.close()
