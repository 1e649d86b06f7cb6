"""The page's two verbs: show it, and act on one of its forms, then show it again by redirect."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from urllib.parse import parse_qs

from apps.sandbox import dashboard, faults, request_log
from apps.sandbox.errors import ApiError
from apps.sandbox.page import Notice, list_key, render, rule_key
from apps.sandbox.page_switches import LABELS, PRESETS, TARGETS
from apps.sandbox.store import Store
from apps.sandbox.switches import KINDS, set_switches
from apps.sandbox.tokens import change_token
from apps.sandbox.wire import Answer

HTML = "text/html; charset=utf-8"
SHOWN = 50
DONE = {
    "list": "The list is changed.",
    "rule": "The rule is changed.",
    "delete-rule": "The rule is deleted.",
    "down": "The switch is set.",
    "token": "The token is changed.",
    "latency": "The delay is set.",
    "profile": "The edge has its new behaviour.",
    "switches": "The switches are set.",
    "reset": "The switches are as they come.",
    "fault": "The fault waits for its call.",
    "clear-faults": "No fault waits any more.",
}
Fields = dict[str, str]


def show(store: Store, query: str = "") -> Answer:
    done = DONE.get(parse_qs(query).get("done", [""])[-1])
    return _page(store, Notice(done) if done else None)


def act(store: Store, body: bytes) -> Answer:
    """A refusal shows the page again with the text that was typed."""
    fields = {name: values[-1] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
    action = ACTIONS.get(fields.get("act", ""))
    if action is None:
        return _page(store, Notice("The page does not know this form. Load it again.", bad=True), status=400)
    try:
        with store.transaction() as db:
            action(db, store.clock(), fields)
    except ApiError as refusal:
        return _page(store, Notice(f"Not saved. {refusal.message}", bad=True), _draft(fields), refusal.status)
    except (KeyError, ValueError) as refusal:
        return _page(store, Notice(f"Not saved. {refusal}", bad=True), _draft(fields), 400)
    return Answer(303, b"", HTML, (("Location", f"/?done={fields['act']}"),))


def _page(store: Store, notice: Notice | None, drafts: Fields | None = None, status: int = 200) -> Answer:
    with store.transaction() as db:
        state, log = dashboard.state(db), request_log.newest(db, SHOWN)
    return Answer(status, render(state, log, notice=notice, drafts=drafts), HTML)


def _draft(fields: Fields) -> Fields:
    if fields["act"] == "list":
        return {list_key(fields.get("zone", ""), fields.get("certificate", "")): fields.get("hostnames", "")}
    if fields["act"] == "rule":
        return {rule_key(fields.get("zone", ""), fields.get("rule", "")): fields.get("expression", "")}
    return {}


def _save_list(db: sqlite3.Connection, now: datetime, fields: Fields) -> None:
    hostnames = fields["hostnames"].replace(",", " ").split()
    dashboard.edit_list(db, now, fields["zone"], fields["certificate"] or None, hostnames)


def _save_rule(db: sqlite3.Connection, now: datetime, fields: Fields) -> None:
    changes = {"expression": fields["expression"].strip(), "enabled": "enabled" in fields}
    dashboard.edit_rule(db, now, fields["zone"], fields["rule"], changes)


def _delete_rule(db: sqlite3.Connection, now: datetime, fields: Fields) -> None:
    dashboard.delete_rule(db, now, fields["zone"], fields["rule"])


def _set_down(db: sqlite3.Connection, _now: datetime, fields: Fields) -> None:
    set_switches(db, {"down": fields["value"] == "1"})


def _set_latency(db: sqlite3.Connection, _now: datetime, fields: Fields) -> None:
    text = fields["value"].strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 7:
        raise ValueError("The delay is a whole number of milliseconds.")
    set_switches(db, {"latency_ms": int(text)})


def _set_token(db: sqlite3.Connection, _now: datetime, fields: Fields) -> None:
    if not change_token(db, fields["id"], {"revoked": fields["value"] == "1"}):
        raise ValueError("This token does not exist any more.")


def _set_profile(db: sqlite3.Connection, _now: datetime, fields: Fields) -> None:
    set_switches(db, {"profile": fields["value"]})


def _save_switches(db: sqlite3.Connection, _now: datetime, fields: Fields) -> None:
    """Every switch that the form has; the others keep their value."""
    set_switches(db, {name: _value(name, text.strip()) for name, text in fields.items() if name in LABELS})


def _value(name: str, text: str) -> object:
    if KINDS[name] is bool:
        return text == "true"
    if KINDS[name] is str:
        return text
    if not (text.isascii() and text.isdigit()) or len(text) > 8:
        raise ValueError(f"{LABELS[name]} takes a whole number.")
    return int(text)


def _reset_switches(db: sqlite3.Connection, _now: datetime, _fields: Fields) -> None:
    set_switches(db, {"reset": True})


def _add_fault(db: sqlite3.Connection, _now: datetime, fields: Fields) -> None:
    times = None if fields["times"] == "ever" else int(fields["times"])
    match = {**TARGETS[fields["target"]][1], "times": times}
    faults.add(db, [{"match": match, "do": PRESETS[fields["fault"]][1]}])


def _clear_faults(db: sqlite3.Connection, _now: datetime, _fields: Fields) -> None:
    faults.clear(db)


ACTIONS: dict[str, Callable[[sqlite3.Connection, datetime, Fields], None]] = {
    "list": _save_list,
    "rule": _save_rule,
    "delete-rule": _delete_rule,
    "down": _set_down,
    "latency": _set_latency,
    "token": _set_token,
    "profile": _set_profile,
    "switches": _save_switches,
    "reset": _reset_switches,
    "fault": _add_fault,
    "clear-faults": _clear_faults,
}
