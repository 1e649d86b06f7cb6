"""Would this client be let in? Hostname associations and custom rules, judged for one request.

An association makes the edge ask for a certificate; only a rule refuses. What Cloudflare never stated is a switch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509

from apps.sandbox import association_store, client_certificates, expressions, ruleset_store
from apps.sandbox.association_store import MANAGED
from apps.sandbox.client_certificates import Verdict
from apps.sandbox.expression_values import NotPlayed
from apps.sandbox.rule_forms import Rule
from apps.sandbox.switches import Switches

REFUSING = ("block", "challenge", "js_challenge", "managed_challenge")
NO_ZONE = "No zone here holds this hostname."
ADMITTED = "No rule refuses this request."


@dataclass(frozen=True)
class Request:
    """`certificate` is PEM, the client's own first, then intermediates; empty for a client that has none."""

    host: str
    path: str = "/"
    method: str = "GET"
    certificate: str = ""


@dataclass(frozen=True)
class Judgement:
    """`status` is None when no zone holds the host. `ca` is the id of the CA that verified the client."""

    status: int | None
    certificate_asked: bool = False
    presented: bool = False
    verified: bool = False
    ca: str | None = None
    rule: str | None = None
    why: str = ADMITTED
    logged: list[str] = field(default_factory=list)
    not_evaluated: list[str] = field(default_factory=list)


def judge(db: sqlite3.Connection, request: Request, switches: Switches, now: datetime) -> Judgement:
    """Raises ValueError when the certificate cannot be read."""
    host = request.host.lower().rstrip(".")
    name, _, port = host.partition(":")
    zones = {row["name"]: row for row in db.execute("SELECT * FROM zones")}
    zone = zones.get(association_store.zone_of(name, zones))
    if zone is None:
        return Judgement(None, why=NO_ZONE)
    cas = _cas_asking(db, zone["id"], name, now.timestamp() - switches.edge_lag_s)
    chain = client_certificates.read(request.certificate) if request.certificate and cas else []
    trusted = _trusted(db, zone["account_id"], None if switches.unassociated_ca_verifies else cas, switches)
    verdict = client_certificates.verify(chain, trusted, now)
    facts = {
        "http.host": host if port and switches.host_keeps_port else name,
        "http.request.method": request.method,
        "http.request.uri.path": request.path.partition("?")[0],
        "http.request.uri": request.path,
        "http.request.uri.query": request.path.partition("?")[2],
        "http.request.full_uri": f"https://{host}{request.path}",
        "cf.zone.name": zone["name"],
        "ip.src": "192.0.2.1",
        "ssl": True,
        **client_certificates.facts(chain, verdict),
    }
    return _by_rules(db, zone["id"], facts, asked=bool(cas), verdict=verdict)


def _cas_asking(db: sqlite3.Connection, zone_id: str, hostname: str, moment: float) -> list[str]:
    """Ids of the CAs whose list in this zone holds the hostname, most recently uploaded first."""
    rows = db.execute(
        "SELECT associations.certificate_id FROM associations LEFT JOIN certificates ON id = certificate_id"
        " WHERE zone_id = ? ORDER BY position DESC",
        (zone_id,),
    ).fetchall()
    ids = [str(row["certificate_id"]) for row in rows]
    wildcard = "*." + hostname.partition(".")[2]
    return [
        certificate_id
        for certificate_id in ids
        if {hostname, wildcard} & set(association_store.hostnames_at(db, zone_id, certificate_id, moment))
    ]


# Which blocks of an uploaded chain, as it is kept, a client's path may end at.
ANCHORS = {"all": slice(None), "first": slice(0, 1), "last": slice(-1, None)}


def _trusted(
    db: sqlite3.Connection, account_id: str, ids: list[str] | None, switches: Switches
) -> dict[str, list[x509.Certificate]]:
    """CA id -> its certificates; `ids` None for every CA of the account. The Managed CA's keys are not here."""
    anchors = ANCHORS[switches.chain_trusts]
    rows = {
        row["id"]: row["pem"]
        for row in db.execute(
            "SELECT id, pem FROM certificates WHERE account_id = ? AND ca = 1 ORDER BY position DESC", (account_id,)
        )
    }
    wanted = [certificate_id for certificate_id in ids if certificate_id != MANAGED] if ids is not None else list(rows)
    return {each: client_certificates.read(rows[each])[anchors] for each in wanted if each in rows}


def _by_rules(
    db: sqlite3.Connection, zone_id: str, facts: Mapping[str, Any], *, asked: bool, verdict: Verdict
) -> Judgement:
    """The first rule that refuses, or that skips the rest, ends the walk."""
    ruleset = ruleset_store.entry_point(db, zone_id, ruleset_store.CUSTOM_RULES)
    status, rule_ref, why = 200, None, ADMITTED
    logged: list[str] = []
    unread: list[str] = []
    for rule in ruleset.rules if ruleset else ():
        try:
            matches = rule["enabled"] and expressions.read(rule["expression"])(facts)
        except NotPlayed as gap:
            unread.append(f"{rule['ref']}: {gap}")
            continue
        if not matches:
            continue
        if rule["action"] in REFUSING:
            status, rule_ref, why = _status(rule), rule["ref"], f"The rule {rule['ref']} refuses this request."
            break
        if rule["action"] == "skip":
            rule_ref, why = rule["ref"], f"The rule {rule['ref']} skips the rules after it."
            break
        logged.append(rule["ref"])
    return Judgement(status, asked, verdict.presented, verdict.verified, verdict.ca, rule_ref, why, logged, unread)


def _status(rule: Rule) -> int:
    response = (rule.get("action_parameters") or {}).get("response") or {}
    return int(response.get("status_code", 403))
