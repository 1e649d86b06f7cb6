"""The tables of the store, and the columns that came later."""

from __future__ import annotations

import sqlite3

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, name TEXT NOT NULL, created_on TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS zones (
    id TEXT PRIMARY KEY, account_id TEXT NOT NULL, name TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0, created_on TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, account_id TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE, permissions TEXT NOT NULL, zones TEXT,
    revoked INTEGER NOT NULL DEFAULT 0, created_on TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'active',
    expires_on TEXT);
CREATE TABLE IF NOT EXISTS certificates (
    position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, account_id TEXT NOT NULL, name TEXT,
    ca INTEGER NOT NULL, type TEXT NOT NULL, pem TEXT NOT NULL, digest TEXT NOT NULL, issuer TEXT NOT NULL,
    serial_number TEXT NOT NULL, signature TEXT NOT NULL, expires_on TEXT NOT NULL, uploaded_on TEXT NOT NULL,
    blocks INTEGER NOT NULL DEFAULT 1, UNIQUE (account_id, digest));
CREATE TABLE IF NOT EXISTS deleted_certificates (
    id TEXT PRIMARY KEY, account_id TEXT NOT NULL, at REAL NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS associations (
    zone_id TEXT NOT NULL, certificate_id TEXT NOT NULL, hostnames TEXT NOT NULL,
    PRIMARY KEY (zone_id, certificate_id));
CREATE TABLE IF NOT EXISTS association_versions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, zone_id TEXT NOT NULL, certificate_id TEXT NOT NULL, at REAL NOT NULL,
    hostnames TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS association_versions_of ON association_versions (zone_id, certificate_id, at);
CREATE INDEX IF NOT EXISTS association_versions_by_ca ON association_versions (certificate_id, at);
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
    violation TEXT, ray TEXT NOT NULL, started_ns INTEGER, ended_ns INTEGER, peer_port INTEGER,
    applied INTEGER NOT NULL DEFAULT 0, before TEXT, after TEXT, fault TEXT);
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT, matcher TEXT NOT NULL, action TEXT NOT NULL, skip INTEGER NOT NULL,
    remaining INTEGER, played INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS audit_items (
    position INTEGER PRIMARY KEY AUTOINCREMENT, account_id TEXT NOT NULL, at REAL NOT NULL, document TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_items_of ON audit_items (account_id, at);
"""

# A store of an earlier version gets these when it is opened.
LATER = {
    "tokens": {"status": "TEXT NOT NULL DEFAULT 'active'", "expires_on": "TEXT"},
    "certificates": {"blocks": "INTEGER NOT NULL DEFAULT 1"},
    "requests": {
        "started_ns": "INTEGER",
        "ended_ns": "INTEGER",
        "peer_port": "INTEGER",
        "applied": "INTEGER NOT NULL DEFAULT 0",
        "before": "TEXT",
        "after": "TEXT",
        "fault": "TEXT",
    },
}


def prepare(db: sqlite3.Connection) -> None:
    """Make what is missing. Raises sqlite3.Error."""
    db.executescript(SCHEMA)
    for table, columns in LATER.items():
        known = {row["name"] for row in db.execute(f"PRAGMA table_info({table})")}
        for name, kind in columns.items():
            if name not in known:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
