"""How the stand-in behaves where Cloudflare's behaviour varies, lags or is not known. All of it is persisted.

A new switch is a field in one of the groups here, plus the place that reads it: `gateway.py` for whole calls, a
handler for one behaviour, and a row in docs/sandbox.md. One call can be played with other switches: see `faults.py`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace


@dataclass(frozen=True)
class CallSwitches:
    """Read for every call. Names ending in `_ms` and `_s` are milliseconds and seconds."""

    down: bool = False
    latency_ms: int = 0
    rate_limit_on: bool = True
    rate_limit: int = 1200
    rate_window_s: int = 300
    rate_block_s: int = 300
    rate_code: int = 971
    rate_body: str = "envelope"
    retry_after: str = "seconds"
    ratelimit_headers: bool = True
    bad_token_status: int = 403
    token_spread_s: int = 0
    audit_lag_s: int = 0


@dataclass(frozen=True)
class CertificateSwitches:
    """`quota` counts the CA slots of an account. `refused_ca_code` 0 means a code for each reason."""

    quota: int = 5
    leaves_count: bool = False
    managed_count: bool = False
    chain_counts_each: bool = False
    pem_newline: str = "removed"
    chain_reversed: bool = False
    chain_deduplicated: bool = False
    expired_ca_refused: bool = False
    leaf_as_ca: bool = False
    any_signature: bool = False
    refused_ca_code: int = 0
    bad_pem_code: int = 1470
    type_shown: bool = True
    certificates_paged: bool = False
    list_lag_s: int = 0
    delete_refused_s: int = 0
    deleted_lag_s: int = 0
    in_use_status: int = 400
    in_use_code: int = 1473


@dataclass(frozen=True)
class ZoneSwitches:
    """Hostname associations, custom rules and the data plane. `max_hostnames` 0 means no limit."""

    association_lag_s: int = 0
    rules_lag_s: int = 0
    edge_lag_s: int = 0
    hostname_order: str = "kept"
    hostname_case: str = "lowered"
    trailing_dot: str = "refused"
    wildcards: bool = False
    apex_hosts: bool = True
    punycode: bool = True
    foreign_hosts: bool = False
    max_hostnames: int = 0
    unknown_certificate: str = "1472"
    omitted_hostnames: str = "refused"
    hostnames_stored: str = "as_sent"
    associations_entitled: bool = True
    rules_quota: int = 1000
    empty_rules_shown: bool = True
    unassociated_ca_verifies: bool = False
    chain_trusts: str = "all"
    host_keeps_port: bool = True


@dataclass(frozen=True)
class Switches(CallSwitches, CertificateSwitches, ZoneSwitches):
    """Every switch, with the defaults of an edge where a write is seen at once."""


LARGEST = 10_000_000
LOWEST = {"rate_limit": 1, "rate_window_s": 1, "rate_block_s": 1}
CHOICES: dict[str, tuple[object, ...]] = {
    "rate_body": ("envelope", "null", "empty"),
    "rate_code": (971, 10100, 10429),
    "retry_after": ("seconds", "date", "absent", "garbage"),
    "bad_token_status": (400, 401, 403),
    "pem_newline": ("removed", "kept", "added"),
    "in_use_status": (400, 409),
    "in_use_code": (1473, 1406, 1499),
    "refused_ca_code": (0, 1400, 1406, 1470),
    "bad_pem_code": (1470, 1400, 1406, 1411),
    "chain_trusts": ("all", "first", "last"),
    "hostname_order": ("kept", "sorted", "reversed"),
    "hostname_case": ("lowered", "kept", "refused"),
    "trailing_dot": ("refused", "stripped", "kept"),
    "unknown_certificate": ("1472", "1415", "accepted"),
    "omitted_hostnames": ("refused", "cleared"),
    "hostnames_stored": ("as_sent", "without_first", "with_another"),
}
# `realistic` is what third parties saw on live accounts; the default plays an instant edge.
PROFILES: dict[str, dict[str, object]] = {
    "instant": dict.fromkeys(
        (
            *("association_lag_s", "rules_lag_s", "list_lag_s", "delete_refused_s", "deleted_lag_s", "edge_lag_s"),
            "audit_lag_s",
        ),
        0,
    ),
    "realistic": {
        "association_lag_s": 3,
        "list_lag_s": 2,
        "delete_refused_s": 5,
        "deleted_lag_s": 3,
        "edge_lag_s": 4,
        "audit_lag_s": 60,
    },
}


def read_switches(db: sqlite3.Connection) -> Switches:
    """The switches as they are set; a stored name that is not known any more is left out."""
    row = db.execute("SELECT value FROM settings WHERE key = 'switches'").fetchone()
    stored = json.loads(row["value"]) if row else {}
    return Switches(**{name: value for name, value in stored.items() if name in KINDS})


def set_switches(db: sqlite3.Connection, changes: Mapping[str, object]) -> Switches:
    """Apply some switches and keep the others. `profile` names a group of values; `reset: true` starts from the
    defaults. Raises ValueError on an unknown name or a value of the wrong kind.
    """
    wanted = dict(changes)
    before = Switches() if wanted.pop("reset", False) is True else read_switches(db)
    profile = wanted.pop("profile", None)
    if profile is not None:
        if profile not in PROFILES:
            raise ValueError(f"There is no profile {profile!r}. Known: {', '.join(PROFILES)}.")
        wanted = {**PROFILES[str(profile)], **wanted}
    switches = changed(before, wanted)
    db.execute("INSERT OR REPLACE INTO settings VALUES ('switches', ?)", (json.dumps(asdict(switches)),))
    return switches


def changed(switches: Switches, changes: Mapping[str, object]) -> Switches:
    """The switches with some of them changed. Raises ValueError as `set_switches` does."""
    for name, value in changes.items():
        _check(name, value)
    return replace(switches, **changes)  # type: ignore[arg-type]


def _check(name: str, value: object) -> None:
    if name not in KINDS:
        raise ValueError(f"There is no switch {name!r}. Known: {', '.join(sorted(KINDS))}.")
    if type(value) is not KINDS[name]:
        raise ValueError(f"The switch {name!r} takes {KINDS[name].__name__}, not {value!r}.")
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise ValueError(f"The switch {name!r} takes one of {', '.join(map(str, CHOICES[name]))}, not {value!r}.")
    elif isinstance(value, int) and not LOWEST.get(name, 0) <= value <= LARGEST:
        raise ValueError(f"The switch {name!r} takes {LOWEST.get(name, 0)} to {LARGEST}, not {value!r}.")


KINDS: dict[str, type] = {field.name: type(field.default) for field in fields(Switches)}
DEFAULTS = Switches()
