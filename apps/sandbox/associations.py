"""Hostname associations: one list per (zone, CA), replaced as a whole.

https://developers.cloudflare.com/ssl/client-certificates/byo-ca/
A call without `mtls_certificate_id` means the list of the Cloudflare Managed CA. It is kept, apart from the others,
and the call is recorded as a violation: a portal for uploaded CAs never means that list.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from apps.sandbox import errors
from apps.sandbox.association_store import MANAGED, hostnames_at, hostnames_of, replace_list
from apps.sandbox.switches import Switches
from apps.sandbox.wire import Call, Reply

ORDERS: dict[str, Callable[[list[str]], list[str]]] = {
    "kept": list,
    "sorted": sorted,
    "reversed": lambda names: names[::-1],
}


def get_associations(call: Call) -> Reply:
    """The list as it was `association_lag_s` ago."""
    certificate_id = call.first("mtls_certificate_id")
    zone = _zone(call)
    if certificate_id:
        _known(call.db, zone, certificate_id, call.switches)
    moment = call.now.timestamp() - call.switches.association_lag_s
    if call.switches.association_lag_s:
        return _reply(call, hostnames_at(call.db, zone["id"], certificate_id, moment))
    return _reply(call, hostnames_of(call.db, zone["id"], certificate_id))


def put_associations(call: Call) -> Reply:
    """The id counts in the body only, never in the query. Answers what was stored, without any lag."""
    body = call.json_object()
    zone = _zone(call)
    certificate_id, hostnames = body.get("mtls_certificate_id"), _hostnames(body, call.switches)
    if certificate_id is None:
        certificate_id = MANAGED
    elif not isinstance(certificate_id, str) or not certificate_id:
        raise errors.bad_value("mtls_certificate_id must be an id", pointer="/mtls_certificate_id")
    if certificate_id != MANAGED:
        _known(call.db, zone, certificate_id, call.switches)
    call.before = hostnames_of(call.db, zone["id"], certificate_id)
    hostnames = _kept(hostnames, zone, call.switches)
    call.after = replace_list(call.db, zone, certificate_id, hostnames, call.switches, call.now.timestamp())
    return _reply(call, call.after)


def _hostnames(body: dict[str, Any], switches: Switches) -> list[str]:
    hostnames = body.get("hostnames")
    if hostnames is None and switches.omitted_hostnames == "cleared":
        return []
    if not isinstance(hostnames, list) or not all(isinstance(name, str) for name in hostnames):
        raise errors.bad_value("hostnames must be a list of names", pointer="/hostnames")
    return hostnames


def _kept(hostnames: list[str], zone: sqlite3.Row, switches: Switches) -> list[str]:
    """What an edge stores that does not do as it is told."""
    if switches.hostnames_stored == "without_first":
        return hostnames[1:]
    if switches.hostnames_stored == "with_another":
        return [*hostnames, f"stored-by-itself.{zone['name']}"]
    return hostnames


def _known(db: sqlite3.Connection, zone: sqlite3.Row, certificate_id: str, switches: Switches) -> None:
    """Raises ApiError for an id that the account does not have, in the form that the switch chooses."""
    known = "SELECT 1 FROM certificates WHERE account_id = ? AND id = ?"
    if switches.unknown_certificate == "accepted" or db.execute(known, (zone["account_id"], certificate_id)).fetchone():
        return
    if switches.unknown_certificate == "1415":
        raise errors.certificate_invalid()
    raise errors.certificate_unknown()


def _reply(call: Call, hostnames: list[str]) -> Reply:
    return Reply({"hostnames": ORDERS[call.switches.hostname_order](hostnames)})


def _zone(call: Call) -> sqlite3.Row:
    """Raises ApiError 403 when the zone's plan does not have the feature."""
    if not call.switches.associations_entitled:
        raise errors.not_entitled()
    row: sqlite3.Row = call.db.execute("SELECT * FROM zones WHERE id = ?", (call.params["zone_id"],)).fetchone()
    return row
