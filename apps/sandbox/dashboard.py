"""Edits past the API, as people make them in Cloudflare's dashboard. Each leaves a line in the request log."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from apps.sandbox import (
    association_store,
    audit_log,
    certificates,
    errors,
    faults,
    request_log,
    ruleset_store,
    x509_text,
    zones,
)
from apps.sandbox.ids import new_ray
from apps.sandbox.incoming import PREFIX
from apps.sandbox.rule_forms import Rule, build_rule, definition_of
from apps.sandbox.rules import move
from apps.sandbox.ruleset_store import CUSTOM_RULES, Ruleset
from apps.sandbox.switches import read_switches
from apps.sandbox.tokens import all_tokens

KINDS = ("custom", "gateway_managed", "access_managed")


def zone_by(db: sqlite3.Connection, name_or_id: str) -> sqlite3.Row:
    """Raises ApiError 404."""
    statement = "SELECT * FROM zones WHERE id = ?1 OR name = ?1"
    row: sqlite3.Row | None = db.execute(statement, (name_or_id,)).fetchone()
    if row is None:
        raise errors.no_route(f"/zones/{name_or_id}")
    return row


def edit_list(
    db: sqlite3.Connection, now: datetime, zone: str, certificate_id: str | None, hostnames: list[str]
) -> list[str]:
    """Replace one list; no certificate id means the Managed CA's. Raises ApiError."""
    row = zone_by(db, zone)
    kept_id = certificate_id or association_store.MANAGED
    if certificate_id:
        certificates.certificate_row(db, row["account_id"], certificate_id)
    before = association_store.hostnames_of(db, row["id"], kept_id)
    kept = association_store.replace_list(db, row, kept_id, hostnames, read_switches(db), now.timestamp())
    sent = {"mtls_certificate_id": certificate_id, "hostnames": kept}
    path = f"/zones/{row['id']}/certificate_authorities/hostname_associations"
    _record(db, now, "PUT", path, sent, before=before, after=kept)
    return kept


def delete_certificate(db: sqlite3.Connection, now: datetime, certificate_id: str) -> dict[str, Any]:
    """Take a CA away with all its lists, whatever uses it. Answers the certificate. Raises ApiError."""
    row = db.execute("SELECT * FROM certificates WHERE id = ?", (certificate_id,)).fetchone()
    if row is None:
        raise errors.certificate_unknown()
    certificates.remove(db, row, now)
    _record(db, now, "DELETE", f"/accounts/{row['account_id']}/mtls_certificates/{row['id']}", {})
    return certificates.document_of(row)


def add_certificate(
    db: sqlite3.Connection, now: datetime, account_id: str, *, name: str, pem: str, ca: bool, kind: str
) -> dict[str, Any]:
    """Add a row past quota and checks; `kind` is custom, gateway_managed or access_managed. Raises ApiError."""
    if kind not in KINDS:
        raise errors.bad_value(f"type must be one of {', '.join(KINDS)}")
    added = certificates.insert(db, account_id, x509_text.describe(pem), name=name, ca=ca, now=now, kind=kind)
    _record(db, now, "POST", f"/accounts/{account_id}/mtls_certificates", {"name": name, "ca": ca})
    return certificates.document_of(certificates.certificate_row(db, account_id, added))


def remove_zone(db: sqlite3.Connection, now: datetime, zone: str) -> str:
    """The zone leaves the account with everything in it. Answers its id. Raises ApiError 404."""
    zone_id = str(zone_by(db, zone)["id"])
    _record(db, now, "DELETE", f"/zones/{zone_id}", {})
    zones.remove_zone(db, zone_id)
    return zone_id


def add_rule(
    db: sqlite3.Connection, now: datetime, zone: str, definition: Mapping[str, Any], position: object = None
) -> dict[str, Any]:
    """Append to the custom rules, which are made when the zone has none. Answers the ruleset."""
    row = zone_by(db, zone)
    ruleset = ruleset_store.entry_point(db, row["id"], CUSTOM_RULES) or Ruleset(row["id"], CUSTOM_RULES)
    rule = build_rule(dict(definition), "", before=None, now=now)
    ruleset.rules.append(rule)
    if position is not None:
        move(ruleset.rules, rule, position)
    return _keep(db, now, ruleset, "POST", dict(definition))


def edit_rule(
    db: sqlite3.Connection, now: datetime, zone: str, rule_id: str, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Change some fields, and the place with `position`. `rule_id` may be a ref. Answers the ruleset."""
    ruleset, rule = _find(db, zone, rule_id)
    fields = {name: value for name, value in changes.items() if name != "position"}
    changed = build_rule({**definition_of(rule), **fields}, "", before=rule, now=now)
    ruleset.rules[ruleset.rules.index(rule)] = changed
    if "position" in changes:
        move(ruleset.rules, changed, changes["position"])
    return _keep(db, now, ruleset, "PATCH", dict(changes))


def delete_rule(db: sqlite3.Connection, now: datetime, zone: str, rule_id: str) -> dict[str, Any]:
    """`rule_id` may be a ref. Answers the ruleset."""
    ruleset, rule = _find(db, zone, rule_id)
    ruleset.rules.remove(rule)
    return _keep(db, now, ruleset, "DELETE", {"rule": rule["id"]})


def state(db: sqlite3.Connection) -> dict[str, Any]:
    """Everything at the edge, for checkers. Lists are keyed by certificate id, the Managed CA's by "managed"."""
    return {
        "accounts": [dict(row) for row in db.execute("SELECT id, name FROM accounts")],
        "zones": [_zone_state(db, row) for row in db.execute("SELECT * FROM zones ORDER BY rowid").fetchall()],
        "certificates": [_certificate(row) for row in db.execute("SELECT * FROM certificates ORDER BY position")],
        "tokens": [
            {
                **{"id": token.id, "name": token.name, "kind": token.kind, "revoked": token.revoked},
                **{"status": token.status, "expires_on": token.expires_on},
            }
            for token in all_tokens(db)
        ],
        "switches": asdict(read_switches(db)),
        "faults": faults.listed(db),
        "last_seq": request_log.last_seq(db),
    }


def _zone_state(db: sqlite3.Connection, zone: sqlite3.Row) -> dict[str, Any]:
    lists = db.execute("SELECT * FROM associations WHERE zone_id = ?", (zone["id"],))
    ruleset = ruleset_store.entry_point(db, zone["id"], CUSTOM_RULES)
    return {
        "id": zone["id"],
        "name": zone["name"],
        "status": zone["status"],
        "paused": bool(zone["paused"]),
        "account_id": zone["account_id"],
        "lists": {row["certificate_id"] or "managed": json.loads(row["hostnames"]) for row in lists},
        "ruleset": ruleset.document() if ruleset else None,
    }


def _certificate(row: sqlite3.Row) -> dict[str, Any]:
    shown = ("id", "account_id", "name", "type", "issuer", "serial_number", "signature", "expires_on", "uploaded_on")
    return {**{key: row[key] for key in shown}, "ca": bool(row["ca"]), "certificates": row["pem"]}


def _find(db: sqlite3.Connection, zone: str, rule_id: str) -> tuple[Ruleset, Rule]:
    ruleset = ruleset_store.entry_point(db, zone_by(db, zone)["id"], CUSTOM_RULES)
    if ruleset is None:
        raise errors.no_entry_point(CUSTOM_RULES)
    for rule in ruleset.rules:
        if rule_id in (rule["id"], rule["ref"]):
            return ruleset, rule
    raise errors.rule_unknown(rule_id)


def _keep(db: sqlite3.Connection, now: datetime, ruleset: Ruleset, method: str, sent: dict[str, Any]) -> dict[str, Any]:
    before = ruleset_store.entry_point(db, ruleset.zone_id, CUSTOM_RULES)
    ruleset_store.save(db, ruleset, read_switches(db), now)
    path = f"/zones/{ruleset.zone_id}/rulesets/{ruleset.id}/rules"
    _record(db, now, method, path, sent, before=before.rules if before else [], after=ruleset.rules)
    return ruleset.document()


def _record(
    db: sqlite3.Connection,
    now: datetime,
    method: str,
    path: str,
    sent: dict[str, Any],
    *,
    before: list[Any] | None = None,
    after: list[Any] | None = None,
) -> None:
    """The line in the request log, and the item in the audit log that names a person in the dashboard."""
    ray, uri = new_ray(), PREFIX + path
    started = time.monotonic_ns()
    request_log.record(
        db,
        request_log.Entry(
            *(now, method, uri, "", json.dumps(sent), 200, None, None, ray, "dashboard"),
            started_ns=started,
            applied=True,
            before=before,
            after=after,
        ),
    )
    actor = audit_log.dashboard_actor()
    audit_log.record(db, actor=actor, now=now, method=method, uri=uri, status=200, ray=ray, sent=sent)
