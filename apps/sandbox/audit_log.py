"""Cloudflare's audit log, version 2: writes through the API and edits in the dashboard.

https://developers.cloudflare.com/api/resources/accounts/subresources/logs/subresources/audit/
"""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from apps.sandbox import errors
from apps.sandbox.ids import microseconds
from apps.sandbox.wire import Call, Reply

KEPT = 20_000
TIDY_EVERY = 500
PERSON = "colleague@northwind.example"
ACTIONS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
FAMILIES = (
    (re.compile(r"/mtls_certificates"), "ssl", "mtls_certificate"),
    (re.compile(r"/hostname_associations"), "ssl", "hostname_association"),
    (re.compile(r"/rulesets"), "rulesets", "ruleset"),
)
IN_TIME = "SELECT position, document FROM audit_items WHERE account_id = ? AND at >= ? AND at < ? AND at <= ?"
ORDERS = {
    "asc": " AND (? = 0 OR position > ?) ORDER BY position ASC",
    "desc": " AND (? = 0 OR position < ?) ORDER BY position DESC",
}
# Filter -> where its value is in an item.
FILTERS: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "audit_log_id": ("id",),
    "account_name": ("account", "name"),
    "action_result": ("action", "result"),
    "action_type": ("action", "type"),
    "actor_context": ("actor", "context"),
    "actor_email": ("actor", "email"),
    "actor_id": ("actor", "id"),
    "actor_ip_address": ("actor", "ip_address"),
    "actor_token_id": ("actor", "token_id"),
    "actor_token_name": ("actor", "token_name"),
    "actor_type": ("actor", "type"),
    "raw_cf_ray_id": ("raw", "cf_ray_id"),
    "raw_method": ("raw", "method"),
    "raw_status_code": ("raw", "status_code"),
    "raw_uri": ("raw", "uri"),
    "resource_id": ("resource", "id"),
    "resource_product": ("resource", "product"),
    "resource_scope": ("resource", "scope"),
    "resource_type": ("resource", "type"),
    "zone_id": ("zone", "id"),
    "zone_name": ("zone", "name"),
}


def api_actor(token_id: str, token_name: str, kind: str) -> dict[str, Any]:
    return {"context": "api_token", "token_id": token_id, "token_name": token_name, "type": kind}


def dashboard_actor() -> dict[str, Any]:
    """A person in the dashboard: the portal can tell them from itself by this."""
    return {"context": "dash", "email": PERSON, "id": "5f1c0c3d9b5e4a7f8d2b6a9c1e3f5a7b", "type": "user"}


def record(
    db: sqlite3.Connection,
    *,
    actor: Mapping[str, Any],
    now: datetime,
    method: str,
    uri: str,
    status: int,
    ray: str,
    sent: object,
) -> None:
    """One write. `uri` is the whole path, with `/client/v4`; `sent` is the body, never with a private key."""
    family = next(((product, kind) for pattern, product, kind in FAMILIES if pattern.search(uri)), None)
    account, zone = _place(db, uri)
    if family is None or account is None:
        return
    item: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "account": {"id": account["id"], "name": account["name"]},
        "action": {
            "type": ACTIONS[method],
            "result": "success" if status < 400 else "failure",
            "time": microseconds(now),
            "description": f"{ACTIONS[method].capitalize()} {family[1].replace('_', ' ')}",
        },
        "actor": {"ip_address": "192.0.2.10", **actor},
        "raw": {"cf_ray_id": ray, "method": method, "status_code": status, "uri": uri, "user_agent": ""},
        "resource": {
            "id": uri.rpartition("/")[2],
            "product": family[0],
            "type": family[1],
            "scope": "zones" if zone else "accounts",
            "request": _safe(sent),
            "response": None,
        },
    }
    if zone:
        item["zone"] = {"id": zone["id"], "name": zone["name"]}
    values = (account["id"], now.timestamp(), json.dumps(item))
    added = db.execute("INSERT INTO audit_items (account_id, at, document) VALUES (?, ?, ?)", values)
    if (added.lastrowid or 0) % TIDY_EVERY == 0:
        db.execute("DELETE FROM audit_items WHERE position <= ?", ((added.lastrowid or 0) - KEPT,))


def list_items(call: Call) -> Reply:
    """Newest first unless `direction=asc`. A filter takes several values; `name.not` leaves them out."""
    limit = call.whole_number("limit", 100, 1, 1000)
    tests = _wanted(call)
    found: list[tuple[int, dict[str, Any]]] = []
    for row in _rows(call):
        item = json.loads(row["document"])
        if all(_passes(item, *test) for test in tests):
            found.append((row["position"], item))
        if len(found) > limit:
            break
    more = str(found[limit - 1][0]) if len(found) > limit else ""
    shown = [item for _, item in found[:limit]]
    return Reply(shown, result_info={"count": len(shown), "cursor": more, "cursors": {"after": more}})


def _rows(call: Call) -> sqlite3.Cursor:
    """The items between since and before that have spread, after the cursor."""
    since, before = _moment(call, "since"), _moment(call, "before")
    direction = call.first("direction", "desc")
    if direction not in ORDERS:
        raise errors.bad_value("direction must be asc or desc")
    start = call.whole_number("cursor", 0, 0, 10**9) if call.first("cursor") else 0
    spread = call.now.timestamp() - call.switches.audit_lag_s
    values = (call.params["account_id"], since, before, spread, start, start)
    return call.db.execute(IN_TIME + ORDERS[direction], values)


def _wanted(call: Call) -> list[tuple[tuple[str, ...], frozenset[str], bool]]:
    """(path in the item, values, whether they are wanted) for each filter. Raises ApiError on an unknown one."""
    found = []
    for name, given in call.query.items():
        plain, wanted = name.removesuffix(".not"), not name.endswith(".not")
        if plain in ("since", "before", "limit", "cursor", "direction"):
            continue
        if plain not in FILTERS:
            raise errors.bad_value(f"there is no filter {name}")
        found.append((FILTERS[plain], frozenset(part for value in given for part in value.split(",")), wanted))
    return found


def _passes(item: dict[str, Any], path: tuple[str, ...], values: frozenset[str], wanted: bool) -> bool:
    value: Any = item
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return (str(value) in values) is wanted


def _moment(call: Call, name: str) -> float:
    """A date, or an RFC 3339 time, as a Unix time. Raises ApiError when it is missing or neither."""
    text = call.first(name)
    if not text:
        raise errors.bad_value(f"{name} is required")
    try:
        moment = datetime.fromisoformat(text if len(text) > 10 else f"{text}T00:00:00")
    except ValueError:
        raise errors.bad_value(f"{name} must be a date or an RFC 3339 time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _place(db: sqlite3.Connection, uri: str) -> tuple[sqlite3.Row | None, sqlite3.Row | None]:
    """The account and the zone that a path is about."""
    at = re.search(r"/(accounts|zones)/([^/]+)", uri)
    zone = None
    account_id = at[2] if at else ""
    if at and at[1] == "zones":
        zone = db.execute("SELECT * FROM zones WHERE id = ?", (at[2],)).fetchone()
        account_id = zone["account_id"] if zone else ""
    return db.execute("SELECT * FROM accounts WHERE id = ?", (account_id,)).fetchone(), zone


def _safe(sent: object) -> object:
    return None if "PRIVATE KEY" in json.dumps(sent) else sent
