"""API tokens: what they may do, and who they are. Only their SHA-256 is stored."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from apps.sandbox.ids import microseconds, new_hex_id


class Permission(StrEnum):
    """Cloudflare's permission groups, for the calls that exist here. Write includes Read."""

    ACCOUNT_SETTINGS_READ = "account:settings:read"
    ACCOUNT_SSL_READ = "account:ssl_and_certificates:read"
    ACCOUNT_SSL_WRITE = "account:ssl_and_certificates:write"
    ZONE_READ = "zone:zone:read"
    ZONE_SSL_READ = "zone:ssl_and_certificates:read"
    ZONE_SSL_WRITE = "zone:ssl_and_certificates:write"
    ZONE_WAF_READ = "zone:waf:read"
    ZONE_WAF_WRITE = "zone:waf:write"


ALL_PERMISSIONS = tuple(Permission)
KINDS = ("account", "user")
STATUSES = ("active", "disabled", "expired")


@dataclass(frozen=True)
class Token:
    """`zones` is None for every zone of the account. An unknown token has no id. `status` is as of the reading."""

    id: str
    account_id: str
    kind: str
    name: str
    permissions: frozenset[str]
    zones: frozenset[str] | None
    revoked: bool
    status: str = "active"
    expires_on: str | None = None
    created_on: str = ""

    @property
    def known(self) -> bool:
        return bool(self.id) and not self.revoked

    @property
    def works(self) -> bool:
        return self.known and self.status == "active"

    def may(self, permission: Permission) -> bool:
        name = permission.value
        written = name.removesuffix(":read") + ":write" if name.endswith(":read") else name
        return name in self.permissions or written in self.permissions

    def sees_zone(self, zone: sqlite3.Row) -> bool:
        return zone["account_id"] == self.account_id and (self.zones is None or zone["id"] in self.zones)


NOBODY = Token("", "", "account", "", frozenset(), frozenset(), revoked=False)


def create_token(
    db: sqlite3.Connection,
    *,
    account_id: str,
    name: str,
    now: datetime,
    kind: str = "account",
    permissions: Iterable[str] = ALL_PERMISSIONS,
    zones: Iterable[str] | None = None,
    expires_on: str | None = None,
) -> tuple[str, str]:
    """Returns (id, token). The token cannot be had again. Raises ValueError on an unknown kind or permission."""
    if kind not in KINDS:
        raise ValueError(f"A token is of kind {' or '.join(KINDS)}, not {kind!r}.")
    granted = sorted(Permission(permission).value for permission in permissions)
    token_id, token = new_hex_id(), secrets.token_urlsafe(30)
    seen = None if zones is None else json.dumps(sorted(zones))
    db.execute(
        "INSERT INTO tokens (id, account_id, kind, name, digest, permissions, zones, created_on, expires_on)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (token_id, account_id, kind, name, digest_of(token), json.dumps(granted), seen, microseconds(now), expires_on),
    )
    return token_id, token


def find_token(db: sqlite3.Connection, token: str, now: datetime | None = None) -> Token:
    """The token's record, revoked, expired or not; NOBODY when it is not known. `now` None: as if it never expired."""
    row = db.execute("SELECT * FROM tokens WHERE digest = ?", (digest_of(token),)).fetchone()
    return token_from(row, now) if row else NOBODY


def all_tokens(db: sqlite3.Connection, now: datetime | None = None) -> list[Token]:
    """Oldest first."""
    return [token_from(row, now) for row in db.execute("SELECT * FROM tokens ORDER BY rowid")]


def change_token(db: sqlite3.Connection, token_id: str, changes: Mapping[str, object]) -> bool:
    """Set some of revoked, status, expires_on, permissions. Returns whether the token exists. Raises ValueError."""
    row = db.execute("SELECT * FROM tokens WHERE id = ?", (token_id,)).fetchone()
    if row is None:
        return False
    unknown = set(changes) - {"revoked", "status", "expires_on", "permissions"}
    status = changes.get("status", row["status"])
    if unknown or status not in STATUSES:
        raise ValueError(f"A token takes revoked, expires_on, permissions and a status of {', '.join(STATUSES)}.")
    permissions = row["permissions"]
    if "permissions" in changes:
        permissions = json.dumps(sorted(Permission(item).value for item in changes["permissions"]))  # type: ignore[attr-defined]
    expires_on = valid_moment(changes.get("expires_on", row["expires_on"]))
    db.execute(
        "UPDATE tokens SET revoked = ?, status = ?, expires_on = ?, permissions = ? WHERE id = ?",
        (
            *(int(bool(changes.get("revoked", row["revoked"]))), status),
            *(expires_on, permissions, token_id),
        ),
    )
    return True


def valid_moment(text: object) -> str | None:
    """An RFC 3339 time with its zone, or None. Raises ValueError."""
    if text is None:
        return None
    if not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("A token's expires_on is an RFC 3339 time with its zone.")
    return text


def token_from(row: sqlite3.Row, now: datetime | None = None) -> Token:
    zones = None if row["zones"] is None else frozenset(json.loads(row["zones"]))
    expires_on = row["expires_on"]
    expired = now is not None and expires_on is not None and datetime.fromisoformat(expires_on) <= now
    return Token(
        row["id"],
        row["account_id"],
        row["kind"],
        row["name"],
        frozenset(json.loads(row["permissions"])),
        zones,
        bool(row["revoked"]),
        "expired" if expired else row["status"],
        expires_on,
        row["created_on"],
    )


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
