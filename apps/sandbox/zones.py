"""Zones that a token sees, and what a token is: https://developers.cloudflare.com/api/resources/zones/"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Any

from apps.sandbox import association_store, errors
from apps.sandbox.ids import microseconds, new_hex_id
from apps.sandbox.tokens import Permission, Token
from apps.sandbox.wire import Call, Reply, paged

STATUSES = ("initializing", "pending", "active", "moved")
NAME_FILTERS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda name, text: text in name,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "not_equal": lambda name, text: name != text,
}
SELECT = "SELECT zones.*, accounts.name AS account_name FROM zones JOIN accounts ON accounts.id = account_id"
ACTIVE = ({"code": 10000, "message": "This API Token is valid and active", "type": None},)


def list_zones(call: Call) -> Reply:
    """Without Zone Read the list is empty, not refused: that is how Cloudflare answers."""
    page = call.whole_number("page", 1, 1, 10**6)
    per_page = call.whole_number("per_page", 20, 5, 50)
    rows = call.db.execute(f"{SELECT} ORDER BY zones.name").fetchall() if call.token.may(Permission.ZONE_READ) else []
    tests = _filters(call)
    combine = any if call.first("match") == "any" and tests else all
    found = [row for row in rows if call.token.sees_zone(row) and combine(test(row) for test in tests)]
    order = call.first("order", "name")
    if order not in ("name", "status", "account.id", "account.name"):
        raise errors.bad_value(f"order does not know {order!r}")
    found.sort(key=lambda row: str(row[order.replace("account.", "account_")]))
    if call.first("direction") == "desc":
        found.reverse()
    return paged([document_of(row) for row in found], page, per_page)


def get_zone(call: Call) -> Reply:
    row = call.db.execute(f"{SELECT} WHERE zones.id = ?", (call.params["zone_id"],)).fetchone()
    return Reply(document_of(row))


def verify_user_token(call: Call) -> Reply:
    """An account-owned token is not known here, however good it is."""
    if call.token.kind != "user":
        raise errors.invalid_token()
    return _verified(call.token)


def verify_account_token(call: Call) -> Reply:
    if call.token.kind != "account" or call.token.account_id != call.params["account_id"]:
        raise errors.invalid_token()
    return _verified(call.token)


def _verified(token: Token) -> Reply:
    """A token that is disabled or expired is still known here, and only here."""
    result = {"id": token.id, "status": token.status}
    if token.expires_on:
        result["expires_on"] = token.expires_on
    return Reply(result, messages=ACTIVE if token.status == "active" else ())


def add_account(db: sqlite3.Connection, name: str, now: datetime) -> str:
    account_id = new_hex_id()
    db.execute("INSERT INTO accounts VALUES (?, ?, ?)", (account_id, name, microseconds(now)))
    return account_id


def add_zone(
    db: sqlite3.Connection,
    account_id: str,
    name: str,
    now: datetime,
    *,
    status: str = "active",
    paused: bool = False,
) -> str:
    zone_id = new_hex_id()
    values = (zone_id, account_id, name.lower(), status, int(paused), microseconds(now))
    db.execute("INSERT INTO zones VALUES (?, ?, ?, ?, ?, ?)", values)
    return zone_id


def remove_zone(db: sqlite3.Connection, zone_id: str) -> None:
    """The zone leaves the account with everything in it."""
    association_store.forget(db, zone_id=zone_id)
    db.execute("DELETE FROM rulesets WHERE zone_id = ?", (zone_id,))
    db.execute("DELETE FROM zones WHERE id = ?", (zone_id,))


def document_of(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "status": row["status"],
        "paused": bool(row["paused"]),
        "type": "full",
        "development_mode": 0,
        "name_servers": ["ada.ns.sandbox.example", "bob.ns.sandbox.example"],
        "original_name_servers": None,
        "original_registrar": None,
        "original_dnshost": None,
        "created_on": row["created_on"],
        "modified_on": row["created_on"],
        "activated_on": row["created_on"],
        "meta": {
            "step": 2,
            "custom_certificate_quota": 1,
            "page_rule_quota": 125,
            "phishing_detected": False,
        },
        "owner": {"id": None, "type": "organization", "name": row["account_name"]},
        "account": {"id": row["account_id"], "name": row["account_name"]},
        "plan": {
            "id": "94f3b7b768b0458b56d2cac4fe5ec0f9",
            "name": "Enterprise Website",
            "legacy_id": "enterprise",
        },
    }


def _filters(call: Call) -> list[Callable[[sqlite3.Row], bool]]:
    tests: list[Callable[[sqlite3.Row], bool]] = []
    name = call.first("name").lower()
    if name:
        prefix, colon, text = name.partition(":")
        if colon and prefix not in NAME_FILTERS:
            raise errors.bad_value(f"name does not know the filter {prefix!r}")
        tests.append(
            (lambda row: NAME_FILTERS[prefix](row["name"], text)) if colon else (lambda row: row["name"] == name)
        )
    status = call.first("status")
    if status:
        if status not in STATUSES:
            raise errors.bad_value(f"status must be one of {', '.join(STATUSES)}")
        tests.append(lambda row: row["status"] == status)
    account_id, account_name = call.first("account.id"), call.first("account.name")
    if account_id:
        tests.append(lambda row: row["account_id"] == account_id)
    if account_name:
        tests.append(lambda row: row["account_name"] == account_name)
    return tests
