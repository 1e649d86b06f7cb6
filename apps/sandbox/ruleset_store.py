"""Rulesets as they are kept: one entry point for each zone and phase, and every version of it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.sandbox import errors
from apps.sandbox.ids import microseconds, new_hex_id
from apps.sandbox.rule_forms import Rule, refuse_repeated_refs
from apps.sandbox.switches import Switches

KEPT_VERSIONS = 200
CUSTOM_RULES = "http_request_firewall_custom"
PHASES = (
    CUSTOM_RULES,
    "http_ratelimit",
    "http_request_firewall_managed",
    "http_request_transform",
    "http_request_late_transform",
    "http_response_headers_transform",
    "http_request_origin",
    "http_request_dynamic_redirect",
    "http_request_cache_settings",
    "http_config_settings",
)


@dataclass
class Ruleset:
    zone_id: str
    phase: str
    id: str = field(default_factory=new_hex_id)
    kind: str = "zone"
    name: str = "default"
    description: str = ""
    version: int = 0
    last_updated: str = ""
    rules: list[Rule] = field(default_factory=list)

    def document(self, *, with_rules: bool = True) -> dict[str, Any]:
        document: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "kind": self.kind,
            "version": str(self.version),
            "last_updated": self.last_updated,
            "phase": self.phase,
        }
        return {**document, "rules": self.rules} if with_rules else document


def entry_point(db: sqlite3.Connection, zone_id: str, phase: str) -> Ruleset | None:
    row = db.execute("SELECT * FROM rulesets WHERE zone_id = ? AND phase = ?", (zone_id, phase)).fetchone()
    return _from(row) if row else None


def ruleset_by_id(db: sqlite3.Connection, zone_id: str, ruleset_id: str) -> Ruleset:
    """Raises ApiError 404."""
    row = db.execute("SELECT * FROM rulesets WHERE zone_id = ? AND id = ?", (zone_id, ruleset_id)).fetchone()
    if row is None:
        raise errors.ruleset_unknown(ruleset_id)
    return _from(row)


def rulesets_of(db: sqlite3.Connection, zone_id: str) -> list[Ruleset]:
    return [_from(row) for row in db.execute("SELECT * FROM rulesets WHERE zone_id = ? ORDER BY rowid", (zone_id,))]


def save(db: sqlite3.Connection, ruleset: Ruleset, switches: Switches, now: datetime) -> None:
    """Check the ruleset as a whole, then keep it as its next version. Raises ApiError."""
    refuse_repeated_refs(ruleset.rules)
    if len(ruleset.rules) > switches.rules_quota:
        raise errors.too_many_rules(ruleset.phase, len(ruleset.rules), switches.rules_quota)
    ruleset.version += 1
    ruleset.last_updated = microseconds(now)
    db.execute(
        "INSERT OR REPLACE INTO rulesets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(ruleset.id, ruleset.zone_id, ruleset.phase, ruleset.kind, ruleset.name, ruleset.description),
            *(ruleset.version, ruleset.last_updated, json.dumps(ruleset.rules)),
        ),
    )
    values = (ruleset.id, ruleset.version, json.dumps(ruleset.document()))
    db.execute("INSERT INTO ruleset_versions VALUES (?, ?, ?)", values)
    oldest = ruleset.version - KEPT_VERSIONS
    db.execute("DELETE FROM ruleset_versions WHERE ruleset_id = ? AND version <= ?", (ruleset.id, oldest))


def delete(db: sqlite3.Connection, ruleset: Ruleset) -> None:
    db.execute("DELETE FROM rulesets WHERE id = ?", (ruleset.id,))
    db.execute("DELETE FROM ruleset_versions WHERE ruleset_id = ?", (ruleset.id,))


def versions_of(db: sqlite3.Connection, ruleset: Ruleset) -> list[dict[str, Any]]:
    """Complete documents, oldest first."""
    statement = "SELECT document FROM ruleset_versions WHERE ruleset_id = ? ORDER BY version"
    return [json.loads(row["document"]) for row in db.execute(statement, (ruleset.id,))]


def as_of(db: sqlite3.Connection, ruleset: Ruleset, moment: datetime) -> Ruleset | None:
    """The newest version that was kept by then; None when the first came later."""
    kept = [item for item in versions_of(db, ruleset) if item["last_updated"] <= microseconds(moment)]
    return Ruleset(**{**kept[-1], "zone_id": ruleset.zone_id, "version": int(kept[-1]["version"])}) if kept else None


def _from(row: sqlite3.Row) -> Ruleset:
    return Ruleset(**{**dict(row), "rules": json.loads(row["rules"])})
