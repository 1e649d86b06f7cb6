"""Account mTLS certificates: https://developers.cloudflare.com/api/resources/mtls_certificates/

There is no PUT and no PATCH: a certificate and its name never change.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from apps.sandbox import association_store, errors, x509_text
from apps.sandbox.ids import microseconds, new_certificate_id, whole_seconds
from apps.sandbox.switches import DEFAULTS, Switches
from apps.sandbox.wire import Call, Reply, paged

PER_PAGE = 50


def list_certificates(call: Call) -> Reply:
    """All rows of the account, oldest first. Filters: type (repeated or with commas), ca, name."""
    types = {kind for value in call.query.get("type", []) for kind in value.split(",") if kind}
    found = _listed(call)
    if types:
        found = [item for item in found if item["type"] in types]
    if call.first("ca") in ("true", "false"):
        found = [item for item in found if item["ca"] is (call.first("ca") == "true")]
    if call.first("name"):
        found = [item for item in found if item.get("name") == call.first("name")]
    if not call.switches.type_shown:
        found = [{name: value for name, value in item.items() if name != "type"} for item in found]
    if call.switches.certificates_paged:
        return paged(
            found, call.whole_number("page", 1, 1, 10**6), call.whole_number("per_page", PER_PAGE, 5, PER_PAGE)
        )
    info = {"page": 1, "per_page": PER_PAGE, "count": len(found), "total_count": len(found), "total_pages": 1}
    return Reply(found, result_info=info)


def create_certificate(call: Call) -> Reply:
    """Refuses in this order: form, PEM, CA, algorithm and expiry, duplicate, quota."""
    body = call.json_object()
    ca, text, name = body.get("ca"), body.get("certificates"), body.get("name")
    if not isinstance(ca, bool):
        raise errors.bad_value("ca must be true or false", pointer="/ca")
    if not isinstance(text, str) or not text.strip():
        raise errors.bad_value("certificates is required", pointer="/certificates")
    if name is not None and not isinstance(name, str):
        raise errors.bad_value("name must be a string", pointer="/name")
    described = x509_text.describe(text, bad_pem_code=call.switches.bad_pem_code)
    account_id = call.params["account_id"]
    if ca:
        _refuse_bad_ca(described, call.switches, whole_seconds(call.now))
    known = "SELECT 1 FROM certificates WHERE account_id = ? AND digest = ?"
    if call.db.execute(known, (account_id, described.digest)).fetchone():
        raise errors.certificate_exists()
    counted = ca or call.switches.leaves_count
    needed = described.blocks if call.switches.chain_counts_each else 1
    if counted and slots_used(call.db, account_id, call.switches) + needed > call.switches.quota:
        raise errors.no_free_slot()
    stored = replace(described, pem=x509_text.stored_pem(described.pem, call.switches))
    certificate_id = insert(call.db, account_id, stored, name=name, ca=ca, now=call.now)
    document = document_of(certificate_row(call.db, account_id, certificate_id))
    return Reply({**document, "updated_at": document["uploaded_on"]})


def _refuse_bad_ca(described: x509_text.Described, switches: Switches, now: str) -> None:
    code = switches.refused_ca_code
    if not described.all_cas and not switches.leaf_as_ca:
        raise errors.certificate_not_a_ca(code)
    if not described.signature_known and not switches.any_signature:
        raise errors.signature_not_supported(described.signature, code)
    if switches.expired_ca_refused and described.expires_on < now:
        raise errors.certificate_expired(code)


def get_certificate(call: Call) -> Reply:
    """A deleted certificate is still answered while its deletion spreads."""
    gone = _spreading(call)
    return Reply(gone if gone else document_of(_row(call)))


def delete_certificate(call: Call) -> Reply:
    """Refused while any zone has a hostname for it or just had, and for managed rows. Answers the deleted row."""
    if _spreading(call):
        raise errors.certificate_deleted()
    row = _row(call)
    if row["type"] != "custom":
        raise errors.authentication_failed()
    cleared = association_store.cleared_at(call.db, row["id"])
    draining = cleared is not None and call.now.timestamp() - cleared < call.switches.delete_refused_s
    if _zones_using(call.db, row["id"]) or draining:
        raise errors.certificate_in_use(call.switches.in_use_status, call.switches.in_use_code)
    remove(call.db, row, call.now)
    return Reply(document_of(row))


def remove(db: sqlite3.Connection, row: sqlite3.Row, now: datetime) -> None:
    """Take a row and its lists out, without any check."""
    association_store.forget(db, certificate_id=row["id"])
    db.execute("DELETE FROM certificates WHERE id = ?", (row["id"],))
    document = json.dumps(document_of(row))
    values = (row["id"], row["account_id"], now.timestamp(), document)
    db.execute("INSERT INTO deleted_certificates VALUES (?, ?, ?, ?)", values)


def get_services(call: Call) -> Reply:
    """The services that use it, without hostnames. The service's name is an assumption."""
    row = _row(call)
    used = _zones_using(call.db, row["id"])
    return Reply([{"service": "api_shield", "status": "active"}] if used else [])


def rows_of(db: sqlite3.Connection, account_id: str) -> list[sqlite3.Row]:
    found = db.execute("SELECT * FROM certificates WHERE account_id = ? ORDER BY position", (account_id,))
    return found.fetchall()


def certificate_row(db: sqlite3.Connection, account_id: str, certificate_id: str) -> sqlite3.Row:
    """Raises ApiError 1472."""
    statement = "SELECT * FROM certificates WHERE account_id = ? AND id = ?"
    row: sqlite3.Row | None = db.execute(statement, (account_id, certificate_id)).fetchone()
    if row is None:
        raise errors.certificate_unknown()
    return row


def slots_used(db: sqlite3.Connection, account_id: str, switches: Switches = DEFAULTS) -> int:
    """By default, which is an assumption, custom CAs count once each: not leaves, not managed rows."""
    counted = "SELECT ca, type, blocks FROM certificates WHERE account_id = ?"
    return sum(
        (row["blocks"] if switches.chain_counts_each else 1)
        for row in db.execute(counted, (account_id,))
        if (row["ca"] or switches.leaves_count) and (row["type"] == "custom" or switches.managed_count)
    )


def insert(
    db: sqlite3.Connection,
    account_id: str,
    described: x509_text.Described,
    *,
    name: str | None,
    ca: bool,
    now: datetime,
    kind: str = "custom",
) -> str:
    """Store a row without any check; returns its id."""
    certificate_id = new_certificate_id()
    db.execute(
        "INSERT INTO certificates (id, account_id, name, ca, type, pem, digest, issuer, serial_number, signature,"
        " expires_on, uploaded_on, blocks) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(certificate_id, account_id, name, int(ca), kind, described.pem, described.digest),
            *(described.issuer, described.serial_number, described.signature, described.expires_on),
            *(microseconds(now), described.blocks),
        ),
    )
    return certificate_id


def document_of(row: sqlite3.Row) -> dict[str, Any]:
    """The certificate object; `name` is absent when none was given."""
    document = {
        "id": row["id"],
        "ca": bool(row["ca"]),
        "type": row["type"],
        "certificates": row["pem"],
        "issuer": row["issuer"],
        "serial_number": row["serial_number"],
        "signature": row["signature"],
        "expires_on": row["expires_on"],
        "uploaded_on": row["uploaded_on"],
    }
    return document if row["name"] is None else {**document, "name": row["name"]}


def _listed(call: Call) -> list[dict[str, Any]]:
    """Without rows that are too new to be seen, and with those whose deletion still spreads."""
    newest = microseconds(call.now - timedelta(seconds=call.switches.list_lag_s))
    rows = rows_of(call.db, call.params["account_id"])
    found = [document_of(row) for row in rows if not call.switches.list_lag_s or row["uploaded_on"] <= newest]
    since = call.now.timestamp() - call.switches.deleted_lag_s
    gone = "SELECT document FROM deleted_certificates WHERE account_id = ? AND at > ? ORDER BY at"
    return [*found, *(json.loads(row["document"]) for row in call.db.execute(gone, (call.params["account_id"], since)))]


def _spreading(call: Call) -> dict[str, Any] | None:
    """The row as it was, while its deletion has not reached every place."""
    since = call.now.timestamp() - call.switches.deleted_lag_s
    gone = "SELECT document FROM deleted_certificates WHERE account_id = ? AND id = ? AND at > ?"
    row = call.db.execute(gone, (call.params["account_id"], call.params["certificate_id"], since)).fetchone()
    document: dict[str, Any] | None = json.loads(row["document"]) if row else None
    return document


def _row(call: Call) -> sqlite3.Row:
    return certificate_row(call.db, call.params["account_id"], call.params["certificate_id"])


def _zones_using(db: sqlite3.Connection, certificate_id: str) -> int:
    counted = "SELECT count(*) FROM associations WHERE certificate_id = ? AND hostnames <> '[]'"
    return int(db.execute(counted, (certificate_id,)).fetchone()[0])
