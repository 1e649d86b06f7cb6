"""The model checker can fail: each rule is broken by hand once, and a good history passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.faults.model import violations

ZONE, CA_ID, PRINT = "a" * 32, "ca-at-the-edge", "f" * 64
LIST = f"/client/v4/zones/{ZONE}/certificate_authorities/hostname_associations"
RULESET = f"/client/v4/zones/{ZONE}/rulesets/r1/rules"
ENTRYPOINT = f"/client/v4/zones/{ZONE}/rulesets/phases/http_request_firewall_custom/entrypoint"
UPLOAD = f"/client/v4/accounts/{'b' * 32}/mtls_certificates"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEPT, NEW = "kept.zone.example", "new.zone.example"


class History:
    """A good history: one CA, one approved hostname, read, sent once, read back. Tests spoil it."""

    def __init__(self) -> None:
        self.audit: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.event("ca:admitted", "ca", "1", {"fingerprint": PRINT}, second=0)
        self.event("ca:live", "ca", "1", {"cloudflare_id": CA_ID}, second=1)
        self.request("7", "cover", NEW, second=2)
        self.edit([], [KEPT], second=3)
        self.read(10)
        self.put([KEPT], [KEPT, NEW], 11)
        self.read(12)
        self.call("GET", ENTRYPOINT, 13)
        mine = {"id": "1", "ref": "byoca-1", "expression": "x"}
        self.call("POST", RULESET, 14, applied=True, before=[], after=[mine])

    def event(self, action: str, kind: str, subject: str, after: Any, *, second: float, **more: Any) -> dict[str, Any]:
        number = len(self.audit) + 1
        made = {
            "seq": number, "prev_hash": f"h{number - 1}", "hash": f"h{number}", "action": action, "hostnames": [],
            "subject_type": kind, "subject_id": subject, "after": after, "before": None,
            "at": (NOON + timedelta(seconds=second)).isoformat(), **more,
        }  # fmt: skip
        self.audit.append(made)
        return made

    def request(self, number: str, kind: str, hostname: str, *, second: float) -> None:
        created = {"kind": kind, "ca": PRINT}
        self.event("request:created", "request", number, created, second=second, hostnames=[hostname])
        self.event("request:approved", "request", number, {}, second=second, hostnames=[hostname])

    def call(self, method: str, path: str, second: float, **more: Any) -> dict[str, Any]:
        row = {
            "seq": len(self.calls) + 1, "at": (NOON + timedelta(seconds=second)).isoformat(), "origin": "api",
            "method": method, "path": path, "query": {}, "body": None, "status": 200, "token_id": "ours",
            "violation": None, "fault": None, "peer_port": 4000, "started_ns": int(second * 1e9),
            "ended_ns": int((second + 0.1) * 1e9), "applied": False, "before": None, "after": None, **more,
        }  # fmt: skip
        self.calls.append(row)
        return row

    def read(self, second: float, **more: Any) -> dict[str, Any]:
        return self.call("GET", LIST, second, query={"mtls_certificate_id": [CA_ID]}, **more)

    def put(self, before: list[str], after: list[str], second: float, **more: Any) -> dict[str, Any]:
        body = json.dumps({"mtls_certificate_id": CA_ID, "hostnames": after})
        return self.call(
            "PUT", LIST, second, **{"body": body, "applied": True, "before": before, "after": after, **more}
        )

    def edit(self, before: list[str], after: list[str], second: float) -> None:
        """By somebody else."""
        self.put(before, after, second, token_id="theirs", peer_port=1)

    def found(self) -> list[str]:
        return violations(self.audit, self.calls, {"ours"})

    def last_put(self) -> dict[str, Any]:
        return next(row for row in self.calls if row["method"] == "PUT" and row["token_id"] == "ours")


def test_a_good_history_passes() -> None:
    history = History()
    assert history.found() == []
    history.request("8", "uncover", NEW, second=20)
    history.read(30)
    history.put([KEPT, NEW], [KEPT], 31)
    history.event("request:completed", "request", "8", {}, second=32, before={"state": "applying"})
    assert history.found() == []


def unapproved(history: History) -> None:
    history.audit = [event for event in history.audit if event["action"] != "request:approved"]
    for number, event in enumerate(history.audit, start=1):
        event |= {"seq": number, "prev_hash": f"h{number - 1}", "hash": f"h{number}"}


def approved_for_another_ca(history: History) -> None:
    next(e for e in history.audit if e["action"] == "request:created")["after"]["ca"] = "0" * 64


def approved_later(history: History) -> None:
    next(e for e in history.audit if e["action"] == "request:approved")["at"] = (
        NOON + timedelta(seconds=60)
    ).isoformat()


def voided_before(history: History) -> None:
    history.event("request:outdated", "request", "7", {}, second=3, before={"state": "approved"})


def added_after_its_removal(history: History) -> None:
    history.request("8", "uncover", NEW, second=20)
    history.event("request:completed", "request", "8", {}, second=25, before={"state": "applying"})
    history.edit([KEPT, NEW], [KEPT], 26)
    history.read(40)
    history.put([KEPT], [KEPT, NEW], 41)


def removes_a_foreign_name(history: History) -> None:
    history.read(20)
    history.put([KEPT, NEW], [NEW], 21)


def removes_over_a_foreign_change(history: History) -> None:
    history.edit([KEPT, NEW], [KEPT, NEW, "foreign.zone.example"], 19)
    history.request("9", "cover", "next.zone.example", second=18)
    history.read(20)
    history.put([KEPT, NEW, "foreign.zone.example"], [KEPT, NEW, "next.zone.example"], 21)


def never_read(history: History) -> None:
    history.calls = [row for row in history.calls if row["method"] != "GET" or row["path"] != LIST]


def read_failed(history: History) -> None:
    next(row for row in history.calls if row["method"] == "GET")["status"] = 502


def read_was_cut(history: History) -> None:
    next(row for row in history.calls if row["method"] == "GET")["fault"] = "truncated_json"


def read_by_another_run(history: History) -> None:
    next(row for row in history.calls if row["method"] == "GET")["peer_port"] = 4001


def read_long_ago(history: History) -> None:
    next(row for row in history.calls if row["method"] == "GET")["started_ns"] = -int(60e9)


def sent_again_without_reading(history: History) -> None:
    history.put([KEPT, NEW], [KEPT, NEW], 11.5)


def nothing_changed(history: History) -> None:
    history.read(20)
    history.put([KEPT, NEW], [KEPT, NEW], 21)


def two_at_once(history: History) -> None:
    history.last_put()["ended_ns"] = int(15e9)
    history.read(12.5, peer_port=4002)
    history.put([KEPT, NEW], [KEPT, NEW, "x.zone.example"], 13, peer_port=4002)


def rules_not_read(history: History) -> None:
    history.calls = [row for row in history.calls if row["path"] != ENTRYPOINT]


def foreign_rule_removed(history: History) -> None:
    history.calls[-1]["before"] = [{"id": "9", "ref": "theirs", "expression": "y"}]


def stopped(history: History) -> None:
    history.event("writes:stopped", "stop", "1", {"scope": "everything"}, second=4)


def second_slot(history: History) -> None:
    for second in (30, 31):
        history.call("POST", UPLOAD, second, applied=True, body='{"certificates": "PEM"}')


def careless(history: History) -> None:
    history.calls[-1]["violation"] = "a PUT of hostname_associations without a list of hostnames"


def event_missing(history: History) -> None:
    del history.audit[1]


BROKEN: list[tuple[str, Callable[[History], None]]] = [
    ("INV-8", unapproved),
    ("INV-8", approved_for_another_ca),
    ("INV-8", approved_later),
    ("INV-8", voided_before),
    ("INV-8", added_after_its_removal),
    ("INV-9", careless),
    ("INV-10", never_read),
    ("INV-10", read_failed),
    ("INV-10", read_was_cut),
    ("INV-10", read_by_another_run),
    ("INV-10", read_long_ago),
    ("INV-10", sent_again_without_reading),
    ("INV-10", rules_not_read),
    ("INV-11", removes_a_foreign_name),
    ("INV-11", removes_over_a_foreign_change),
    ("INV-11", foreign_rule_removed),
    ("INV-15", nothing_changed),
    ("INV-16", two_at_once),
    ("INV-18", stopped),
    ("INV-23", second_slot),
    ("INV-32", event_missing),
]


@pytest.mark.parametrize(("invariant", "spoil"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_history_is_named(invariant: str, spoil: Callable[[History], None]) -> None:
    history = History()
    spoil(history)
    assert any(found.startswith(f"{invariant}:") for found in history.found()), history.found()


def test_calls_of_somebody_else_are_not_ours_to_judge() -> None:
    history = History()
    history.edit([KEPT, NEW], [], 20)
    history.edit([], [], 20.05)
    assert history.found() == []
