"""The control port under `/_sandbox/`: JSON for tests and scripts that play the world around the portal.

GET  state, switches, faults, requests?since=&origin=&limit=, holds?wait_s=&after=,
     client?host=&path=&method=&certificate=
POST holds/{id} {apply?, reply?}, client {host, path?, method?, certificate?, switches?}, and the changes of
     `control_actions`
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from apps.sandbox import dashboard, data_plane, errors, faults, request_log
from apps.sandbox.control_actions import ACTIONS
from apps.sandbox.errors import ApiError
from apps.sandbox.gateway import Gateway
from apps.sandbox.holds import Decision, Holds
from apps.sandbox.switches import changed, read_switches
from apps.sandbox.wire import Answer, failure

PREFIX = "/_sandbox/"
LONGEST_POLL_S = 60.0
Body = dict[str, Any]


def answer(gateway: Gateway, method: str, path: str, query: str, body: bytes) -> Answer:
    """`path` is without PREFIX. Refusals are the API's envelope with status 400 or 404."""
    wanted = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    store = gateway.store
    try:
        # Whoever waits for a hold must not keep the store from the calls that it waits for.
        if path.partition("/")[0] == "holds":
            result: Any = _holds(gateway.holds, method, path, wanted, body)
        else:
            with store.transaction() as db:
                now = store.clock()
                result = _read(db, now, path, wanted) if method == "GET" else _write(db, now, path, body)
    except ApiError as refusal:
        return failure(refusal)
    except (KeyError, TypeError, ValueError, AttributeError, sqlite3.IntegrityError) as refusal:
        return failure(errors.bad_value(f"{type(refusal).__name__}: {refusal}"))
    return Answer(200, json.dumps(result).encode())


def _read(db: sqlite3.Connection, now: datetime, path: str, wanted: dict[str, str]) -> Any:
    if path == "requests":
        return _requests(db, wanted)
    if path == "client":
        return _client(db, now, dict(wanted))
    reader = READERS.get(path)
    if reader is None:
        raise errors.no_route(PREFIX + path)
    return reader(db)


def _requests(db: sqlite3.Connection, wanted: dict[str, str]) -> Body:
    since, limit = int(wanted.get("since", "0")), int(wanted.get("limit", request_log.PAGE))
    if not 1 <= limit <= request_log.PAGE:
        raise ValueError(f"limit must be from 1 to {request_log.PAGE}")
    found = request_log.entries_since(db, since, origin=wanted.get("origin", "api"), limit=limit)
    return {"requests": found, "more": len(found) == limit, "last_seq": request_log.last_seq(db)}


def _client(db: sqlite3.Connection, now: datetime, sent: Body) -> Body:
    """`switches` are others for this one request."""
    fields = dict(sent)
    switches = changed(read_switches(db), fields.pop("switches", {}))
    return asdict(data_plane.judge(db, data_plane.Request(**fields), switches, now))


def _holds(holds: Holds, method: str, path: str, wanted: dict[str, str], body: bytes) -> Any:
    """The parked calls, or the decision about one of them."""
    _, _, name = path.partition("/")
    if method == "GET" and not name:
        wait_s, after = float(wanted.get("wait_s", "0")), int(wanted.get("after", "0"))
        return {"holds": holds.listed(min(wait_s, LONGEST_POLL_S), after)}
    sent = _object(body)
    apply, reply = sent.get("apply", True), sent.get("reply", "send")
    if not isinstance(apply, bool) or reply not in ("send", "drop"):
        raise ValueError('a hold takes apply true or false and reply "send" or "drop"')
    if not name.isdigit() or not holds.release(int(name), Decision(apply, reply == "send")):
        raise errors.no_route(PREFIX + path)
    return {"id": int(name), "apply": apply, "reply": reply}


def _write(db: sqlite3.Connection, now: datetime, path: str, body: bytes) -> Any:
    sent = _object(body)
    if path == "client":
        return _client(db, now, sent)
    action = ACTIONS.get(path)
    if action is None:
        raise errors.no_route(PREFIX + path)
    return action(db, now, sent)


def _object(body: bytes) -> Body:
    sent = json.loads(body)
    if not isinstance(sent, dict):
        raise errors.bad_json()
    return sent


READERS: dict[str, Callable[[sqlite3.Connection], Any]] = {
    "state": dashboard.state,
    "faults": faults.listed,
    "switches": lambda db: asdict(read_switches(db)),
}
