"""SIGKILL and SIGSTOP with a write on the wire that removes, edits, or goes beside somebody's rule.

As test_kill_points.py, which plays every point on a list and on a new ruleset.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.driver import Driver
from tests.faults.pushes import Push, killed, make_push, stopped

pytestmark = pytest.mark.timeout(600)
# In these a rule of somebody else stands, and ours comes beside it; in the others ours stands already.
APPEND_ZONES = [f"append-{number}.example" for number in range(4)]
DELETE_ZONES = [f"delete-{number}.example" for number in range(3)]
EDIT_ZONE, REMOVE_ZONE = "edit.example", "remove.example"
OLD = [f"old-{number}.{REMOVE_ZONE}" for number in range(8)]
# Zone and hostname of the next push; no hostname is one of its own.
NEXT: dict[str, Iterator[tuple[str, str]]] = {
    "append": iter([(zone, "") for zone in APPEND_ZONES]),
    "edit": itertools.repeat((EDIT_ZONE, "")),
    "remove": iter([(REMOVE_ZONE, name) for name in OLD]),
    "delete": iter([(zone, f"old.{zone}") for zone in DELETE_ZONES]),
}


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    """A CA, with hostnames and rules of ours, and of others, where they are to be changed."""
    with_rules = (*APPEND_ZONES, *DELETE_ZONES, EDIT_ZONE)
    running.new_zones(*with_rules, REMOVE_ZONE)
    for zone in with_rules:
        running.edge.add_rule(zone, {"action": "block", "expression": f'(http.host eq "theirs.{zone}")'})
    made = running.upload("Kill Root")
    rows = [running.ask(made, f"old.{zone}", mode="log") for zone in (*DELETE_ZONES, EDIT_ZONE)]
    rows.append(running.ask(made, *OLD, f"stays.{REMOVE_ZONE}"))
    for row in rows:
        running.approve(row)
    for row in rows:
        running.done(row)
    return made


def a_push(driver: Driver, ca: dict[str, Any], what: str) -> Push:
    return make_push(driver, ca, what, *next(NEXT[what]))


@pytest.mark.parametrize(("at", "applied"), [("before_apply", False), ("after_apply_before_reply", True)])
@pytest.mark.parametrize("what", NEXT)
def test_a_worker_is_killed_with_its_write_on_the_wire(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]], what: str, at: str, applied: bool
) -> None:
    killed(a_push(driver, ca, what), parked, "write", at, applied)


@pytest.mark.parametrize("what", ["append", "edit", "remove"])
def test_a_worker_is_killed_with_half_of_its_write_sent(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]], what: str
) -> None:
    """A deletion has no body."""
    killed(a_push(driver, ca, what), parked, "write", "mid_request_body", False)


@pytest.mark.parametrize("what", NEXT)
def test_a_worker_is_stopped_with_its_write_applied(
    driver: Driver, ca: dict[str, Any], parked: list[dict[str, Any]], what: str
) -> None:
    """The one that made it sleeps: another finds it by reading."""
    stopped(a_push(driver, ca, what), parked, "write", "after_apply_before_reply", True)
