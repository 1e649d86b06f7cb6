"""One word for what a probe saw against what was read at the edge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.probing.verdict import Agreement, Asked, Expected, Finding, Seen, judge

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SETTLE = timedelta(minutes=2)
YES, NO, UNKNOWN = Asked.YES, Asked.NO, Asked.UNKNOWN


def expected(
    associated: bool = True, rule: str = "block", read_s: float | None = 5, changed_s: float = 3600
) -> Expected:
    read_at = None if read_s is None else NOW - timedelta(seconds=read_s)
    return Expected(associated, rule, read_at, NOW - timedelta(seconds=changed_s))


def judged(seen: Seen, edge: Expected) -> Finding:
    return judge(seen, edge, NOW, SETTLE)


@pytest.mark.parametrize(
    ("seen", "edge", "agreement", "code"),
    [
        (Seen(YES, 403), expected(), "agrees", "agrees"),
        (Seen(YES, turned_away=True, error="It ended."), expected(), "agrees", "agrees"),
        (Seen(NO, 403), expected(associated=False), "agrees", "agrees"),
        (Seen(YES, 200), expected(rule="none"), "agrees", "agrees"),
        (Seen(YES, 200), expected(rule="log"), "agrees", "agrees"),
        (Seen(YES, turned_away=True, error="It ended."), expected(rule="none"), "agrees", "agrees"),
        (Seen(YES, 200), expected(), "contradicts", "lets_through"),
        (Seen(YES, 204), expected(), "contradicts", "lets_through"),
        (Seen(YES, 401), expected(), "contradicts", "lets_through"),
        (Seen(YES, 404), expected(), "contradicts", "lets_through"),
        (Seen(UNKNOWN, 200), expected(), "contradicts", "lets_through"),
        (Seen(YES, 200), expected(associated=False), "contradicts", "lets_through"),
        (Seen(NO, 403), expected(), "contradicts", "does_not_ask"),
        (Seen(NO, 200), expected(), "contradicts", "does_not_ask"),
        (Seen(NO, 200), expected(rule="none"), "contradicts", "does_not_ask"),
        (Seen(NO, error="It closed."), expected(), "contradicts", "does_not_ask"),
        (Seen(YES, 301), expected(), "cannot_tell", "other_status"),
        (Seen(YES, 429), expected(), "cannot_tell", "other_status"),
        (Seen(YES, 503), expected(), "cannot_tell", "other_status"),
        (Seen(UNKNOWN, 403), expected(), "cannot_tell", "handshake_unread"),
        (Seen(UNKNOWN, error="No address."), expected(), "cannot_tell", "no_answer"),
        (Seen(YES, error="It closed."), expected(), "cannot_tell", "no_answer"),
        (Seen(YES, 200), expected(associated=False, rule="none"), "cannot_tell", "nothing_live"),
        (Seen(NO, 200, certificate_problem="self-signed certificate"), expected(), "cannot_tell", "certificate"),
        (Seen(NO, 200), expected(read_s=None), "cannot_tell", "edge_not_read"),
        (Seen(NO, 200), expected(read_s=901), "cannot_tell", "edge_not_read"),
    ],
)
def test_first_match_wins(seen: Seen, edge: Expected, agreement: str, code: str) -> None:
    found = judged(seen, edge)
    assert (found.agreement.value, found.code) == (agreement, code)
    assert found.sentence.endswith(".")


def test_a_contradiction_right_after_a_change_waits() -> None:
    assert judged(Seen(NO, 200), expected(changed_s=119)).code == "settling"
    assert judged(Seen(NO, 200), expected(changed_s=121)).agreement is Agreement.CONTRADICTS
    assert judged(Seen(YES, 403), expected(changed_s=1)).agreement is Agreement.AGREES


def test_a_change_nobody_dated_does_not_hide_a_contradiction() -> None:
    edge = Expected(True, "block", NOW, None)
    assert judged(Seen(NO, 200), edge).agreement is Agreement.CONTRADICTS


def test_sentences_name_what_was_seen() -> None:
    assert "got 200" in judged(Seen(YES, 200), expected()).sentence
    assert "asks for a certificate, and a request without one got 403" in judged(Seen(YES, 403), expected()).sentence
    assert judged(Seen(UNKNOWN, error="api.pay.example has no address in the DNS."), expected()).sentence == (
        "api.pay.example has no address in the DNS."
    )
    assert "self-signed" in judged(Seen(YES, certificate_problem="self-signed certificate"), expected()).sentence
