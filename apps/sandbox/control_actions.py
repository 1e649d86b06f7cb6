"""What the control port changes, by path below `/_sandbox/`.

switches {name: value, profile?, reset?} · faults {rules?, random?, replace?} · tokens {revoked|status|expires_on|
permissions, id?} or {name, kind?, permissions?, zones?, expires_on?} · edit {zone, mtls_certificate_id, hostnames}
· rules/add {zone, rule, position?} · rules/edit {zone, rule, changes} · rules/delete {zone, rule} · accounts {name}
· zones {name, account_id?, status?, paused?} or {name, remove: true} · certificates {name, certificates, ca?, type?}
· certificates/delete {id} · seed {zones, account_id?}
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from apps.sandbox import association_store, dashboard, errors, faults, zones
from apps.sandbox.switches import read_switches, set_switches
from apps.sandbox.tokens import all_tokens, change_token, create_token, valid_moment

Body = dict[str, Any]
Action = Callable[[sqlite3.Connection, datetime, Body], Any]
TOKEN_CHANGES = ("revoked", "status", "expires_on", "permissions")


def _switch(db: sqlite3.Connection, _now: datetime, sent: Body) -> Body:
    return asdict(set_switches(db, sent))


def _faults(db: sqlite3.Connection, _now: datetime, sent: Body) -> Body:
    """Append to the script; `replace: true` clears it and the random mode first."""
    unknown = set(sent) - {"rules", "random", "replace"}
    if unknown:
        raise ValueError(f"faults takes rules, random and replace, not {', '.join(sorted(unknown))}")
    if sent.get("replace"):
        faults.clear(db)
    faults.add(db, sent.get("rules", []))
    if "random" in sent:
        faults.set_random(db, sent["random"])
    return faults.listed(db)


def _token(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    """Make a token when there is a name; otherwise change one, the first when no id is given."""
    if "name" not in sent:
        changes = {name: sent[name] for name in TOKEN_CHANGES if name in sent}
        token_id = sent.get("id") or all_tokens(db)[0].id
        if not change_token(db, token_id, changes):
            raise errors.no_route(f"/tokens/{token_id}")
        return {"id": token_id, **changes}
    optional = {key: sent[key] for key in ("kind", "permissions") if key in sent}
    seen = None if sent.get("zones") is None else [dashboard.zone_by(db, zone)["id"] for zone in sent["zones"]]
    token_id, token = create_token(
        db,
        account_id=sent.get("account_id") or _first_account(db),
        name=sent["name"],
        now=now,
        zones=seen,
        expires_on=valid_moment(sent.get("expires_on")),
        **optional,
    )
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


def _add_certificate(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    return dashboard.add_certificate(
        db,
        now,
        sent.get("account_id") or _first_account(db),
        name=sent["name"],
        pem=sent["certificates"],
        ca=bool(sent.get("ca", True)),
        kind=sent.get("type", "custom"),
    )


def _delete_certificate(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    return dashboard.delete_certificate(db, now, sent["id"])


def _add_account(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    return {"id": zones.add_account(db, sent["name"], now)}


def _zone(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    if sent.get("remove"):
        return {"id": dashboard.remove_zone(db, now, sent["name"])}
    return {"id": _add_zone(db, now, sent.get("account_id") or _first_account(db), sent)}


def _seed(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    """Many zones at once, each a name or {name, status?, paused?, lists?: {certificate id: hostnames}}.

    A zone that exists keeps its id and gets the lists. Nothing of this is in any log: it was always there.
    """
    account_id = sent.get("account_id") or _first_account(db)
    asked: list[Body] = [{"name": zone} if isinstance(zone, str) else zone for zone in sent["zones"]]
    known = {row["name"]: row["id"] for row in db.execute("SELECT id, name FROM zones")}
    found = {zone["name"]: known.get(zone["name"]) or _add_zone(db, now, account_id, zone) for zone in asked}
    switches = read_switches(db)
    for zone in asked:
        row = dashboard.zone_by(db, found[zone["name"]])
        for certificate_id, hostnames in zone.get("lists", {}).items():
            association_store.replace_list(db, row, certificate_id, hostnames, switches)
    return {"zones": found}


def _add_zone(db: sqlite3.Connection, now: datetime, account_id: str, zone: Body) -> str:
    status = zone.get("status", "active")
    if status not in zones.STATUSES:
        raise errors.bad_value(f"status must be one of {', '.join(zones.STATUSES)}")
    return zones.add_zone(db, account_id, zone["name"], now, status=status, paused=bool(zone.get("paused")))


def _first_account(db: sqlite3.Connection) -> str:
    row = db.execute("SELECT id FROM accounts ORDER BY rowid").fetchone()
    if row is None:
        raise errors.bad_value("there is no account yet")
    return str(row["id"])


ACTIONS: dict[str, Action] = {
    "switches": _switch,
    "faults": _faults,
    "tokens": _token,
    "edit": _edit,
    "rules/add": _add_rule,
    "rules/edit": _edit_rule,
    "rules/delete": _delete_rule,
    "certificates": _add_certificate,
    "certificates/delete": _delete_certificate,
    "accounts": _add_account,
    "zones": _zone,
    "seed": _seed,
}
