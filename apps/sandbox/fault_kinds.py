"""The faults that can be played on a call, with their fields and defaults. docs/sandbox.md describes each.

Three families: `INSTEAD` replaces the answer, `BODY` spoils the real one on its way out, `BEFORE` acts on the call
before it is decided. `applied` says whether a write takes effect all the same; in random mode a coin says so for the
faults in `TOSSED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.sandbox.switches import DEFAULTS, changed

INSTEAD: dict[str, dict[str, Any]] = {
    "status": {"status": 500, "body": "auto", "code": 10009, "message": "Internal server error", "headers": {}},
    "rate_limited": {"retry_after": "seconds", "seconds": 30, "body": "envelope", "code": 971},
    "not_success": {"status": 200, "code": 10009, "message": "Internal server error"},
    "text": {"text": "", "status": 200, "content_type": "application/json"},
    "timeout": {"seconds": 120.0},
    "reset": {},
    "close": {},
    "refuse": {"seconds": 5.0},
}
BODY: dict[str, dict[str, Any]] = {
    "trickle": {"bytes_per_s": 1},
    "truncated_json": {},
    "truncated_body": {},
    "length_too_large": {"size": 10},
    "length_too_small": {"size": 10},
    "chunked_cut": {},
    "huge": {"size": 64 * 1024 * 1024},
    "huge_length": {},
    "gzip_bomb": {"size": 64 * 1024 * 1024},
    "malformed_json": {},
    "empty_array": {},
    "null_body": {},
    "missing_result": {},
    "null_result": {},
    "duplicate_keys": {},
    "not_a_number": {},
    "wrong_types": {},
    "many_hostnames": {"count": 1_000_000},
    "altered": {"how": "dropped"},
    "page_repeats": {},
    "total_count_lies": {"by": 1},
    "headers": {"set": {}, "remove": []},
}
BEFORE: dict[str, dict[str, Any]] = {
    "delay": {"ms": 1000},
    "switches": {"set": {}},
    "hold": {"at": "before_apply"},
}
FIELDS = INSTEAD | BODY | BEFORE
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("hold", "at"): ("before_apply", "after_apply_before_reply", "mid_request_body"),
    ("altered", "how"): ("dropped", "added", "upper_case", "reordered"),
    ("status", "body"): ("auto", "envelope", "html", "null", "empty"),
    ("rate_limited", "body"): ("envelope", "null", "empty"),
}
# Faults that leave open whether a write took effect. A 429 never has one, and a readable 200 always does.
TOSSED = frozenset(
    (
        *("status", "not_success", "text", "timeout", "reset", "close"),
        *("truncated_json", "truncated_body", "length_too_large", "chunked_cut", "malformed_json"),
        *("empty_array", "null_body", "missing_result", "null_result", "not_a_number", "wrong_types"),
    )
)
MIXED: tuple[dict[str, Any], ...] = (
    {"fault": "status", "status": 500},
    {"fault": "status", "status": 502},
    {"fault": "status", "status": 520},
    {"fault": "rate_limited", "seconds": 1},
    {"fault": "timeout", "seconds": 60.0},
    {"fault": "reset"},
    {"fault": "truncated_json"},
    {"fault": "chunked_cut"},
    {"fault": "null_body"},
    {"fault": "delay", "ms": 300},
)


@dataclass(frozen=True)
class Fault:
    """One fault to play, with all its fields. `applied` None is the family's way: INSTEAD no, BODY and BEFORE yes."""

    kind: str
    fields: Mapping[str, Any]
    applied: bool | None

    @property
    def replaces(self) -> bool:
        return self.kind in INSTEAD

    def holds(self, at: str) -> bool:
        return self.kind == "hold" and self.fields["at"] == at


def fault_from(sent: object) -> Fault:
    """Read `{"fault": kind, "applied": bool?, field: value}`. Raises ValueError on whatever is not known."""
    if not isinstance(sent, dict) or sent.get("fault") not in FIELDS:
        raise ValueError(f"A fault is an object with one of these as its fault: {', '.join(FIELDS)}.")
    kind, applied = sent["fault"], sent.get("applied")
    if applied is not None and not isinstance(applied, bool):
        raise ValueError("applied is true or false.")
    if applied is not None and kind in BEFORE:
        raise ValueError(f"The fault {kind} leaves the call as it is: it takes no applied.")
    given = {name: value for name, value in sent.items() if name not in ("fault", "applied")}
    for name, value in given.items():
        _check(kind, name, value)
    return Fault(kind, FIELDS[kind] | given, applied)


def _check(kind: str, name: str, value: object) -> None:
    if name not in FIELDS[kind]:
        raise ValueError(f"The fault {kind} takes {', '.join(FIELDS[kind]) or 'no field'}, not {name!r}.")
    default = FIELDS[kind][name]
    fits = isinstance(value, (int, float)) if isinstance(default, float) else isinstance(value, type(default))
    if not fits or isinstance(value, bool):
        raise ValueError(f"{name} of the fault {kind} takes {type(default).__name__}, not {value!r}.")
    known = CHOICES.get((kind, name))
    if known and value not in known:
        raise ValueError(f"{name} of the fault {kind} takes one of {', '.join(known)}, not {value!r}.")
    if name == "status" and isinstance(value, int) and not 200 <= value <= 599:
        raise ValueError(f"status of the fault {kind} takes 200 to 599, not {value!r}.")
    if kind == "switches" and isinstance(value, dict):
        changed(DEFAULTS, value)
