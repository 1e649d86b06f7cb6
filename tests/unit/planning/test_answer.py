"""One word per hostname: every line of the table, and that Protected is never said of a hostname that is open."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.planning.answer import FRESH_FOR, Answer, HostnameFacts, answer, sentence
from apps.planning.rule import expression_for, pins_for
from apps.planning.rule_facts import RuleFacts, ZoneRules, limited_to, mentions
from apps.planning.state import Mode, RuleState
from tests.unit.planning.interpreter import Request, refused

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOST = "api.x.example"
ISSUERS = {"Root A": frozenset({"AA01"}), "Root B": frozenset({"BB01"})}

PROTECTED = HostnameFacts(
    approved_cas=frozenset({"Root A"}),
    live_cas=frozenset({"Root A"}),
    expired_cas=frozenset(),
    rule_live=True,
    rule_paused=False,
    log_rule=False,
    mode=Mode.BLOCK,
    changing=False,
    push_failed=False,
    has_drift=False,
    read_at=NOW,
    issuers=ISSUERS,
    pins=frozenset({"AA01"}),
)
VERIFIED = replace(PROTECTED, rule_live=False, mode=Mode.VERIFY, pins=None)
NOTHING = replace(VERIFIED, approved_cas=frozenset(), live_cas=frozenset())
A, B, BOTH = frozenset({"Root A"}), frozenset({"Root B"}), frozenset({"Root A", "Root B"})


def said(facts: HostnameFacts, **other: Any) -> tuple[str, str]:
    facts = replace(facts, **other)
    word = answer(facts, NOW)
    return word.value, sentence(word, facts)


@pytest.mark.parametrize(
    ("base", "changes", "word", "words"),
    [
        # Locked out: the rule is live and nobody can satisfy it.
        (PROTECTED, {"live_cas": frozenset()}, "locked_out", "no valid CA is tied to this hostname: every client is"),
        (PROTECTED, {"expired_cas": A}, "locked_out", "no valid CA is tied"),
        (PROTECTED, {"early_cas": A}, "locked_out", "no valid CA is tied"),
        (PROTECTED, {"pins": B}, "locked_out", "accepts none of the issuers that sign clients for Root A: every"),
        (PROTECTED, {"pins": frozenset()}, "locked_out", "accepts none of the issuers"),
        (PROTECTED, {"pins": frozenset(), "issuers": {}}, "locked_out", "accepts none of the issuers"),
        (PROTECTED, {"live_cas": B, "has_drift": True}, "locked_out", "sign clients for Root B"),
        (PROTECTED, {"live_cas": frozenset(), "changing": True, "push_failed": True}, "locked_out", "every client"),
        (PROTECTED, {"live_cas": frozenset(), "bypasses": ("Bots",)}, "locked_out", "unless Bots lets them past"),
        # Not protected: no rule in effect, and no CA that could be asked for.
        (NOTHING, {}, "not_protected", "No CA covers this hostname. Clients are not asked for a certificate."),
        (NOTHING, {"approved_cas": A, "push_failed": True}, "not_protected", "did not reach the edge. Clients are not"),
        (VERIFIED, {"push_failed": True}, "not_protected", "did not reach the edge. Clients are asked for"),
        (VERIFIED, {"expired_cas": A}, "not_protected", "Its CA has expired and no rule is in effect."),
        (VERIFIED, {"early_cas": A}, "not_protected", "Its CA is not valid yet and no rule is in effect."),
        (VERIFIED, {"expired_cas": A, "changing": True}, "not_protected", "has expired"),
        # Changing: known to be on its way.
        (NOTHING, {"approved_cas": A, "changing": True}, "changing", "on its way to the edge. Clients are not asked"),
        (PROTECTED, {"approved_cas": BOTH, "changing": True}, "changing", "on its way to the edge. Clients without"),
        (PROTECTED, {"changing": True, "has_drift": True}, "changing", "on its way"),
        # Drift: any other difference.
        (PROTECTED, {"has_drift": True}, "drift", "differs from what was approved. Clients without a certificate from"),
        (
            NOTHING,
            {"approved_cas": A, "has_drift": True},
            "drift",
            "approved. Clients are not asked for a certificate.",
        ),
        (
            PROTECTED,
            {"live_cas": BOTH},
            "drift",
            "without a certificate from an issuer that the rule names are refused",
        ),
        (PROTECTED, {"live_cas": BOTH, "approved_cas": BOTH}, "drift", "from an issuer that the rule names"),
        (PROTECTED, {"live_cas": B, "issuers": {}}, "drift", "from an issuer that the rule names"),
        (PROTECTED, {"mode": Mode.LOG}, "drift", "are refused"),
        (PROTECTED, {"mode": None}, "drift", "are refused"),
        (PROTECTED, {"pins": None}, "drift", "of any CA in this account are refused. The rule is not pinned."),
        (PROTECTED, {"pins": frozenset({"AA01", "FF"})}, "drift", "from an issuer that the rule names"),
        (VERIFIED, {"live_cas": BOTH}, "drift", "from Root A, Root B. Those without one still get through."),
        # Not enforced: asked for, and not refused.
        (VERIFIED, {}, "not_enforced", "asked for a certificate from Root A. Those without one still get through."),
        (VERIFIED, {"mode": Mode.BLOCK, "rule_paused": True}, "not_enforced", "but its rule is switched off."),
        (VERIFIED, {"mode": Mode.LOG, "log_rule": True}, "not_enforced", "are logged, not refused."),
        (PROTECTED, {"bypasses": ("B", "A")}, "not_enforced", "may let them past it: A, B."),
        # Protected.
        (PROTECTED, {}, "protected", "Clients without a certificate from Root A are refused."),
        (
            PROTECTED,
            {"issuers": {}, "pins": None},
            "protected",
            "of any CA in this account are refused. The rule is not",
        ),
        (PROTECTED, {"push_failed": True}, "protected", "are refused."),
        (
            PROTECTED,
            {"approved_cas": BOTH, "live_cas": BOTH, "pins": frozenset({"AA01", "BB01"}), "expired_cas": B},
            "protected",
            "Clients without a certificate from Root A are refused.",
        ),
        # Unknown outranks them all.
        (PROTECTED, {"read_at": None}, "unknown", "The edge was not read yet, so nothing can be said."),
        (PROTECTED, {"read_at": NOW - FRESH_FOR - timedelta(seconds=1)}, "unknown", "The last read said: protected."),
        (PROTECTED, {"read_at": NOW - 2 * FRESH_FOR, "live_cas": frozenset()}, "unknown", "read said: locked out."),
        (PROTECTED, {"read_at": NOW - FRESH_FOR}, "protected", "are refused"),
        (PROTECTED, {"read_at": NOW + timedelta(minutes=1)}, "protected", "are refused"),
    ],
)
def test_the_table(base: HostnameFacts, changes: dict[str, Any], word: str, words: str) -> None:
    found, text = said(base, **changes)
    assert found == word
    assert words in text


def test_rules_of_others_that_name_the_hostname_are_told_whatever_the_word() -> None:
    for facts in (PROTECTED, VERIFIED, NOTHING, replace(PROTECTED, read_at=None)):
        assert said(facts, others=("Maintenance",))[1].endswith(" names this hostname too: Maintenance.")
        assert "too:" not in said(facts)[1]


def rule(expression: str, action: str = "block", ref: str = "", *, enabled: bool = True, title: str = "") -> RuleState:
    return RuleState("0" * 32, ref, title, action, expression, enabled=enabled, position=0)


def ours(pins: frozenset[str] | None, action: str = "block", *, enabled: bool = True, ref: str = "1") -> RuleState:
    return rule(expression_for([HOST, "b.x.example"], pins), action, f"byoca-{ref}-0", enabled=enabled)


def test_what_the_rules_say_of_one_hostname() -> None:
    assert ZoneRules([]).of(HOST) == RuleFacts()
    pinned = ours(frozenset({"AA01", "BB01"}))
    assert ZoneRules([pinned]).of(HOST) == RuleFacts(block=True, pins=frozenset({"AA01", "BB01"}))
    assert ZoneRules([pinned]).of("c.x.example") == RuleFacts()
    assert ZoneRules([pinned]).hostnames == {HOST, "b.x.example"}
    assert ZoneRules([ours(None, "log")]).of(HOST) == RuleFacts(log=True)
    assert ZoneRules([ours(frozenset({"AA01"}), "log")]).of(HOST) == RuleFacts(log=True, pins=frozenset({"AA01"}))
    assert ZoneRules([ours(None, enabled=False)]).of(HOST) == RuleFacts(paused=True)


def test_several_block_rules_accept_what_all_of_them_accept() -> None:
    one, two, wide = (
        ours(pins, ref=ref) for pins, ref in (({"AA01", "BB01"}, "1"), ({"BB01", "CC"}, "2"), (None, "3"))
    )
    assert ZoneRules([one, two, wide]).of(HOST).pins == {"BB01"}
    assert ZoneRules([ours(frozenset({"AA01"})), ours(frozenset({"BB01"}), ref="2")]).of(HOST).pins == frozenset()
    assert ZoneRules([wide]).of(HOST).pins is None


def test_rules_that_let_past_are_named_only_where_they_run_ahead_and_may_match() -> None:
    block = ours(None)
    for action in ("skip", "allow", "bypass"):
        assert ZoneRules([rule("ip.src eq 192.0.2.1", action, "x"), block]).of(HOST).bypasses == ("x",)
    assert ZoneRules([block, rule("true", "skip", "x")]).of(HOST).bypasses == ()
    assert ZoneRules([rule("true", "skip", "x", enabled=False), block]).of(HOST).bypasses == ()
    assert ZoneRules([rule("true", "managed_challenge", "x"), block]).of(HOST).bypasses == ()
    assert ZoneRules([rule('http.host eq "b.x.example"', "skip", "x"), block]).of(HOST).bypasses == ()
    assert ZoneRules([rule(f'http.host eq "{HOST}"', "skip", "x", title="T"), block]).of(HOST).bypasses == ("T",)
    assert ZoneRules([rule("true", "skip", "x")]).of(HOST) == RuleFacts()
    assert ZoneRules([block, rule("true", "skip", "x"), ours(None, ref="2")]).of(HOST).bypasses == ("x",)
    # One of ours that somebody turned into a skip.
    turned = replace(ours(None, "skip", ref="2"), description="ours")
    assert ZoneRules([turned, block]).of(HOST) == RuleFacts(block=True, bypasses=("ours",), altered=True)


def test_a_hand_edit_of_ours_and_rules_of_others_are_seen_where_they_name_the_hostname() -> None:
    edited = rule(f'(http.host in {{"{HOST}"}} and not cf.tls_client_auth.cert_verified)', ref="byoca-1-0")
    assert ZoneRules([edited]).of(HOST) == RuleFacts(altered=True)
    assert ZoneRules([edited]).of("b.x.example") == RuleFacts()
    theirs = replace(edited, ref="their-rule")
    assert ZoneRules([theirs]).of(HOST) == RuleFacts(others=("their-rule",))
    assert ZoneRules([replace(theirs, enabled=False)]).of(HOST) == RuleFacts()
    assert ZoneRules([replace(theirs, expression=theirs.expression.upper())]).of(HOST).others == ("their-rule",)
    assert ZoneRules([replace(theirs, ref="")]).of(HOST).others == ("0" * 32,)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('http.host eq "a.x.example"', {"a.x.example"}),
        ('(http.host eq "A.x.example:8443" and ip.src eq 192.0.2.1)', {"a.x.example"}),
        ('lower(http.host) == "a.x.example." && not ssl', {"a.x.example"}),
        ('(http.host in {"a.x.example" "b.x.example"}) and http.request.uri.path eq "/this or that"',
         {"a.x.example", "b.x.example"}),
        ('http.host eq "a.x.example" and http.request.uri.path matches r"\\" and ssl', {"a.x.example"}),
        ('http.host eq "a.x.example" or ssl', None),
        ('http.host eq "a.x.example" xor ssl', None),
        ('(http.host eq "a.x.example") || ssl', None),
        ('http.host eq "a.x.example" and http.request.uri.path matches r"\\" or ssl and http.host eq ""', None),
        ('not http.host eq "a.x.example"', None),
        ('!(http.host eq "a.x.example")', None),
        ('http.host ne "a.x.example"', None),
        ('http.host contains "a.x.example"', None),
        ('ssl and http.host eq "a.x.example"', None),
        ('http.host in $partners', None),
        ("true", None),
    ],
)  # fmt: skip
def test_only_a_plain_limit_to_hostnames_is_believed(expression: str, names: set[str] | None) -> None:
    assert limited_to(expression) == names


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('http.host eq "api.x.example"', True), (r'http.host matches r"^(api\.x\.example|b)$"', True),
        ('http.host eq "api.x.example:443"', True), ('http.host in {"b" "api.x.example."}', True),
        ('http.host eq "my.api.x.example"', False), ('http.host eq "my-api.x.example"', False),
        ('http.host eq "api.x.example.com"', False), (r'http.host matches r"api\.x\.example\.com"', False),
        ('http.host eq "apixx.example"', False), ('http.host eq "api.x.examples"', False), ("true", False),
    ],
)  # fmt: skip
def test_a_name_is_found_whole_or_not_at_all(text: str, found: bool) -> None:
    assert mentions(text, HOST) is found


CAS = ("Root A", "Root B", "Root C")
SIGNED_BY = {"Root A": ("AA01", "AA02"), "Root B": ("BB01",), "Root C": ("CC01",)}
some_cas = st.frozensets(st.sampled_from(CAS))
some_pins = st.none() | st.frozensets(st.sampled_from(("AA01", "AA02", "BB01", "CC01")), min_size=1)
theirs = st.sampled_from(
    ["true", f'http.host eq "{HOST}"', 'http.host eq "b.x.example"', 'http.request.uri.path eq "/health"',
     f'http.host eq "b.x.example" or http.host eq "{HOST}"', f'not http.host eq "{HOST}"']
)  # fmt: skip


@st.composite
def edges(draw: st.DrawFn) -> tuple[list[RuleState], HostnameFacts]:
    """Any rules, lists and records; likely enough to be in order for Protected to come up."""
    live, approved = draw(some_cas), draw(some_cas)
    known = {ca: draw(st.none() | st.just(frozenset(SIGNED_BY[ca]))) for ca in CAS}
    tidy = draw(st.booleans())
    if tidy:
        approved = live = live or frozenset({"Root A"})
    pins = draw(st.just(pins_for(live, known)) if tidy and live else some_pins)
    rules = [ours(pins, draw(st.sampled_from(("block", "block", "log"))), enabled=draw(st.integers(0, 9)) > 0)]
    for _ in range(draw(st.integers(0, 2))):
        foreign = rule(draw(theirs), draw(st.sampled_from(("skip", "log", "block"))), "theirs")
        extra = foreign if draw(st.booleans()) else ours(draw(some_pins), ref="2")
        rules.insert(draw(st.integers(0, len(rules))), extra)
    seen = ZoneRules(rules).of(HOST)
    facts = HostnameFacts(
        approved_cas=approved,
        live_cas=live,
        expired_cas=draw(some_cas) if draw(st.integers(0, 3)) == 0 else frozenset(),
        early_cas=draw(some_cas) if draw(st.integers(0, 3)) == 0 else frozenset(),
        issuers=known,
        rule_live=seen.block,
        rule_paused=seen.paused,
        log_rule=seen.log,
        pins=seen.pins,
        bypasses=seen.bypasses,
        others=seen.others,
        mode=draw(st.sampled_from((Mode.BLOCK, Mode.BLOCK, Mode.LOG, None))),
        changing=False,
        push_failed=draw(st.booleans()),
        has_drift=seen.altered,
        read_at=NOW,
    )
    return rules, facts


def clients(facts: HostnameFacts) -> list[tuple[str, Request]]:
    """(Name of the CA that really signed it, or "", what the edge knows), on paths a rule may except."""
    found = [("", Request(HOST)), ("", Request(HOST, presented=True, issuer_ski="AA01"))]
    for ca, signers in SIGNED_BY.items():
        for ski in (*signers, "DD99"):
            # The edge is taken at its laxest: a certificate of any valid CA of the account is verified anywhere.
            good = ca not in facts.expired_cas | facts.early_cas
            found.append((ca, Request(HOST, presented=True, verified=good, issuer_ski=ski)))
            found.append(("", Request(HOST, presented=True, verified=good, revoked=True, issuer_ski=ski)))
    return found + [(ca, replace(request, path="/health")) for ca, request in found]


@settings(max_examples=600)
@given(edges())
def test_protected_is_said_only_of_a_hostname_that_is_closed_and_open_to_its_own(
    edge: tuple[list[RuleState], HostnameFacts],
) -> None:
    rules, facts = edge
    if answer(facts, NOW) is not Answer.PROTECTED:
        return
    let_in = set()
    for ca, request in clients(facts):
        passes = not refused(rules, request)
        accepted = request.verified and not request.revoked
        if facts.pins is not None:
            signers = {ski for name in facts.live_cas for ski in facts.issuers[name] or ()}
            accepted = accepted and request.issuer_ski in signers
        assert accepted or not passes
        if passes:
            let_in.add(ca)
    # What other people's block rules refuse beyond that is theirs to say: the word is about ours.
    assert let_in & facts.valid_cas or any(r.action == "block" and r.ref == "theirs" for r in rules)


@settings(max_examples=600)
@given(edges())
def test_locked_out_is_said_only_when_no_client_gets_in(edge: tuple[list[RuleState], HostnameFacts]) -> None:
    rules, facts = edge
    if answer(facts, NOW) is not Answer.LOCKED_OUT or facts.bypasses:
        return
    for ca, request in clients(facts):
        # The strict edge here: a certificate is verified only against the CAs of this hostname.
        genuine = request.issuer_ski in SIGNED_BY.get(ca, ()) and ca in facts.live_cas
        assert refused(rules, replace(request, verified=request.verified and genuine))


def test_both_words_do_come_up() -> None:
    """The two properties above would hold of an answer that says neither."""
    rules = [ours(frozenset({"AA01"}))]
    facts = ZoneRules(rules).of(HOST)
    assert said(PROTECTED, rule_live=facts.block, pins=facts.pins)[0] == "protected"
    assert said(PROTECTED, rule_live=facts.block, pins=facts.pins, live_cas=B, approved_cas=B)[0] == "locked_out"
