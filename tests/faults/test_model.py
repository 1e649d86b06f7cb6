"""The model checker can fail: each rule is broken by hand once, and good histories pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps.reconcile.apply import READ_FRESH_S
from tests.faults.driver import TEMPO
from tests.faults.made_history import CA_ID, ENTRYPOINT, KEPT, NEW, OTHER_ZONE, Made, at, rule
from tests.faults.model import limits

FOREIGN, NEXT = "foreign.zone.example", "next.zone.example"


def test_its_numbers_are_those_of_the_portal_under_test() -> None:
    assert limits.READ_FRESH_S == READ_FRESH_S
    assert str(int(limits.DEADLINE_S)) == TEMPO["BYOCA_EDGE_DEADLINE_S"]
    assert str(int(limits.LEASE_S)) == TEMPO["BYOCA_LEASE_S"]


# Good histories


def removed_as_approved(made: Made) -> None:
    made.request("8", "uncover", NEW, second=20)
    made.rewrite([rule(NEW)], [], 29)
    made.read(30)
    made.put([KEPT, NEW], [KEPT], 31)
    made.move("completed", "8", 32, before="applying")


def taken_to_log_and_back(made: Made) -> None:
    made.request("8", "cover", NEW, second=20, mode="log")
    made.rewrite([rule(NEW)], [], 22)
    made.rules([], [rule(NEW, action="log")], 23, "POST")
    made.request("9", "cover", NEW, second=40, mode="block")
    made.rewrite([rule(NEW, action="log")], [rule(NEW)], 42)


def moved_over_a_bridge(made: Made) -> None:
    bridge, after = rule(NEW, ref="byoca-bridge-77-0"), rule(NEW, ref="byoca-0c1d-0")
    made.rewrite([rule(NEW)], [bridge, rule(NEW)], 22)
    made.rules([bridge, rule(NEW)], [bridge], 23, "DELETE")
    made.rules([bridge], [bridge, after], 24, "POST")
    made.rules([bridge, after], [after], 25, "DELETE")


def broken_glass(made: Made) -> None:
    made.event("break_glass:used", "hostname", NEW, {"mode": "log"}, second=20, hostnames=[NEW])
    made.rewrite([rule(NEW)], [rule(NEW, action="log")], 22)
    made.event("break_glass:returned", "hostname", NEW, {"mode": "log"}, second=60, hostnames=[NEW])
    made.rewrite([rule(NEW, action="log")], [rule(NEW)], 62)


def restored(made: Made) -> None:
    made.edit([KEPT, NEW], [KEPT], 20)
    made.call("PATCH", ENTRYPOINT, 21, token_id=None, origin="dashboard", applied=True, before=[rule(NEW)], after=[])
    made.request("8", "restore", NEW, second=30)
    made.read(31)
    made.put([KEPT], [KEPT, NEW], 32)
    made.rewrite([], [rule(NEW)], 34)


def out_of_date_once_half_of_it_was_there(made: Made) -> None:
    """What was reached before the approval was void may have been read: it is put back as approved."""
    made.move("outdated", "7", 20, before="applying")
    made.edit([KEPT, NEW], [KEPT], 21)
    made.read(40)
    made.put([KEPT], [KEPT, NEW], 41)


def retried(made: Made) -> None:
    made.request("8", "cover", NEXT, second=20)
    made.move("failed", "8", 21)
    made.move("retried", "8", 40, before="failed")
    made.read(41)
    made.put([KEPT, NEW], [KEPT, NEXT, NEW], 42)


def arrived_late(made: Made) -> None:
    """A call of a worker that was stopped past its lease takes effect after the next writer's."""
    made.request("8", "cover", NEXT, second=18)
    made.read(20)
    made.read(29, peer_port=4001)
    made.put([KEPT, NEW], [KEPT, NEW, NEXT], 30, peer_port=4001)
    made.put([KEPT, NEW, NEXT], [KEPT, NEW, NEXT], 21, at=at(31), ended_ns=int(31e9))


def stand_in_killed(made: Made) -> None:
    made.request("8", "cover", NEXT, second=18)
    made.read(20)
    made.put([KEPT, NEW], [KEPT, NEW], 21, ended_ns=None, applied=False, sent=[KEPT, NEW, NEXT])
    made.restarts.append(21.5)
    made.read(23, peer_port=4001)
    made.put([KEPT, NEW], [KEPT, NEW, NEXT], 24, peer_port=4001)


def deleted_and_uploaded_again(made: Made) -> None:
    made.upload(30)
    made.call("DELETE", f"/client/v4/accounts/{'b' * 32}/mtls_certificates/{CA_ID}", 31, applied=True)
    made.upload(40)


def read_late(made: Made) -> None:
    """Readings that lag may have shown the list from before somebody's change."""
    made.lags.append((15, 60, 30))
    made.request("8", "cover", NEXT, second=18)
    made.edit([KEPT, NEW], [KEPT, NEW, FOREIGN], 19)
    made.read(20)
    made.put([KEPT, NEW, FOREIGN], [KEPT, NEW, NEXT], 21)


def stopped_elsewhere(made: Made) -> None:
    made.event("writes:stopped", "stop", "1", {"scope": "zone"}, second=4, zone="other.example")


def edited_by_somebody_else(made: Made) -> None:
    made.edit([KEPT, NEW], [], 20)
    made.edit([], [], 20.05)


GOOD: list[Callable[[Made], None]] = [
    removed_as_approved, taken_to_log_and_back, moved_over_a_bridge, broken_glass, restored,
    out_of_date_once_half_of_it_was_there, retried, arrived_late, stand_in_killed, deleted_and_uploaded_again,
    read_late, stopped_elsewhere, edited_by_somebody_else,
]  # fmt: skip


def test_a_good_history_passes() -> None:
    assert Made().found() == []


@pytest.mark.parametrize("go_on", GOOD, ids=lambda value: value.__name__)
def test_a_good_history_that_goes_on_passes(go_on: Callable[[Made], None]) -> None:
    made = Made()
    go_on(made)
    assert made.found() == []


# What was approved


def unapproved(made: Made) -> None:
    made.without("request:approved")


def approved_for_another_ca(made: Made) -> None:
    next(e for e in made.audit if e["action"] == "request:created")["after"]["ca"] = "0" * 64


def approved_later(made: Made) -> None:
    next(e for e in made.audit if e["action"] == "request:approved")["at"] = at(60)


def voided_before(made: Made) -> None:
    made.move("outdated", "7", 3)


def withdrawn_before(made: Made) -> None:
    made.move("withdrawn", "7", 3)


def cancelled_before(made: Made) -> None:
    made.move("cancelled", "7", 3)


def failed_before(made: Made) -> None:
    made.move("failed", "7", 3)


def _adds_next(made: Made) -> None:
    made.read(40)
    made.put([KEPT, NEW], [KEPT, NEW, NEXT], 41)


def only_its_issuers_were_approved(made: Made) -> None:
    made.request("8", "issuers", NEXT, second=20)
    _adds_next(made)


def its_outdated_removal_says_nothing(made: Made) -> None:
    made.request("8", "uncover", NEXT, second=20)
    made.move("outdated", "8", 21)
    _adds_next(made)


def its_withdrawn_removal_says_nothing(made: Made) -> None:
    made.request("8", "uncover", NEW, second=20)
    made.move("withdrawn", "8", 21)
    made.read(40)
    made.put([KEPT, NEW], [KEPT], 41)


def added_after_its_removal(made: Made) -> None:
    made.request("8", "uncover", NEW, second=20)
    made.move("completed", "8", 25, before="applying")
    made.edit([KEPT, NEW], [KEPT], 26)
    made.read(40)
    made.put([KEPT], [KEPT, NEW], 41)


def added_to_the_list_of_another_zone(made: Made) -> None:
    for row in made.calls:
        row["path"] = row["path"].replace("a" * 32, OTHER_ZONE)


def removes_a_foreign_name(made: Made) -> None:
    made.read(20)
    made.put([KEPT, NEW], [NEW], 21)


def removes_over_a_foreign_change(made: Made) -> None:
    made.edit([KEPT, NEW], [KEPT, NEW, FOREIGN], 19)
    made.request("9", "cover", NEXT, second=18)
    made.read(20)
    made.put([KEPT, NEW, FOREIGN], [KEPT, NEW, NEXT], 21)


def takes_a_lag_for_an_excuse(made: Made) -> None:
    """The change was made long before the span that a lagging reading may show."""
    made.edit([KEPT, NEW], [KEPT, NEW, FOREIGN], 19)
    made.lags.append((90, 120, 30))
    made.request("9", "cover", NEXT, second=18)
    made.read(100)
    made.put([KEPT, NEW, FOREIGN], [KEPT, NEW, NEXT], 101)


# What was read


def never_read(made: Made) -> None:
    made.calls = [row for row in made.calls if row["method"] != "GET" or row["path"] == ENTRYPOINT]


def read_failed(made: Made) -> None:
    made.first("GET")["status"] = 502


def read_was_cut(made: Made) -> None:
    made.first("GET")["fault"] = "truncated_json"


def read_by_another_run(made: Made) -> None:
    made.first("GET")["peer_port"] = 4001


def read_long_ago(made: Made) -> None:
    made.first("GET")["started_ns"] = -int(60e9)


def read_ten_seconds_ago(made: Made) -> None:
    made.call("GET", ENTRYPOINT, 9.5)
    made.first("GET")["started_ns"] = int(1e9)


def sent_again_without_reading(made: Made) -> None:
    made.put([KEPT, NEW], [KEPT, NEW], 11.5)


def nothing_changed(made: Made) -> None:
    made.read(20)
    made.put([KEPT, NEW], [KEPT, NEW], 21)


# Who writes


def two_at_once(made: Made) -> None:
    made.first("PUT")["ended_ns"] = int(15e9)
    made.read(12.5, peer_port=4002)
    made.put([KEPT, NEW], [KEPT, NEW, "x.zone.example"], 13, peer_port=4002)


def first_never_ended(made: Made) -> None:
    made.first("PUT")["ended_ns"] = None
    made.read(12.5, peer_port=4002)
    made.put([KEPT, NEW], [KEPT, NEW, "x.zone.example"], 13, peer_port=4002)


def stale_writer(made: Made) -> None:
    """It read before another run wrote, and takes that back when it wakes."""
    made.request("8", "cover", NEXT, second=18)
    made.request("9", "uncover", NEXT, second=19)
    made.read(20)
    made.read(21, peer_port=4001)
    made.put([KEPT, NEW], [KEPT, NEW, NEXT], 22, peer_port=4001)
    made.put([KEPT, NEW, NEXT], [KEPT, NEW], 24)


def woke_after_its_lease(made: Made) -> None:
    made.request("8", "cover", NEXT, second=18)
    made.read(20)
    made.put([KEPT, NEW], [KEPT, NEW, NEXT], 27)


def two_write_rules(made: Made) -> None:
    made.request("8", "cover", NEW, second=18, mode="log")
    made.call("GET", ENTRYPOINT, 20)
    made.call("GET", ENTRYPOINT, 20.5, peer_port=4001)
    made.rules([rule(NEW)], [rule(NEW, action="log")], 21, peer_port=4001)
    made.rules([rule(NEW, action="log")], [], 22)


# Rules


def rules_not_read(made: Made) -> None:
    made.calls = [row for row in made.calls if row["path"] != ENTRYPOINT]


def rules_read_an_hour_ago(made: Made) -> None:
    made.request("8", "cover", NEW, second=3600, mode="log")
    made.read(3613)
    made.rules([rule(NEW)], [rule(NEW, action="log")], 3614)


def foreign_rule_removed(made: Made) -> None:
    made.calls[-1]["before"] = [{"id": "9", "ref": "theirs", "expression": "y", "action": "block"}]


def foreign_rule_changed(made: Made) -> None:
    theirs = {"id": "9", "ref": "byoca-mtls", "expression": "y", "action": "skip", "enabled": True}
    made.calls[-1]["before"] = [{**theirs, "action_parameters": {"phases": ["a"]}}]
    made.calls[-1]["after"] = [{**theirs, "action_parameters": {"phases": ["a", "b"]}}, rule(NEW)]


def foreign_rules_reordered(made: Made) -> None:
    one, two = ({"id": n, "ref": n, "expression": "y", "action": "skip", "enabled": True} for n in ("one", "two"))
    made.calls[-1]["before"] = [one, two]
    made.calls[-1]["after"] = [two, one, rule(NEW)]


def own_rule_deleted(made: Made) -> None:
    made.rewrite([rule(NEW)], [], 22)


def own_rule_switched_off(made: Made) -> None:
    made.rewrite([rule(NEW)], [rule(NEW, enabled=False)], 22)


def block_becomes_log(made: Made) -> None:
    made.rewrite([rule(NEW)], [rule(NEW, action="log")], 22)


def a_host_nobody_approved_is_blocked(made: Made) -> None:
    made.rewrite([rule(NEW)], [rule(NEW, KEPT)], 22)


def a_rule_nobody_can_read(made: Made) -> None:
    made.rewrite([rule(NEW)], [{**rule(NEW), "expression": f'http.host wildcard "{NEW}"'}], 22)


def glass_that_nobody_broke_any_more(made: Made) -> None:
    made.event("break_glass:used", "hostname", NEW, {"mode": "log"}, second=20, hostnames=[NEW])
    made.event("break_glass:returned", "hostname", NEW, {"mode": "log"}, second=21, hostnames=[NEW])
    made.rewrite([rule(NEW)], [rule(NEW, action="log")], 42)


def mode_of_a_withdrawn_request(made: Made) -> None:
    made.request("8", "cover", NEW, second=20, mode="log")
    made.move("withdrawn", "8", 21)
    made.rewrite([rule(NEW)], [rule(NEW, action="log")], 42)


def second_ca_weakens(made: Made) -> None:
    made.request("8", "cover", NEW, second=20, mode="log", ca="0" * 64)
    made.rewrite([rule(NEW)], [rule(NEW, action="log")], 22)


def rule_of_another_zone(made: Made) -> None:
    made.request("8", "cover", "api.other.example", second=20, mode="block")
    made.rewrite([rule(NEW)], [rule(NEW, "api.other.example")], 22)


def rule_rewritten_as_it_is(made: Made) -> None:
    made.rewrite([rule(NEW)], [rule(NEW)], 22)


# The rest


def stopped(made: Made) -> None:
    made.event("writes:stopped", "stop", "1", {"scope": "everything"}, second=4)


def stopped_in_the_zone(made: Made) -> None:
    made.event("writes:stopped", "stop", "1", {"scope": "zone"}, second=4, zone="zone.example")


def second_slot(made: Made) -> None:
    made.upload(30)
    made.upload(31)


def second_slot_after_a_refused_deletion(made: Made) -> None:
    made.upload(30)
    made.call("DELETE", f"/client/v4/accounts/{'b' * 32}/mtls_certificates/{CA_ID}", 31, status=400)
    made.upload(32)


def second_slot_after_another_ca_went(made: Made) -> None:
    made.event("ca:admitted", "ca", "2", {"fingerprint": "0" * 64}, second=20)
    made.event("ca:live", "ca", "2", {"cloudflare_id": "another"}, second=21)
    made.upload(30)
    made.call("DELETE", f"/client/v4/accounts/{'b' * 32}/mtls_certificates/another", 31, applied=True)
    made.upload(32)


def careless(made: Made) -> None:
    made.calls[-1]["violation"] = "a PUT of hostname_associations without a list of hostnames"


def event_missing(made: Made) -> None:
    del made.audit[1]


BROKEN: list[tuple[str, Callable[[Made], None]]] = [
    ("INV-8", unapproved),
    ("INV-8", approved_for_another_ca),
    ("INV-8", approved_later),
    ("INV-8", voided_before),
    ("INV-8", withdrawn_before),
    ("INV-8", cancelled_before),
    ("INV-8", failed_before),
    ("INV-8", only_its_issuers_were_approved),
    ("INV-8", its_outdated_removal_says_nothing),
    ("INV-8", added_after_its_removal),
    ("INV-8", added_to_the_list_of_another_zone),
    ("INV-8", rule_of_another_zone),
    ("INV-9", careless),
    ("INV-10", never_read),
    ("INV-10", read_failed),
    ("INV-10", read_was_cut),
    ("INV-10", read_by_another_run),
    ("INV-10", read_long_ago),
    ("INV-10", read_ten_seconds_ago),
    ("INV-10", sent_again_without_reading),
    ("INV-10", rules_not_read),
    ("INV-10", rules_read_an_hour_ago),
    ("INV-11", removes_a_foreign_name),
    ("INV-11", removes_over_a_foreign_change),
    ("INV-11", takes_a_lag_for_an_excuse),
    ("INV-11", its_withdrawn_removal_says_nothing),
    ("INV-11", foreign_rule_removed),
    ("INV-11", foreign_rule_changed),
    ("INV-11", foreign_rules_reordered),
    ("INV-11", own_rule_deleted),
    ("INV-11", own_rule_switched_off),
    ("INV-11", block_becomes_log),
    ("INV-11", a_host_nobody_approved_is_blocked),
    ("INV-11", a_rule_nobody_can_read),
    ("INV-11", glass_that_nobody_broke_any_more),
    ("INV-11", mode_of_a_withdrawn_request),
    ("INV-11", second_ca_weakens),
    ("INV-15", nothing_changed),
    ("INV-15", rule_rewritten_as_it_is),
    ("INV-16", two_at_once),
    ("INV-16", first_never_ended),
    ("INV-16", stale_writer),
    ("INV-16", woke_after_its_lease),
    ("INV-16", two_write_rules),
    ("INV-18", stopped),
    ("INV-18", stopped_in_the_zone),
    ("INV-23", second_slot),
    ("INV-23", second_slot_after_a_refused_deletion),
    ("INV-23", second_slot_after_another_ca_went),
    ("INV-32", event_missing),
]


@pytest.mark.parametrize(("invariant", "spoil"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_history_is_named(invariant: str, spoil: Callable[[Made], None]) -> None:
    made = Made()
    spoil(made)
    assert any(found.startswith(f"{invariant}:") for found in made.found()), made.found()
