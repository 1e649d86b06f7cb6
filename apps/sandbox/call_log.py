"""What is written down about one API call: its line in the request log, and its item in Cloudflare's audit log."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.sandbox import audit_log, request_log, violations
from apps.sandbox.fault_kinds import Fault
from apps.sandbox.incoming import PREFIX, Incoming
from apps.sandbox.tokens import Token
from apps.sandbox.wire import Answer

MID_BODY = "hold"
NOT_SENT = "UPDATE requests SET status = 0 WHERE seq = ?"


@dataclass(frozen=True)
class Outcome:
    """The answer, whether a write took effect, and what it changed."""

    answer: Answer
    applied: bool = False
    before: list[Any] | None = None
    after: list[Any] | None = None


def record(
    db: sqlite3.Connection,
    incoming: Incoming,
    token: Token,
    outcome: Outcome,
    fault: Fault | None,
    ray: str,
    now: datetime,
) -> int:
    """Returns the seq of the line."""
    method, path, body = incoming.method, incoming.path, incoming.body
    found = violations.found_in(method, path, incoming.query, body)
    if outcome.applied:
        kind = "account" if token.kind == "account" else "user"
        actor = audit_log.api_actor(token.id, token.name, kind)
        status = outcome.answer.status or 200
        sent = _document(body)
        audit_log.record(db, actor=actor, now=now, method=method, uri=PREFIX + path, status=status, ray=ray, sent=sent)
    entry = request_log.Entry(
        at=now,
        method=method,
        path=PREFIX + path,
        query=incoming.query,
        body=body.decode(errors="replace") or None,
        status=outcome.answer.status,
        token_id=token.id,
        violation="; ".join(found) or None,
        ray=ray,
        started_ns=incoming.started_ns,
        peer_port=incoming.peer_port,
        applied=outcome.applied,
        before=outcome.before,
        after=outcome.after,
        fault=fault.kind if fault else MID_BODY if incoming.decision else None,
    )
    return request_log.record(db, entry)


def _document(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
