"""API tokens: what they may do, and who they are. Only their SHA-256 is stored."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterable
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


@dataclass(frozen=True)
class Token:
    """`zones` is None for every zone of the account. An unknown token has an empty id."""

    id: str
    account_id: str
    kind: str
    name: str
    permissions: frozenset[str]
    zones: frozenset[str] | None
    revoked: bool

    @property
    def works(self) -> bool:
        return bool(self.id) and not self.revoked

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
) -> tuple[str, str]:
    """Returns (id, token). The token cannot be had again. Raises ValueError on an unknown kind or permission."""
    if kind not in KINDS:
        raise ValueError(f"A token is of kind {' or '.join(KINDS)}, not {kind!r}.")
    granted = sorted(Permission(permission).value for permission in permissions)
    token_id, token = new_hex_id(), secrets.token_urlsafe(30)
    seen = None if zones is None else json.dumps(sorted(zones))
    db.execute(
        "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)",
        (token_id, account_id, kind, name, digest_of(token), json.dumps(granted), seen, microseconds(now)),
    )
    return token_id, token


def find_token(db: sqlite3.Connection, token: str) -> Token:
    """The token's record, revoked or not; NOBODY when it is not known."""
    row = db.execute("SELECT * FROM tokens WHERE digest = ?", (digest_of(token),)).fetchone()
    return token_from(row) if row else NOBODY


def all_tokens(db: sqlite3.Connection) -> list[Token]:
    """Oldest first."""
    return [token_from(row) for row in db.execute("SELECT * FROM tokens ORDER BY rowid")]


def set_revoked(db: sqlite3.Connection, token_id: str, revoked: bool) -> bool:
    """Returns whether the token exists."""
    changed = db.execute("UPDATE tokens SET revoked = ? WHERE id = ?", (int(revoked), token_id))
    return changed.rowcount == 1


def token_from(row: sqlite3.Row) -> Token:
    zones = None if row["zones"] is None else frozenset(json.loads(row["zones"]))
    return Token(
        row["id"],
        row["account_id"],
        row["kind"],
        row["name"],
        frozenset(json.loads(row["permissions"])),
        zones,
        bool(row["revoked"]),
    )


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
