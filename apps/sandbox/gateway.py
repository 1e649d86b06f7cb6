"""One API call from the door to the answer: fault, delay, outage, token, budget, route, permission, handler, log.

A fault may act before the decision, replace the answer, or spoil it on its way out; whether a write takes effect
under a fault is the fault's own business.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import traceback
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import parse_qs

from apps.sandbox import budget, call_log, errors, fault_answers, faults, ruleset_store
from apps.sandbox.budget import Allowance
from apps.sandbox.call_log import Outcome
from apps.sandbox.errors import ApiError
from apps.sandbox.fault_kinds import Fault
from apps.sandbox.holds import Decision, Holds
from apps.sandbox.ids import microseconds, new_ray
from apps.sandbox.incoming import Incoming
from apps.sandbox.routes import VERIFY, Route, authorise, find_route
from apps.sandbox.rule_forms import Rule
from apps.sandbox.store import Store, savepoint
from apps.sandbox.switches import Switches, changed, read_switches
from apps.sandbox.tokens import NOBODY, Token, find_token
from apps.sandbox.wire import Answer, Call, Delivery, Reply, failure, success

DOWN = b"<!DOCTYPE html><title>503</title><h1>Service Temporarily Unavailable</h1><p>cloudflare</p>\n"
UNAVAILABLE = Answer(503, DOWN, "text/html; charset=UTF-8")
DROPPED = Answer(0, b"", delivery=Delivery("reset"))


class Gateway:
    """Answers API calls. `stopping` ends a delay early; `holds` are the calls that wait for a driver."""

    def __init__(self, store: Store, stopping: threading.Event) -> None:
        self.store = store
        self.stopping = stopping
        self.holds = Holds()

    def hold_in_body(self, incoming: Incoming) -> bool:
        """Whether the rest of this body is to be read only when a driver says so. Uses up the rule."""
        with self.store.transaction() as db:
            token = find_token(db, incoming.token)
            return faults.take(db, _target(incoming, token), at_headers=True) is not None

    def park(self, at: str, incoming: Incoming) -> Decision:
        """Wait for the driver's decision about a call."""
        with self.store.transaction() as db:
            token_id = find_token(db, incoming.token).id
        return self.holds.park(
            at,
            method=incoming.method,
            path=incoming.path,
            query=incoming.query,
            body=incoming.body.decode(errors="replace"),
            token_id=token_id,
            peer_port=incoming.peer_port,
        )

    def answer(self, incoming: Incoming) -> Answer:
        started = replace(incoming, started_ns=incoming.started_ns or time.monotonic_ns())
        with self.store.transaction() as db:
            switches = read_switches(db)
            token = find_token(db, started.token)
            fault = faults.take(db, _target(started, token)) if started.decision is None else None
        if fault and fault.kind == "switches":
            switches = changed(switches, fault.fields["set"])
        self._delay(switches.latency_ms + (fault.fields["ms"] if fault and fault.kind == "delay" else 0))
        if fault and fault.holds("before_apply"):
            started = replace(started, decision=self.park("before_apply", started))
        answer = self._decide(started, switches, fault)
        if fault and fault.holds("after_apply_before_reply") and not self.park(fault.fields["at"], started).reply:
            self.store.later(call_log.NOT_SENT, (answer.seq,))
            return replace(DROPPED, seq=answer.seq)
        return answer

    def _delay(self, milliseconds: int) -> None:
        if milliseconds:
            self.stopping.wait(milliseconds / 1000)

    def _decide(self, incoming: Incoming, switches: Switches, fault: Fault | None) -> Answer:
        """The effect, the answer and the line in the log, in one transaction."""
        with self.store.transaction() as db:
            now = self.store.clock()
            token = find_token(db, incoming.token, now) if incoming.token else NOBODY
            allowance = budget.full(switches)
            if token.works and not switches.down:
                allowance = budget.spend(db, token.id, switches, now.timestamp())
            run = _Run(self.store, db, incoming, token, switches, allowance)
            outcome = run.outcome(fault)
            ray = new_ray()
            seq = call_log.record(db, incoming, token, outcome, fault, ray, now)
        headers = (*outcome.answer.headers, ("cf-ray", ray), *budget.headers(allowance, switches))
        answer = replace(outcome.answer, headers=headers, seq=seq)
        return fault_answers.spoiled(fault, answer, "") if fault and fault.kind == "headers" else answer


@dataclass
class _Run:
    """One call inside its transaction."""

    store: Store
    db: sqlite3.Connection
    incoming: Incoming
    token: Token
    switches: Switches
    allowance: Allowance

    def outcome(self, fault: Fault | None) -> Outcome:
        if self.switches.down:
            return Outcome(UNAVAILABLE)
        decision = self.incoming.decision
        if decision is not None and not decision.applied:
            return Outcome(UNAVAILABLE if decision.reply else DROPPED)
        real = self._real(fault)
        if decision is not None and not decision.reply:
            return replace(real, answer=DROPPED)
        if fault is None:
            return real
        if fault.replaces:
            return replace(real, answer=fault_answers.instead(fault, self.store.clock().timestamp()))
        if fault.kind == "headers":
            return real
        asked_page = parse_qs(self.incoming.query).get("page", [""])[-1]
        return replace(real, answer=fault_answers.spoiled(fault, real.answer, asked_page))

    def _real(self, fault: Fault | None) -> Outcome:
        """What happens without the fault; a fault that replaces the answer has no effect unless it says so."""
        if fault is not None and fault.replaces and not fault.applied:
            return Outcome(UNAVAILABLE)
        keep = fault is None or fault.applied is not False
        try:
            refused = self._admit()
            if refused is not None:
                return Outcome(refused)
            route, params = find_route(self.incoming.method, self.incoming.path)
            call = self._call(params, fault)
            authorise(route, call)
            reply, kept = _perform(route, call, keep=keep)
        except ApiError as refusal:
            return Outcome(failure(refusal))
        except Exception:
            traceback.print_exc()
            return Outcome(failure(errors.server_fault()))
        applied = kept and self.incoming.method != "GET"
        return Outcome(success(reply), applied, call.before, call.after if kept else call.before)

    def _call(self, params: dict[str, str], fault: Fault | None) -> Call:
        query = parse_qs(self.incoming.query, keep_blank_values=True)
        if fault is not None and fault.kind == "page_repeats":
            query["page"] = ["1"]
        method, path, body = self.incoming.method, self.incoming.path, self.incoming.body
        return Call(self.db, method, path, query, body, self.token, self.switches, self.store.clock(), params)

    def _admit(self) -> Answer | None:
        """The 429 when the budget is spent. Raises ApiError when the caller is not known or no longer works."""
        if not self.incoming.token:
            raise errors.bad_headers()
        verifying = VERIFY.fullmatch(self.incoming.path)
        if verifying and not self.token.known:
            raise errors.invalid_token()
        if not self.token.works and not verifying:
            raise errors.authentication_failed(self.switches.bad_token_status)
        now = self.store.clock()
        spread = timedelta(seconds=self.switches.token_spread_s)
        if spread and self.token.created_on > microseconds(now - spread):
            raise errors.token_not_yet_known()
        if self.allowance.refused:
            return budget.refusal(self.switches, self.allowance.reset_s, now.timestamp())
        return None


def _target(incoming: Incoming, token: Token) -> faults.Target:
    return faults.Target(incoming.method, incoming.path, incoming.query, incoming.body, token.id)


def _perform(route: Route, call: Call, *, keep: bool) -> tuple[Reply, bool]:
    """Run the handler so that a refusal, a dry run or `keep=False` leaves nothing; returns whether it was kept."""
    dry_run = False
    if route.dry and "dry_run" in call.query:
        if call.first("dry_run") not in ("true", "false"):
            raise errors.bad_value("dry_run must be true or false")
        dry_run = call.first("dry_run") == "true"
    kept = keep and not dry_run
    rules = route.dry
    if rules:
        call.before = _rules_of(call)
    with savepoint(call.db, keep=kept):
        reply = route.handler(call)
        if rules:
            call.after = _rules_of(call)
    return (replace(reply, result=None) if dry_run else reply), kept


def _rules_of(call: Call) -> list[Rule]:
    ruleset = ruleset_store.entry_point(call.db, call.params["zone_id"], ruleset_store.CUSTOM_RULES)
    return ruleset.rules if ruleset else []
