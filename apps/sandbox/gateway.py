"""One API call from the door to the answer: delay, outage, token, budget, route, permission, handler, log.

The stages are functions of their own, so that a fault can be put before the effect or after it.
"""

from __future__ import annotations

import sqlite3
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from apps.sandbox import budget, errors, request_log
from apps.sandbox.budget import Allowance
from apps.sandbox.errors import ApiError
from apps.sandbox.ids import new_ray
from apps.sandbox.routes import VERIFY, Route, authorise, find_route
from apps.sandbox.store import Store, savepoint
from apps.sandbox.switches import Switches, read_switches
from apps.sandbox.tokens import NOBODY, Token, find_token
from apps.sandbox.wire import Answer, Call, Reply, failure, success

PREFIX = "/client/v4"
DOWN = b"<!DOCTYPE html><title>503</title><h1>Service Temporarily Unavailable</h1><p>cloudflare</p>\n"


@dataclass(frozen=True)
class Incoming:
    """A request as it came. `path` is without PREFIX and without the query."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Gateway:
    """Answers API calls. `stopping` ends a delay early."""

    def __init__(self, store: Store, stopping: threading.Event) -> None:
        self.store = store
        self.stopping = stopping

    def answer(self, incoming: Incoming) -> Answer:
        self._delay()
        with self.store.transaction() as db:
            switches = read_switches(db)
            token = _identify(db, incoming)
            violations: list[str] = []
            allowance = budget.full(switches)
            if switches.down:
                answer = Answer(503, DOWN, "text/html; charset=UTF-8")
            else:
                if token.works:
                    allowance = budget.spend(db, token.id, switches, self.store.clock().timestamp())
                answer = self._decide(db, incoming, token, switches, allowance, violations)
            ray = new_ray()
            self._log(db, incoming, answer, token, violations, ray)
        limits = budget.headers(allowance, switches)
        return replace(answer, headers=(*answer.headers, ("cf-ray", ray), *limits))

    def _delay(self) -> None:
        with self.store.transaction() as db:
            latency_ms = read_switches(db).latency_ms
        if latency_ms:
            self.stopping.wait(latency_ms / 1000)

    def _decide(
        self,
        db: sqlite3.Connection,
        incoming: Incoming,
        token: Token,
        switches: Switches,
        allowance: Allowance,
        violations: list[str],
    ) -> Answer:
        try:
            _admit(incoming, token, allowance)
            route, params = find_route(incoming.method, incoming.path)
            query = parse_qs(incoming.query, keep_blank_values=True)
            call = Call(
                db,
                incoming.method,
                incoming.path,
                query,
                incoming.body,
                token,
                switches,
                self.store.clock(),
                params,
                violations,
            )
            authorise(route, call)
            return success(_perform(route, call))
        except ApiError as refusal:
            return failure(refusal)
        except Exception:
            traceback.print_exc()
            return failure(errors.server_fault())

    def _log(
        self,
        db: sqlite3.Connection,
        incoming: Incoming,
        answer: Answer,
        token: Token,
        violations: list[str],
        ray: str,
    ) -> None:
        entry = request_log.Entry(
            at=self.store.clock(),
            method=incoming.method,
            path=PREFIX + incoming.path,
            query=incoming.query,
            body=incoming.body.decode(errors="replace") or None,
            status=answer.status,
            token_id=token.id,
            violation="; ".join(violations) or None,
            ray=ray,
        )
        request_log.record(db, entry)


def _identify(db: sqlite3.Connection, incoming: Incoming) -> Token:
    scheme, _, value = incoming.headers.get("authorization", "").partition(" ")
    return find_token(db, value.strip()) if scheme.lower() == "bearer" and value.strip() else NOBODY


def _admit(incoming: Incoming, token: Token, allowance: Allowance) -> None:
    """Raises ApiError when the caller is not known, is revoked, or has spent its budget."""
    scheme, _, value = incoming.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        raise errors.bad_headers()
    if not token.works:
        verifying = VERIFY.fullmatch(incoming.path)
        raise errors.invalid_token() if verifying else errors.authentication_failed()
    if allowance.refused:
        raise errors.too_many_requests()


def _perform(route: Route, call: Call) -> Reply:
    """Run the handler so that a refusal or a dry run leaves nothing behind."""
    dry_run = False
    if route.dry and "dry_run" in call.query:
        if call.first("dry_run") not in ("true", "false"):
            raise errors.bad_value("dry_run must be true or false")
        dry_run = call.first("dry_run") == "true"
    with savepoint(call.db, keep=not dry_run):
        reply = route.handler(call)
    return replace(reply, result=None) if dry_run else reply
