"""Hostname associations: one list per (zone, CA), replaced as a whole.

https://developers.cloudflare.com/ssl/client-certificates/byo-ca/
A call without `mtls_certificate_id` means the list of the Cloudflare Managed CA. It is kept, apart from the others,
and the call is recorded as a violation: a portal for uploaded CAs never means that list.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence

from apps.sandbox import errors
from apps.sandbox.certificates import certificate_row
from apps.sandbox.wire import Call, Reply

MANAGED = ""
NO_ID = "hostname_associations without mtls_certificate_id addresses the Managed CA"
HOSTNAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{1,63}", re.ASCII)


def get_associations(call: Call) -> Reply:
    certificate_id = call.first("mtls_certificate_id")
    zone = _zone(call)
    if certificate_id:
        certificate_row(call.db, zone["account_id"], certificate_id)
    else:
        call.violations.append(NO_ID)
    return Reply({"hostnames": hostnames_of(call.db, zone["id"], certificate_id)})


def put_associations(call: Call) -> Reply:
    """The id counts in the body only, never in the query."""
    body = call.json_object()
    certificate_id, hostnames = body.get("mtls_certificate_id"), body.get("hostnames")
    if certificate_id is None:
        call.violations.append(NO_ID)
        certificate_id = MANAGED
    elif not isinstance(certificate_id, str) or not certificate_id:
        raise errors.bad_value("mtls_certificate_id must be an id", pointer="/mtls_certificate_id")
    if not isinstance(hostnames, list) or not all(isinstance(name, str) for name in hostnames):
        raise errors.bad_value("hostnames must be a list of names", pointer="/hostnames")
    return Reply({"hostnames": replace_list(call.db, _zone(call), certificate_id, hostnames)})


def hostnames_of(db: sqlite3.Connection, zone_id: str, certificate_id: str) -> list[str]:
    statement = "SELECT hostnames FROM associations WHERE zone_id = ? AND certificate_id = ?"
    row = db.execute(statement, (zone_id, certificate_id)).fetchone()
    found: list[str] = json.loads(row["hostnames"]) if row else []
    return found


def replace_list(db: sqlite3.Connection, zone: sqlite3.Row, certificate_id: str, hostnames: Sequence[str]) -> list[str]:
    """Check every hostname, then store the list, in lower case and without repeats. Raises ApiError."""
    if certificate_id != MANAGED:
        certificate_row(db, zone["account_id"], certificate_id)
    names = [row["name"] for row in db.execute("SELECT name FROM zones")]
    kept: dict[str, None] = {}
    for position, raw in enumerate(hostnames):
        hostname = raw.lower()
        why = _refusal(hostname, zone["name"], names)
        if why:
            raise errors.hostname_refused(raw, why, position)
        kept[hostname] = None
    values = (zone["id"], certificate_id, json.dumps(list(kept)))
    db.execute("INSERT OR REPLACE INTO associations VALUES (?, ?, ?)", values)
    return list(kept)


def longest_zone(hostname: str, names: Sequence[str]) -> str:
    """The zone that holds a hostname: the longest name that is its suffix, or nothing."""
    holders = [name for name in names if hostname == name or hostname.endswith(f".{name}")]
    return max(holders, key=len, default="")


def _refusal(hostname: str, zone_name: str, names: Sequence[str]) -> str:
    if "*" in hostname:
        return "wildcards are not allowed"
    if not HOSTNAME.fullmatch(hostname):
        return "this is not a fully qualified hostname"
    if longest_zone(hostname, names) != zone_name:
        return f"hostnames must belong to the zone {zone_name}"
    return ""


def _zone(call: Call) -> sqlite3.Row:
    row: sqlite3.Row = call.db.execute("SELECT * FROM zones WHERE id = ?", (call.params["zone_id"],)).fetchone()
    return row
