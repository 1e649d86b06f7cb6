"""Histories that break a rule each, for tests of the model checker: every function spoils a good one by hand."""

from __future__ import annotations

from tests.faults.made_history import CA_ID, ENTRYPOINT, KEPT, NEW, OTHER_ZONE, Made, at, rule

FOREIGN, NEXT = "foreign.zone.example", "next.zone.example"


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


def own_log_rule_deleted(made: Made) -> None:
    made.request("8", "cover", NEW, second=20, mode="log")
    made.rewrite([rule(NEW)], [rule(NEW, action="log")], 22)
    made.rewrite([rule(NEW, action="log")], [], 42)


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
