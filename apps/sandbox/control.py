"""The control port under `/_sandbox/`: JSON for tests and scripts that play the world around the portal.

GET  state, requests?since=&origin=
POST switches {name: value}, tokens {revoked, id?} or {name, kind?, permissions?, zones?}, edit {zone,
     mtls_certificate_id, hostnames}, rules/add {zone, rule, position?}, rules/edit {zone, rule, changes},
     rules/delete {zone, rule}, accounts {name}, zones {name, account_id?, status?} or {name, remove: true}
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from apps.sandbox import dashboard, errors, request_log, zones
from apps.sandbox.errors import ApiError
from apps.sandbox.store import Store
from apps.sandbox.switches import set_switches
from apps.sandbox.tokens import all_tokens, create_token, set_revoked
from apps.sandbox.wire import Answer, failure

PREFIX = "/_sandbox/"
Body = dict[str, Any]


def answer(store: Store, method: str, path: str, query: str, body: bytes) -> Answer:
    """`path` is without PREFIX. Refusals are the API's envelope with status 400 or 404."""
    try:
        with store.transaction() as db:
            result = _read(db, path, query) if method == "GET" else _write(db, store.clock(), path, body)
    except ApiError as refusal:
        return failure(refusal)
    except (KeyError, TypeError, ValueError, sqlite3.IntegrityError) as refusal:
        return failure(errors.bad_value(f"{type(refusal).__name__}: {refusal}"))
    return Answer(200, json.dumps(result).encode())


def _read(db: sqlite3.Connection, path: str, query: str) -> Any:
    wanted = parse_qs(query)
    if path == "state":
        return dashboard.state(db)
    if path == "requests":
        since, origin = int(wanted.get("since", ["0"])[-1]), wanted.get("origin", ["api"])[-1]
        return {"requests": request_log.entries_since(db, since, origin=origin), "last_seq": request_log.last_seq(db)}
    raise errors.no_route(PREFIX + path)


def _write(db: sqlite3.Connection, now: datetime, path: str, body: bytes) -> Any:
    action = ACTIONS.get(path)
    if action is None:
        raise errors.no_route(PREFIX + path)
    sent = json.loads(body)
    if not isinstance(sent, dict):
        raise errors.bad_json()
    return action(db, now, sent)


def _switch(db: sqlite3.Connection, _now: datetime, sent: Body) -> Body:
    return asdict(set_switches(db, sent))


def _token(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    """Revoke or restore one token, the first when no id is given; or make a new one."""
    if "revoked" in sent:
        token_id = sent.get("id") or all_tokens(db)[0].id
        if not set_revoked(db, token_id, bool(sent["revoked"])):
            raise errors.no_route(f"/tokens/{token_id}")
        return {"id": token_id, "revoked": bool(sent["revoked"])}
    optional = {key: sent[key] for key in ("kind", "permissions") if key in sent}
    seen = None if sent.get("zones") is None else [dashboard.zone_by(db, zone)["id"] for zone in sent["zones"]]
    account_id = sent.get("account_id") or _first_account(db)
    token_id, token = create_token(db, account_id=account_id, name=sent["name"], now=now, zones=seen, **optional)
    return {"id": token_id, "token": token}


def _edit(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    kept = dashboard.edit_list(db, now, sent["zone"], sent["mtls_certificate_id"], sent["hostnames"])
    return {"hostnames": kept}


def _add_rule(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    return dashboard.add_rule(db, now, sent["zone"], sent["rule"], sent.get("position"))


def _edit_rule(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    return dashboard.edit_rule(db, now, sent["zone"], sent["rule"], sent["changes"])


def _delete_rule(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    return dashboard.delete_rule(db, now, sent["zone"], sent["rule"])


def _add_account(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    return {"id": zones.add_account(db, sent["name"], now)}


def _zone(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    if sent.get("remove"):
        zone_id = dashboard.zone_by(db, sent["name"])["id"]
        zones.remove_zone(db, zone_id)
        return {"id": zone_id}
    status = sent.get("status", "active")
    if status not in zones.STATUSES:
        raise errors.bad_value(f"status must be one of {', '.join(zones.STATUSES)}")
    account_id = sent.get("account_id") or _first_account(db)
    return {"id": zones.add_zone(db, account_id, sent["name"], now, status=status)}


def _first_account(db: sqlite3.Connection) -> str:
    row = db.execute("SELECT id FROM accounts ORDER BY rowid").fetchone()
    if row is None:
        raise errors.bad_value("there is no account yet")
    return str(row["id"])


ACTIONS: dict[str, Callable[[sqlite3.Connection, datetime, Body], Body]] = {
    "switches": _switch,
    "tokens": _token,
    "edit": _edit,
    "rules/add": _add_rule,
    "rules/edit": _edit_rule,
    "rules/delete": _delete_rule,
    "accounts": _add_account,
    "zones": _zone,
}
