"""Hostname lists as they are kept: the newest of each (zone, CA), and the earlier ones for whoever reads with a lag."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Sequence

from apps.sandbox import errors
from apps.sandbox.switches import DEFAULTS, Switches

MANAGED = ""
SETTLED = 0.0
REMEMBERED_S = 600
HOSTNAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{1,63}", re.ASCII)


def hostnames_of(db: sqlite3.Connection, zone_id: str, certificate_id: str) -> list[str]:
    """The list as it is."""
    statement = "SELECT hostnames FROM associations WHERE zone_id = ? AND certificate_id = ?"
    row = db.execute(statement, (zone_id, certificate_id)).fetchone()
    found: list[str] = json.loads(row["hostnames"]) if row else []
    return found


def hostnames_at(db: sqlite3.Connection, zone_id: str, certificate_id: str, moment: float) -> list[str]:
    """The list as it was at a Unix time, up to REMEMBERED_S ago."""
    row = db.execute(
        "SELECT hostnames FROM association_versions WHERE zone_id = ? AND certificate_id = ? AND at <= ?"
        " ORDER BY number DESC LIMIT 1",
        (zone_id, certificate_id, moment),
    ).fetchone()
    found: list[str] = json.loads(row["hostnames"]) if row else []
    return found


def replace_list(
    db: sqlite3.Connection,
    zone: sqlite3.Row,
    certificate_id: str,
    hostnames: Sequence[str],
    switches: Switches = DEFAULTS,
    at: float = SETTLED,
) -> list[str]:
    """Check every hostname, then store the list without repeats. Whether the CA exists is the caller's business.

    `at` is the Unix time of the change; the default is long ago, so that no reader lags behind it. Raises ApiError.
    """
    names = frozenset(row["name"] for row in db.execute("SELECT name FROM zones"))
    kept: dict[str, None] = {}
    for position, raw in enumerate(hostnames):
        hostname = normalised(raw, switches)
        why = _refusal(hostname, zone["name"], names, switches)
        if why:
            raise errors.hostname_refused(raw, why, position)
        kept[hostname] = None
    if switches.max_hostnames and len(kept) > switches.max_hostnames:
        raise errors.bad_value(f"hostnames takes at most {switches.max_hostnames} names", pointer="/hostnames")
    text = json.dumps(list(kept))
    db.execute("INSERT OR REPLACE INTO associations VALUES (?, ?, ?)", (zone["id"], certificate_id, text))
    _remember(db, zone["id"], certificate_id, text, at)
    return list(kept)


def cleared_at(db: sqlite3.Connection, certificate_id: str) -> float | None:
    """When the CA last lost a list that held names, or None."""
    row = db.execute(
        "SELECT max(at) FROM association_versions AS cleared"
        " WHERE certificate_id = ?1 AND hostnames = '[]' AND EXISTS ("
        "SELECT 1 FROM association_versions WHERE certificate_id = ?1 AND zone_id = cleared.zone_id"
        " AND number < cleared.number AND hostnames <> '[]')",
        (certificate_id,),
    ).fetchone()
    return None if row[0] is None else float(row[0])


def forget(db: sqlite3.Connection, *, certificate_id: str | None = None, zone_id: str | None = None) -> None:
    """Drop every list of a CA, or of a zone."""
    for table in ("associations", "association_versions"):
        db.execute(f"DELETE FROM {table} WHERE certificate_id = ? OR zone_id = ?", (certificate_id, zone_id))  # noqa: S608


def zone_of(hostname: str, names: Collection[str]) -> str:
    """The zone that holds a hostname: the longest name that is its suffix, or nothing."""
    rest = hostname
    while rest and rest not in names:
        _, _, rest = rest.partition(".")
    return rest


def normalised(hostname: str, switches: Switches) -> str:
    if switches.trailing_dot == "stripped":
        hostname = hostname.removesuffix(".")
    return hostname.lower() if switches.hostname_case == "lowered" else hostname


def _refusal(hostname: str, zone_name: str, names: Collection[str], switches: Switches) -> str:
    if switches.hostname_case == "refused" and hostname != hostname.lower():
        return "hostnames must be in lower case"
    plain = hostname.lower()
    if switches.trailing_dot == "kept":
        plain = plain.removesuffix(".")
    if "*" in plain:
        if not switches.wildcards:
            return "wildcards are not allowed"
        plain = plain.removeprefix("*.")
    if not HOSTNAME.fullmatch(plain):
        return "this is not a fully qualified hostname"
    if plain == zone_name and "*" not in hostname and not switches.apex_hosts:
        return "the name of the zone itself is not allowed"
    if not switches.punycode and any(label.startswith("xn--") for label in plain.split(".")):
        return "international names are not allowed"
    if zone_of(plain, names) != zone_name and not switches.foreign_hosts:
        return f"hostnames must belong to the zone {zone_name}"
    return ""


def _remember(db: sqlite3.Connection, zone_id: str, certificate_id: str, text: str, at: float) -> None:
    pair = (zone_id, certificate_id)
    db.execute(
        "INSERT INTO association_versions (zone_id, certificate_id, at, hostnames) VALUES (?, ?, ?, ?)",
        (*pair, at, text),
    )
    of_pair = "FROM association_versions WHERE zone_id = ? AND certificate_id = ?"
    db.execute(
        f"DELETE {of_pair} AND number < (SELECT max(number) {of_pair} AND at <= ?)",
        (*pair, *pair, at - REMEMBERED_S),
    )
