"""Account mTLS certificates: https://developers.cloudflare.com/api/resources/mtls_certificates/

There is no PUT and no PATCH: a certificate and its name never change.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

from apps.sandbox import errors, x509_text
from apps.sandbox.ids import microseconds, new_certificate_id
from apps.sandbox.wire import Call, Reply

PER_PAGE = 50


def list_certificates(call: Call) -> Reply:
    """All rows of the account, oldest first. Filters: type (repeated or with commas), ca, name."""
    types = {kind for value in call.query.get("type", []) for kind in value.split(",") if kind}
    found = [document_of(row) for row in rows_of(call.db, call.params["account_id"])]
    if types:
        found = [item for item in found if item["type"] in types]
    if call.first("ca") in ("true", "false"):
        found = [item for item in found if item["ca"] is (call.first("ca") == "true")]
    if call.first("name"):
        found = [item for item in found if item.get("name") == call.first("name")]
    info = {"page": 1, "per_page": PER_PAGE, "count": len(found), "total_count": len(found), "total_pages": 1}
    return Reply(found, result_info=info)


def create_certificate(call: Call) -> Reply:
    """Refuses in this order: form, PEM, CA and algorithm, duplicate, quota."""
    body = call.json_object()
    ca, text, name = body.get("ca"), body.get("certificates"), body.get("name")
    if not isinstance(ca, bool):
        raise errors.bad_value("ca must be true or false", pointer="/ca")
    if not isinstance(text, str) or not text.strip():
        raise errors.bad_value("certificates is required", pointer="/certificates")
    if name is not None and not isinstance(name, str):
        raise errors.bad_value("name must be a string", pointer="/name")
    described = x509_text.describe(text)
    account_id = call.params["account_id"]
    if ca and not described.all_cas:
        raise errors.certificate_not_a_ca()
    if ca and not described.signature_known:
        raise errors.signature_not_supported(described.signature)
    known = "SELECT 1 FROM certificates WHERE account_id = ? AND digest = ?"
    if call.db.execute(known, (account_id, described.digest)).fetchone():
        raise errors.certificate_exists()
    if ca and slots_used(call.db, account_id) >= call.switches.quota:
        raise errors.no_free_slot()
    certificate_id = insert(call.db, account_id, described, name=name, ca=ca, now=call.now)
    document = document_of(certificate_row(call.db, account_id, certificate_id))
    return Reply({**document, "updated_at": document["uploaded_on"]})


def get_certificate(call: Call) -> Reply:
    return Reply(document_of(_row(call)))


def delete_certificate(call: Call) -> Reply:
    """Refused while any zone has a hostname for it, and for managed rows. Answers the row that was deleted."""
    row = _row(call)
    if row["type"] != "custom":
        raise errors.authentication_failed()
    if _zones_using(call.db, row["id"]):
        raise errors.certificate_in_use()
    call.db.execute("DELETE FROM associations WHERE certificate_id = ?", (row["id"],))
    call.db.execute("DELETE FROM certificates WHERE id = ?", (row["id"],))
    return Reply(document_of(row))


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


def slots_used(db: sqlite3.Connection, account_id: str) -> int:
    """An assumption: only custom CAs count, not leaves and not managed rows."""
    counted = "SELECT count(*) FROM certificates WHERE account_id = ? AND ca = 1 AND type = 'custom'"
    return int(db.execute(counted, (account_id,)).fetchone()[0])


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
        " expires_on, uploaded_on) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(certificate_id, account_id, name, int(ca), kind, described.pem, described.digest),
            *(described.issuer, described.serial_number, described.signature, described.expires_on),
            microseconds(now),
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


def _row(call: Call) -> sqlite3.Row:
    return certificate_row(call.db, call.params["account_id"], call.params["certificate_id"])


def _zones_using(db: sqlite3.Connection, certificate_id: str) -> int:
    counted = "SELECT count(*) FROM associations WHERE certificate_id = ? AND hostnames <> '[]'"
    return int(db.execute(counted, (certificate_id,)).fetchone()[0])
