"""A believable account, once, into an empty store: three zones, an old CA that somebody uploaded by hand, hostnames
that nobody approved, and another team's rule.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.sandbox import association_store, certificates, ruleset_store, x509_text, zones
from apps.sandbox.rule_forms import build_rule
from apps.sandbox.store import Store
from apps.sandbox.switches import Switches
from apps.sandbox.tokens import create_token

ACCOUNT = "Northwind Production"
ZONES = ("northwind-pay.example", "northwind.example", "devices.northwind.example")
LEGACY_CA = "Legacy Partners Root 2023"
UNAPPROVED = {
    "northwind-pay.example": ("legacy.northwind-pay.example",),
    "northwind.example": ("edi.northwind.example", "old-api.northwind.example"),
}
OTHER_TEAMS_RULE = {
    "ref": "appsec-wp-login",
    "description": "AppSec: no WordPress sign-in here",
    "expression": '(http.request.uri.path contains "/wp-login")',
    "action": "block",
}


@dataclass(frozen=True)
class SeedResult:
    """`token` is in clear and cannot be had again. `zones` is name -> id."""

    account_id: str
    token_id: str
    token: str
    zones: dict[str, str]


def is_empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM accounts").fetchone() is None


def seed(store: Store) -> SeedResult | None:
    """Fill an empty store; None when it holds anything, which is then left alone."""
    now = store.clock()
    with store.transaction() as db:
        if not is_empty(db):
            return None
        account_id = zones.add_account(db, ACCOUNT, now)
        ids = {name: zones.add_zone(db, account_id, name, now) for name in ZONES}
        legacy_id = _add_certificates(db, account_id, now)
        for name, hostnames in UNAPPROVED.items():
            zone = db.execute("SELECT * FROM zones WHERE id = ?", (ids[name],)).fetchone()
            association_store.replace_list(db, zone, legacy_id, hostnames)
        ruleset = ruleset_store.Ruleset(ids["northwind.example"], ruleset_store.CUSTOM_RULES)
        written = now - timedelta(days=30)
        ruleset.rules = [build_rule(OTHER_TEAMS_RULE, "/rules/0", before=None, now=written)]
        ruleset_store.save(db, ruleset, Switches(), written)
        token_id, token = create_token(db, account_id=account_id, name="BYOCA Portal", now=now)
    return SeedResult(account_id, token_id, token, ids)


def _add_certificates(db: sqlite3.Connection, account_id: str, now: datetime) -> str:
    """The legacy CA, a leaf of the Workers team and a CA that Access manages; returns the id of the first."""
    legacy = _self_signed(LEGACY_CA, datetime(2023, 3, 1, tzinfo=UTC), years=10, ca=True)
    leaf = _self_signed("workers-origin-client", now - timedelta(days=40), years=2, ca=False)
    access = _self_signed("Access Managed CA", now - timedelta(days=200), years=5, ca=True)
    legacy_id = certificates.insert(db, account_id, legacy, name=LEGACY_CA, ca=True, now=now)
    certificates.insert(db, account_id, leaf, name="workers-origin-client", ca=False, now=now)
    certificates.insert(db, account_id, access, name="access-devices", ca=True, now=now, kind="access_managed")
    return legacy_id


def _self_signed(common_name: str, start: datetime, *, years: int, ca: bool) -> x509_text.Described:
    """The private key is thrown away: nothing here ever signs for this CA again."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Northwind"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365 * years))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return x509_text.describe(certificate.public_bytes(serialization.Encoding.PEM).decode())
