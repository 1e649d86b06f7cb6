"""One change on its way, for tests that kill or stop its worker: what is parked where, and how it must end."""

from __future__ import annotations

import itertools
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.faults.driver import LIST_PATH, Driver
from tests.portal_process import wait_for

ZONE = "northwind.example"
NAMES = itertools.count(1)
# Nothing is proved by this time; it lets whoever would take over do so.
LONGER_THAN_A_LEASE_S = 8.0


@dataclass(frozen=True)
class Kind:
    """One kind of write: by which call it is made, for what sort of request."""

    method: str
    path: str
    mode: str
    request: str = "cover"

    @property
    def is_of_rules(self) -> bool:
        return self.path != LIST_PATH


# What is tried at Cloudflare (`dry_run`) before it is sent is no write.
SENT = "^(?!.*dry_run)"
KINDS = {
    "list": Kind("PUT", LIST_PATH, "verify"),
    "rule": Kind("POST", "/rulesets$", "log"),
    "append": Kind("POST", "/rules$", "log"),
    "edit": Kind("PATCH", "/rules/", "log"),
    "remove": Kind("PUT", LIST_PATH, "verify", "uncover"),
    "delete": Kind("DELETE", "/rules/", "verify", "uncover"),
}


@dataclass
class Push:
    """One change on its way: a list of hostnames, or a rule. `wanted` is the list that it has to leave behind."""

    driver: Driver
    ca: dict[str, Any]
    what: str
    zone: str
    hostname: str
    row: dict[str, Any]
    since: int
    wanted: list[str]
    foreign: list[dict[str, Any]]

    @property
    def kind(self) -> Kind:
        return KINDS[self.what]

    @property
    def write(self) -> dict[str, str]:
        return {"method": self.kind.method, "path": self.kind.path, "query": SENT, "zone": self.zone}

    @property
    def read(self) -> dict[str, str]:
        return {"method": "GET", "path": "entrypoint" if self.kind.is_of_rules else LIST_PATH, "zone": self.zone}

    def park(self, call: str, at: str) -> dict[str, Any]:
        """Approve, and return the call once it is parked."""
        edge = self.driver.edge
        if call != "verify":
            edge.hold(at, **(self.write if call == "write" else self.read))
            self.driver.approve(self.row)
            return edge.held(wait_s=60)
        edge.hold("after_apply_before_reply", **self.write)
        self.driver.approve(self.row)
        written = edge.held(wait_s=60)
        edge.hold(at, **self.read)
        edge.release(written)
        return edge.held(wait_s=60, after=written["id"])

    def converged(self) -> None:
        """Without help: done, at the edge once, nothing else touched, no second differing write of any kind."""
        self.driver.done(self.row)
        assert self.driver.at_edge(self.zone, self.ca) == self.wanted
        puts = self.driver.whole(self.driver.puts(self.zone, self.since))
        assert {tuple(sorted(row["sent"]["hostnames"])) for row in puts} <= {tuple(self.wanted)}
        assert {row["sent"]["mtls_certificate_id"] for row in puts} <= {self.ca["cloudflare_id"]}
        assert changes(puts) == 1, "one list was replaced, once"
        rules = self.driver.whole(self.driver.rule_writes(self.zone, self.since))
        assert len({(row["method"], row["path"], row["body"]) for row in rules}) == self.kind.is_of_rules
        assert changes(rules) == self.kind.is_of_rules, "one rule was written, once"
        named = [rule for rule in self.driver.edge.rules(self.zone) if self.hostname in rule["expression"]]
        assert len(named) == (self.kind.is_of_rules and self.kind.request == "cover")
        assert theirs(self.driver, self.zone) == self.foreign, "rules of others stay as they are"


def changes(rows: list[dict[str, Any]]) -> int:
    return sum(row["applied"] and row["before"] != row["after"] for row in rows)


def theirs(driver: Driver, zone: str) -> list[dict[str, Any]]:
    return [rule for rule in driver.edge.rules(zone) if not rule["ref"].startswith("byoca-")]


def make_push(driver: Driver, ca: dict[str, Any], what: str, zone: str = ZONE, hostname: str = "") -> Push:
    """A request, planned and not approved: for a name of its own, or for `hostname`."""
    kind = KINDS[what]
    hostname = hostname or f"k{next(NAMES)}.{zone}"
    before = set(driver.at_edge(zone, ca))
    wanted = before | {hostname} if kind.request == "cover" else before - {hostname}
    assert wanted != before
    row = driver.ask(ca, hostname, kind=kind.request, mode=kind.mode)
    return Push(driver, ca, what, zone, hostname, row, driver.seq(), sorted(wanted), theirs(driver, zone))


def killed(push: Push, parked: list[dict[str, Any]], call: str, at: str, applied: bool) -> None:
    hold = push.park(call, at)
    parked.append(hold)
    os.kill(push.driver.caller(hold), signal.SIGKILL)
    push.driver.edge.release(hold, apply=applied, reply="drop")
    push.converged()


def stopped(push: Push, parked: list[dict[str, Any]], call: str, at: str, applied: bool) -> None:
    hold = push.park(call, at)
    parked.append(hold)
    with push.driver.stopped(push.driver.caller(hold)):
        if applied:
            push.driver.edge.release(hold)
        push.driver.done(push.row)
    with suppress(AssertionError):
        push.driver.edge.release(hold, apply=False, reply="drop")
    # The one that woke up may have had a last word: it must have changed nothing.
    quiet(push)
    push.converged()
    outside = [e for e in push.driver.audit() if e["action"] == "edge:list_changed_outside"]
    assert not [e for e in outside if push.hostname in e["hostnames"]], "ours is not taken for somebody else's"


def quiet(push: Push) -> None:
    """Wait until the zone was read once more after now."""
    driver, zone = push.driver, push.zone
    before = driver.zone(zone)["read_at"]
    wait_for(lambda: driver.zone(zone)["read_at"] > before, within_s=60, every_s=0.3, saying="the next sweep")
