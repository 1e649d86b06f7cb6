"""What a call meets on its way: each fault of the network and of the answers, on reads and on writes.

All are played at the same time, each on a zone of its own: a fault in one zone holds up no other. Rows are those of
docs/reliability.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults.accounts import account, told
from tests.faults.driver import LIST_PATH, Driver
from tests.portal_process import wait_for

# Lists are sent whole; rules are made with their ruleset, added beside somebody's, edited, and deleted.
WRITTEN = {
    "list": ("PUT", LIST_PATH),
    "remove": ("PUT", LIST_PATH),
    "rule": ("POST", "/rulesets$"),
    "append": ("POST", "/rules$"),
    "edit": ("PATCH", "/rules/"),
    "delete": ("DELETE", "/rules/"),
}


@dataclass(frozen=True)
class Case:
    """One fault on one kind of call. `what` is read, or one in `WRITTEN`; `times` how often it is played."""

    rows: str
    what: str
    fault: str
    fields: dict[str, Any] = field(default_factory=dict)
    times: int = 1

    @property
    def name(self) -> str:
        values = [str(self.fields[key]) for key in ("status", "how", "body") if key in self.fields]
        applied = {True: ["applied"], False: ["not-applied"], None: []}[self.fields.get("applied")]
        return "-".join(["r" + self.rows, self.what, self.fault, *values, *applied]).replace("_", "-").lower()

    @property
    def zone(self) -> str:
        return f"{self.name}.example"

    @property
    def match(self) -> dict[str, Any]:
        method, path = ("GET", LIST_PATH) if self.what == "read" else WRITTEN[self.what]
        # A rule that is only tried (`dry_run`) is no write.
        return {"method": method, "path": path, "query": "^(?!.*dry_run)", "zone": self.zone, "times": self.times}

    @property
    def is_of_rules(self) -> bool:
        return self.what not in {"read", "list", "remove"}

    @property
    def removes(self) -> bool:
        return self.what in {"remove", "delete"}

    @property
    def wanted(self) -> list[str]:
        """The list in the end."""
        ours = {"edit": [f"api.{self.zone}", f"old.{self.zone}"], "remove": [], "delete": []}
        return sorted([*ours.get(self.what, [f"api.{self.zone}"]), f"kept.{self.zone}"])


def both(rows: str, what: str, fault: str, **fields: Any) -> list[Case]:
    return [Case(rows, what, fault, {**fields, "applied": applied}) for applied in (True, False)]


READS = [
    *[Case("4", "read", "status", {"status": status}, times=2) for status in (500, 502, 503, 504)],
    *[Case("6", "read", "status", {"status": status}) for status in (520, 521, 523, 530)],
    Case("7", "read", "reset"),
    Case("12", "read", "trickle"),
    Case("13", "read", "huge"),
    Case("13", "read", "huge_length"),
    Case("13", "read", "gzip_bomb"),
    *[Case("14", "read", kind) for kind in ("truncated_json", "truncated_body", "chunked_cut")],
    *[Case("14", "read", kind) for kind in ("length_too_large", "length_too_small")],
    *[
        Case("15", "read", kind)
        for kind in (
            "malformed_json", "empty_array", "null_body", "missing_result", "null_result", "duplicate_keys",
            "not_a_number", "wrong_types", "many_hostnames",
        )
    ],
    Case("16", "read", "not_success", {"code": 1000, "message": "no"}),
]  # fmt: skip
WRITES = [
    *[case for status in (500, 502, 503, 504) for case in both("5", "list", "status", status=status)],
    *[case for status in (520, 521, 522, 523, 524, 530) for case in both("6", "list", "status", status=status)],
    *both("7", "list", "reset"),
    *both("7", "list", "close"),
    Case("10", "list", "timeout", {"applied": True}),
    Case("11", "list", "timeout", {"applied": False}),
    Case("12", "list", "trickle", {"applied": True}),
    *[Case("14", "list", kind, {"applied": True}) for kind in ("truncated_json", "truncated_body", "chunked_cut")],
    *[Case("14", "list", kind, {"applied": True}) for kind in ("length_too_large", "length_too_small")],
    *[Case("15", "list", kind, {"applied": True}) for kind in ("malformed_json", "null_body", "null_result")],
    *[Case("17", "list", "altered", {"how": how}) for how in ("dropped", "added", "upper_case", "reordered")],
    *both("5", "rule", "status", status=502),
    *both("6", "rule", "status", status=524),
    Case("10", "rule", "timeout", {"applied": True}),
    Case("11", "rule", "timeout", {"applied": False}),
    Case("14", "rule", "truncated_body", {"applied": True}),
    Case("15", "rule", "malformed_json", {"applied": True}),
    *both("5", "append", "status", status=502),
    *both("7", "append", "reset"),
    Case("10", "append", "timeout", {"applied": True}),
    Case("14", "append", "truncated_body", {"applied": True}),
    *both("5", "edit", "status", status=502),
    Case("10", "edit", "timeout", {"applied": True}),
    Case("15", "edit", "malformed_json", {"applied": True}),
    # Guards let lists of ten pairs lose hostnames within a day.
    *both("5", "remove", "status", status=502),
    *both("7", "remove", "reset"),
    Case("10", "remove", "timeout", {"applied": True}),
    *both("5", "delete", "status", status=502),
    Case("7", "delete", "close", {"applied": False}),
    Case("10", "delete", "timeout", {"applied": True}),
]
CASES = READS + WRITES
REFUSED = Case("16", "list", "not_success", {"code": 10013, "message": "no such thing"})
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Stage:
    """Every fault set, every change approved."""

    driver: Driver
    ca: dict[str, Any]
    requests: dict[str, dict[str, Any]]
    since: int


@pytest.fixture(scope="module")
def stage(running: Driver) -> Stage:
    ca = running.upload("Wire Root")
    # A name that is not ours stands in every list: whatever happens, it must stay.
    kept = [{"name": case.zone, "lists": {ca["cloudflare_id"]: [f"kept.{case.zone}"]}} for case in [*CASES, REFUSED]]
    running.new_zones(*kept)
    for case in CASES:
        if case.what in {"append", "edit", "delete"}:
            theirs = {"action": "block", "expression": f'(http.host eq "theirs.{case.zone}")'}
            running.edge.add_rule(case.zone, theirs)
    requests = {}
    _cover_what_is_removed_or_edited(running, ca)
    for case in [*CASES, REFUSED]:
        if case.removes:
            requests[case.name] = running.ask(ca, f"old.{case.zone}", kind="uncover")
        else:
            mode = "log" if case.is_of_rules else "verify"
            requests[case.name] = running.ask(ca, f"api.{case.zone}", mode=mode)
    since = running.seq()
    running.edge.faults(
        *[{"match": case.match, "do": {"fault": case.fault, **case.fields}} for case in [*CASES, REFUSED]]
    )
    for row in requests.values():
        running.approve(row)
    return Stage(running, ca, requests, since)


def _cover_what_is_removed_or_edited(running: Driver, ca: dict[str, Any]) -> None:
    cases = [case for case in CASES if case.removes or case.what == "edit"]
    rows = [running.ask(ca, f"old.{case.zone}", mode="log" if case.is_of_rules else "verify") for case in cases]
    for row in rows:
        running.approve(row)
    for row in rows:
        running.done(row)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_change_arrives_once_and_nothing_else_is_touched(stage: Stage, case: Case) -> None:
    driver = stage.driver
    driver.done(stage.requests[case.name])
    assert driver.at_edge(case.zone, stage.ca) == case.wanted
    puts = driver.puts(case.zone, stage.since)
    assert [sorted(row["sent"]["hostnames"]) for row in driver.whole(puts)] == [case.wanted] * len(puts)
    assert changes(puts) == 1
    rules = driver.rule_writes(case.zone, stage.since)
    assert len({(row["method"], row["path"], row["body"]) for row in rules}) == case.is_of_rules
    assert changes(rules) == case.is_of_rules, "one rule was written, whatever became of the first answer"
    ours = [rule for rule in driver.edge.rules(case.zone) if rule["ref"].startswith("byoca-")]
    assert len(ours) == (case.is_of_rules and not case.removes)
    if case.what != "read" and case.fault != "altered":
        expected = 1 if case.fields.get("applied") else 2
        calls = rules if case.is_of_rules else puts
        assert len(calls) == expected, "what was applied is not sent again, what was not is sent once more"


def changes(rows: list[dict[str, Any]]) -> int:
    return sum(row["applied"] and row["before"] != row["after"] for row in rows)


def test_a_refusal_that_comes_with_status_200_is_a_refusal(stage: Stage) -> None:
    ended = stage.driver.ended(stage.requests[REFUSED.name])
    assert (ended["state"], "10013: no such thing" in ended["state_reason"]) == ("failed", True)
    assert stage.driver.at_edge(REFUSED.zone, stage.ca) == [f"kept.{REFUSED.zone}"]
    assert len(stage.driver.puts(REFUSED.zone)) == 1, "what was refused is not sent again by itself"


def test_the_history_of_all_of_them_is_good(stage: Stage) -> None:
    for row in stage.requests.values():
        stage.driver.ended(row)
    assert stage.driver.violations() == []


@pytest.mark.parametrize(
    ("fault", "fields"), [("status", {"status": 502}), ("truncated_json", {}), ("empty_array", {})]
)
def test_r18_a_second_page_that_fails_makes_no_zone_vanish(stage: Stage, fault: str, fields: dict[str, Any]) -> None:
    """There are more zones than fit on one page."""
    driver = stage.driver
    names, events = {row["name"] for row in driver.zones()}, len(driver.audit())
    assert len(names) > 50
    match = {"path": "^/zones$", "query": r"\bpage=2\b", "times": 2}
    driver.edge.faults({"match": match, "do": {"fault": fault, **fields}})
    wait_for(lambda: driver.edge.faults_left() == 0, within_s=120, every_s=0.3, saying="the fault is played, twice")
    assert {row["name"] for row in driver.zones()} == names
    wait_for(
        lambda: not account(driver)["failing_since"], within_s=120, every_s=0.3, saying="the account is read again"
    )
    assert {row["name"] for row in driver.zones()} == names
    assert told(driver, "zone:vanished", events) == []


# Whatever the portal keeps of answers, and shows on the pages of changes, zones and accounts.
KEPT = """
import json
from apps.inventory.models import Account, Zone
from apps.outbox.models import OutboxEntry
from apps.reconcile.models import Plan, PlanStep
fields = ((PlanStep, "error"), (Plan, "error"), (OutboxEntry, "last_error"), (Zone, "last_error"),
          (Account, "last_error"))
print(json.dumps([text for model, name in fields for text in model.objects.values_list(name, flat=True) if text]))
"""


def test_a_page_of_html_with_a_script_is_never_shown(stage: Stage) -> None:
    for row in stage.requests.values():
        stage.driver.ended(row)
    kept = stage.driver.json(KEPT)
    assert any("520" in text for text in kept), "what was answered is told"
    told_of = [*kept, *map(json.dumps, stage.driver.audit())]
    assert [text for text in told_of if "script" in text or "<h" in text or "attacker" in text] == []
