"""What can be read from a rule, and what has to be feared of one that cannot."""

from __future__ import annotations

import pytest

from apps.planning.seen import accepted_issuers, edge_modes, may_name, maybe_blocked
from apps.planning.state import Mode
from tests.unit.planning.worlds import FOREIGN, edited, rule


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('http.host eq "API.example.com"', {"api.example.com"}),
        ('http.host in {"a.example.com" "b.example.com."}', {"a.example.com", "b.example.com"}),
        (r'http.host matches r"(?i)^(a\.example\.com|b\.example\.com)\.?(:.*)?$"', {"a.example.com", "b.example.com"}),
        ('starts_with(http.host, "a.example.com:")', {"a.example.com"}),
        ('http.host contains "example"', set()),
        ("not cf.tls_client_auth.cert_verified", set()),
    ],
)
def test_a_rule_that_cannot_be_read_may_name_whatever_it_quotes(expression: str, names: set[str]) -> None:
    assert may_name(edited(rule("byoca-1a-0", ["x.example.com"]), expression)) == names


def test_block_wins_over_log_and_only_live_rules_of_ours_count() -> None:
    rules = [
        rule("byoca-1a-0", ["a.example.com", "b.example.com"], action="log"),
        rule("byoca-2b-0", ["a.example.com"]),
        rule("byoca-3c-0", ["a.example.com", "c.example.com"], action="log"),
        rule("byoca-4d-0", ["d.example.com"], enabled=False),
        rule("byoca-5e-0", ["e.example.com"], action="skip"),
        *FOREIGN,
    ]
    assert edge_modes(rules) == {"a.example.com": Mode.BLOCK, "b.example.com": Mode.LOG, "c.example.com": Mode.LOG}
    assert maybe_blocked(rules) == {"a.example.com"}


def test_issuers_have_to_please_every_block_rule() -> None:
    name = "a.example.com"
    free, one = rule("byoca-1a-0", [name]), rule("byoca-2b-0", [name], pins={"AA01", "BB01"})
    other, log = rule("byoca-3c-0", [name], pins={"BB01"}), rule("byoca-4d-0", [name], pins={"CC01"}, action="log")
    assert accepted_issuers([], name) is accepted_issuers([free, log], name) is None
    assert accepted_issuers([free, one, free], name) == {"AA01", "BB01"}
    assert accepted_issuers([one, other, log, free], name) == {"BB01"}
