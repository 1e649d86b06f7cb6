"""What people had decided at any instant, from the audit log alone, and what of it may have been reached already."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.faults.model.calls import History
from tests.faults.model.rule_text import NONE, STRICTNESS, actions

# A call that is on its way when something is decided may still arrive.
IN_FLIGHT = timedelta(seconds=6)
# What ends an approval that was not reached. Outdated and withdrawn are also said of requests that nobody approved.
VOIDING = {"request:outdated", "request:withdrawn", "request:cancelled", "request:failed"}
COVERING = {"cover", "adopt"}

Event = dict[str, Any]


@dataclass
class Word:
    """What one decision says. One that is not `sure` was taken back when a part of it may have been reached."""

    source: str
    word: str
    sure: bool = True


@dataclass
class Stack:
    """The decisions about one thing, the last on top, and which words held from when on."""

    base: str
    layers: list[Word] = field(default_factory=list)
    _turns: list[tuple[datetime, frozenset[str]]] = field(default_factory=list)

    def push(self, at: datetime, source: str, word: str, *, sure: bool = True) -> None:
        self.layers.append(Word(source, word, sure))
        self._turn(at)

    def void(self, at: datetime, source: str, *, reached: bool) -> None:
        """The decision is taken back: the one below holds again, and it too as far as it may have been reached."""
        for layer in self.layers:
            layer.sure = layer.sure and (layer.source != source or not reached)
        if not reached:
            self.layers = [layer for layer in self.layers if layer.source != source]
        self._turn(at)

    def clear(self, at: datetime) -> None:
        self.layers = []
        self._turn(at)

    @property
    def now(self) -> frozenset[str]:
        found = set()
        for layer in reversed(self.layers):
            found.add(layer.word)
            if layer.sure:
                return frozenset(found)
        return frozenset(found | {self.base})

    def around(self, at: datetime) -> set[str]:
        """What held when a call at `at` was made or decided on."""
        times = [time for time, _ in self._turns]
        now, before = bisect_right(times, at), bisect_right(times, at - IN_FLIGHT)
        return {
            word
            for index in range(before, now + 1)
            for word in (self._turns[index - 1][1] if index else frozenset({self.base}))
        }

    def _turn(self, at: datetime) -> None:
        self._turns.append((at, self.now))


@dataclass
class Asked:
    """A request as it was asked for, and when it was approved."""

    kind: str
    ca: str
    mode: str
    hostnames: list[str]
    approved_at: datetime | None = None


class Intent:
    """Replays the audit log. `history` tells what an approval may have reached before it was taken back."""

    def __init__(self, events: list[Event], history: History) -> None:
        self.events = events
        self.history = history
        self.fingerprints: dict[str, str] = {}
        self.stops: list[tuple[datetime, datetime | None, Event]] = []
        self.requests: dict[str, Asked] = {}
        self._prints: dict[str, str] = {}
        self._pairs: dict[tuple[str, str], Stack] = {}
        self._modes: dict[str, Stack] = {}
        # The portal keeps what a failed request wanted, for a retry: whether it counts as covered is not certain.
        self._kept: set[tuple[str, str]] = set()
        for event in events:
            self._replay(event)

    def words(self, ca_id: str, hostname: str, at: datetime) -> set[str]:
        """`approved`, `released` or nothing, for a hostname under a CA by its Cloudflare id."""
        return self._pair(self.fingerprints.get(ca_id, ""), hostname).around(at)

    def modes(self, hostname: str, at: datetime) -> set[str]:
        """`verify` (no rule), `log` or `block`."""
        return self._mode(hostname).around(at)

    def mode_now(self, hostname: str) -> frozenset[str]:
        return self._mode(hostname).now

    def words_now(self) -> dict[tuple[str, str], frozenset[str]]:
        """(Fingerprint, hostname) -> what holds at the end of the log."""
        return {key: stack.now for key, stack in self._pairs.items()}

    def ids_of(self, fingerprint: str) -> list[str]:
        return [ca_id for ca_id, known in self.fingerprints.items() if known == fingerprint]

    def _pair(self, ca: str, hostname: str) -> Stack:
        return self._pairs.setdefault((ca, hostname), Stack(""))

    def _mode(self, hostname: str) -> Stack:
        return self._modes.setdefault(hostname, Stack(NONE))

    def _replay(self, event: Event) -> None:
        action, subject, after = event["action"], event["subject_id"], event["after"] or {}
        if action in {"ca:admitted", "ca:adopted"}:
            self._prints[subject] = after["fingerprint"]
        if after.get("cloudflare_id") and subject in self._prints:
            self.fingerprints[after["cloudflare_id"]] = self._prints[subject]
        elif action == "request:created":
            self.requests[subject] = Asked(after["kind"], after["ca"], after.get("mode", NONE), event["hostnames"])
        elif event["subject_type"] == "request" and subject in self.requests:
            self._decide(event, self.requests[subject])
        elif action in {"break_glass:used", "break_glass:returned"}:
            self._break_glass(event)
        elif action == "writes:stopped":
            self.stops.append((at_of(event), None, event))
        elif action == "writes:resumed":
            self._resume(event)

    def _decide(self, event: Event, request: Asked) -> None:
        action, at, source = event["action"], at_of(event), event["subject_id"]
        if action in {"request:approved", "request:retried"}:
            request.approved_at = at
            # A retry leaves to others what a later request decided.
            for name in event["hostnames"]:
                self._approve(at, source, request, name)
        elif action in VOIDING and request.approved_at is not None:
            for name in request.hostnames:
                self._void(at, source, request, name)
                if action == "request:failed":
                    self._kept.add((request.ca, name))
            request.approved_at = None
        elif action == "request:completed" and request.kind == "uncover":
            for name in event["hostnames"]:
                self._pair(request.ca, name).clear(at)

    def _approve(self, at: datetime, source: str, request: Asked, name: str) -> None:
        pair = self._pair(request.ca, name)
        if request.kind in COVERING:
            self._approve_mode(at, source, request, name)
            pair.push(at, source, "approved")
        elif request.kind == "uncover":
            pair.push(at, source, "released")
            if not any(who != request.ca and "approved" in self._pair(who, name).now for who, _ in self._about(name)):
                self._mode(name).push(at, source, NONE)

    def _approve_mode(self, at: datetime, source: str, request: Asked, name: str) -> None:
        """A second CA never weakens what the first was approved with; the same CA again may."""
        covered, stack = self._pair(request.ca, name).now, self._mode(name)
        certain = (request.ca, name) not in self._kept
        self._kept.discard((request.ca, name))
        if not (certain and covered == {"approved"}):
            stack.push(at, source, max({*stack.now, request.mode}, key=lambda mode: STRICTNESS[mode]))
        if "approved" in covered or not certain:
            stack.push(at, source, request.mode, sure=certain and covered == {"approved"})

    def _void(self, at: datetime, source: str, request: Asked, name: str) -> None:
        since = request.approved_at or at
        wanted = request.kind in COVERING
        listed = self.history.was_listed(self.ids_of(request.ca), name, since, at)
        self._pair(request.ca, name).void(at, source, reached=wanted in listed)
        stack = self._mode(name)
        modes = {layer.word for layer in stack.layers if layer.source == source}
        stack.void(at, source, reached=bool(modes & self._shown(name, since, at)))

    def _shown(self, name: str, since: datetime, until: datetime) -> set[str]:
        """What rules of ours did with the hostname between two instants."""
        found, zone = set(), self.history.zone_of(name)
        for zone_id in (key for key, known in self.history.zones.items() if known == zone):
            last = NONE
            for call in self.history.rule_changes(zone_id):
                if call.at > until:
                    break
                if call.at >= since:
                    found.add(last)
                last = actions(call.row["after"]).get(name, NONE)
            found.add(last)
        return found

    def _break_glass(self, event: Event) -> None:
        """Block to log without an approver, and back to what was approved."""
        for name in event["hostnames"]:
            if event["action"] == "break_glass:used":
                self._mode(name).push(at_of(event), "break_glass", "log")
            else:
                self._mode(name).void(at_of(event), "break_glass", reached=False)

    def _about(self, name: str) -> list[tuple[str, str]]:
        return [key for key in self._pairs if key[1] == name]

    def _resume(self, event: Event) -> None:
        for index, (since, until, stop) in enumerate(self.stops):
            if until is None and stop["subject_id"] == event["subject_id"]:
                self.stops[index] = (since, at_of(event), stop)


def at_of(event: Event) -> datetime:
    return datetime.fromisoformat(event["at"])
