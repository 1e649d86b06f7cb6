"""How the stand-in misbehaves on demand, and the limits that differ between plans. All of it is persisted.

A new switch is a field here plus the place that reads it: `gateway.py` for whole calls, a handler for one behaviour.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace


@dataclass(frozen=True)
class Switches:
    """`quota` counts CA slots of an account, `rules_quota` custom rules of a zone's phase."""

    down: bool = False
    latency_ms: int = 0
    quota: int = 5
    rules_quota: int = 1000
    rate_limit_on: bool = True
    rate_limit: int = 1200
    rate_window_s: int = 300


LARGEST = 10_000_000
LOWEST = {"quota": 0, "latency_ms": 0, "rules_quota": 0, "rate_limit": 1, "rate_window_s": 1}


def read_switches(db: sqlite3.Connection) -> Switches:
    row = db.execute("SELECT value FROM settings WHERE key = 'switches'").fetchone()
    return Switches(**json.loads(row["value"])) if row else Switches()


def set_switches(db: sqlite3.Connection, changes: Mapping[str, object]) -> Switches:
    """Apply some switches and keep the others. Raises ValueError on an unknown name or a value of the wrong kind."""
    kinds = {field.name: type(field.default) for field in fields(Switches)}
    for name, value in changes.items():
        if name not in kinds:
            raise ValueError(f"There is no switch {name!r}. Known: {', '.join(sorted(kinds))}.")
        if type(value) is not kinds[name]:
            raise ValueError(f"The switch {name!r} takes {kinds[name].__name__}, not {value!r}.")
        if isinstance(value, int) and not LOWEST.get(name, 0) <= value <= LARGEST:
            raise ValueError(f"The switch {name!r} takes {LOWEST.get(name, 0)} to {LARGEST}, not {value!r}.")
    switches = replace(read_switches(db), **changes)  # type: ignore[arg-type]
    db.execute("INSERT OR REPLACE INTO settings VALUES ('switches', ?)", (json.dumps(asdict(switches)),))
    return switches
