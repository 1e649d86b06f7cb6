"""The model checker can fail: each rule is broken by hand once, and good histories pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps.reconcile.apply import READ_FRESH_S
from tests.faults import spoilt
from tests.faults.driver import TEMPO
from tests.faults.made_history import CA_ID, ENTRYPOINT, KEPT, NEW, Made, at, rule
from tests.faults.model import limits
from tests.faults.spoilt import FOREIGN, NEXT


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


def moved_from_one_log_rule_to_another(made: Made) -> None:
    """A rule that refuses nobody needs no bridge."""
    taken_to_log_and_back(made)
    made.request("10", "cover", NEW, second=60, mode="log")
    made.rewrite([rule(NEW)], [rule(NEW, action="log")], 62)
    made.rewrite([rule(NEW, action="log")], [], 82)
    made.rules([], [rule(NEW, action="log", ref="byoca-0c1d-0")], 83, "POST")


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
    removed_as_approved, taken_to_log_and_back, moved_over_a_bridge, moved_from_one_log_rule_to_another, broken_glass,
    restored, out_of_date_once_half_of_it_was_there, retried, arrived_late, stand_in_killed, deleted_and_uploaded_again,
    read_late, stopped_elsewhere, edited_by_somebody_else,
]  # fmt: skip


def test_a_good_history_passes() -> None:
    assert Made().found() == []


@pytest.mark.parametrize("go_on", GOOD, ids=lambda value: value.__name__)
def test_a_good_history_that_goes_on_passes(go_on: Callable[[Made], None]) -> None:
    made = Made()
    go_on(made)
    assert made.found() == []


BROKEN: list[tuple[str, Callable[[Made], None]]] = [
    ("INV-8", spoilt.unapproved),
    ("INV-8", spoilt.approved_for_another_ca),
    ("INV-8", spoilt.approved_later),
    ("INV-8", spoilt.voided_before),
    ("INV-8", spoilt.withdrawn_before),
    ("INV-8", spoilt.cancelled_before),
    ("INV-8", spoilt.failed_before),
    ("INV-8", spoilt.only_its_issuers_were_approved),
    ("INV-8", spoilt.its_outdated_removal_says_nothing),
    ("INV-8", spoilt.added_after_its_removal),
    ("INV-8", spoilt.added_to_the_list_of_another_zone),
    ("INV-8", spoilt.rule_of_another_zone),
    ("INV-9", spoilt.careless),
    ("INV-10", spoilt.never_read),
    ("INV-10", spoilt.read_failed),
    ("INV-10", spoilt.read_was_cut),
    ("INV-10", spoilt.read_by_another_run),
    ("INV-10", spoilt.read_long_ago),
    ("INV-10", spoilt.read_ten_seconds_ago),
    ("INV-10", spoilt.sent_again_without_reading),
    ("INV-10", spoilt.rules_not_read),
    ("INV-10", spoilt.rules_read_an_hour_ago),
    ("INV-11", spoilt.removes_a_foreign_name),
    ("INV-11", spoilt.removes_over_a_foreign_change),
    ("INV-11", spoilt.takes_a_lag_for_an_excuse),
    ("INV-11", spoilt.its_withdrawn_removal_says_nothing),
    ("INV-11", spoilt.foreign_rule_removed),
    ("INV-11", spoilt.foreign_rule_changed),
    ("INV-11", spoilt.foreign_rules_reordered),
    ("INV-11", spoilt.own_rule_deleted),
    ("INV-11", spoilt.own_rule_switched_off),
    ("INV-11", spoilt.own_log_rule_deleted),
    ("INV-11", spoilt.block_becomes_log),
    ("INV-11", spoilt.a_host_nobody_approved_is_blocked),
    ("INV-11", spoilt.a_rule_nobody_can_read),
    ("INV-11", spoilt.glass_that_nobody_broke_any_more),
    ("INV-11", spoilt.mode_of_a_withdrawn_request),
    ("INV-11", spoilt.second_ca_weakens),
    ("INV-15", spoilt.nothing_changed),
    ("INV-15", spoilt.rule_rewritten_as_it_is),
    ("INV-16", spoilt.two_at_once),
    ("INV-16", spoilt.first_never_ended),
    ("INV-16", spoilt.stale_writer),
    ("INV-16", spoilt.woke_after_its_lease),
    ("INV-16", spoilt.two_write_rules),
    ("INV-18", spoilt.stopped),
    ("INV-18", spoilt.stopped_in_the_zone),
    ("INV-23", spoilt.second_slot),
    ("INV-23", spoilt.second_slot_after_a_refused_deletion),
    ("INV-23", spoilt.second_slot_after_another_ca_went),
    ("INV-32", spoilt.event_missing),
]


@pytest.mark.parametrize(("invariant", "spoil"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_history_is_named(invariant: str, spoil: Callable[[Made], None]) -> None:
    made = Made()
    spoil(made)
    assert any(found.startswith(f"{invariant}:") for found in made.found()), made.found()
