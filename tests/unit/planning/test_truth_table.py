"""The compiled rules against what was meant: every client on every hostname, blocked if and only if it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.planning.rule import compile_rules
from apps.planning.state import DesiredZone, Mode
from tests.unit.planning.interpreter import NotUnderstood, Request, compiled, matches, refused

ZONE = "northwind.example"
A, B, STRANGER = "a" * 64, "b" * 64, "c" * 64
SIGNERS = {A: ("AA01", "AA02"), B: ("BB01", "BB02"), STRANGER: ("CC01",)}


@dataclass(frozen=True)
class Client:
    """`state`: good, revoked, expired, forged (says it was signed by `issuer`, and was not) or none."""

    state: str
    issuer: str = ""

    def asks(self, host: str) -> Request:
        """What the edge knows of it: an expired or forged certificate is presented and not verified."""
        verified = self.state in {"good", "revoked"}
        return Request(host, self.state != "none", verified, self.state == "revoked", self.issuer)


def clients() -> Iterator[Client]:
    yield Client("none")
    for state, signers in product(("good", "revoked", "expired", "forged"), SIGNERS.values()):
        yield from (Client(state, issuer) for issuer in signers)


def should_be_refused(zone: DesiredZone, host: str, client: Client) -> bool:
    """The intent, in words of people and not of expressions."""
    cas = zone.cas_of(host)
    if zone.modes.get(host) is not Mode.BLOCK or not cas:
        return False
    if client.state != "good":
        return True
    issuers = [zone.issuers.get(ca) for ca in cas]
    return all(issuers) and not any(client.issuer in (known or ()) for known in issuers)


def subsets(values: tuple[str, ...]) -> list[frozenset[str]]:
    return [frozenset(some) for size in range(len(values) + 1) for some in combinations(values, size)]


def zone_of(covered: dict[str, frozenset[str]], modes: dict[str, Mode], issuers: dict[str, frozenset[str] | None]):
    cas = {ca for some in covered.values() for ca in some}
    lists = {ca: frozenset(host for host, some in covered.items() if ca in some) for ca in cas}
    return DesiredZone(ZONE, lists, modes=modes, issuers=issuers)


KNOWN = (None, frozenset(), frozenset({"1"}), frozenset({"1", "2"}))


@pytest.mark.parametrize("a_knows", KNOWN)
@pytest.mark.parametrize("b_knows", KNOWN)
def test_every_small_zone_refuses_exactly_whom_it_should(a_knows, b_knows) -> None:
    issuers = {
        A: None if a_knows is None else frozenset(f"AA0{n}" for n in a_knows),
        B: None if b_knows is None else frozenset(f"BB0{n}" for n in b_knows),
    }
    asked = list(clients())
    for ones, twos, one, two in product(subsets((A, B)), subsets((A, B)), Mode, Mode):
        covered = {f"one.{ZONE}": ones, f"two.{ZONE}": twos}
        zone = zone_of(covered, {f"one.{ZONE}": one, f"two.{ZONE}": two}, issuers)
        rules = compile_rules(zone)
        for host, client in product((*covered, f"other.{ZONE}"), asked):
            assert refused(rules, client.asks(host)) is should_be_refused(zone, host, client), (zone, host, client)


def test_a_client_of_one_ca_does_not_open_a_hostname_of_another() -> None:
    """The trap that pinning is for: the edge verifies against every CA it knows."""
    covered = {"one.x.example": frozenset({A}), "two.x.example": frozenset({B}), "both.x.example": frozenset({A, B})}
    issuers = {A: frozenset({"AA01"}), B: frozenset({"BB01"})}
    rules = compile_rules(zone_of(covered, dict.fromkeys(covered, Mode.BLOCK), issuers))
    opened = {
        host: {issuer for issuer in ("AA01", "BB01", "CC01") if not refused(rules, Client("good", issuer).asks(host))}
        for host in covered
    }
    assert opened == {"one.x.example": {"AA01"}, "two.x.example": {"BB01"}, "both.x.example": {"AA01", "BB01"}}


def test_five_cas_are_no_laxer_than_one() -> None:
    cas = {f"{n}" * 64: frozenset({f"0{n}", f"1{n}"}) for n in range(1, 6)}
    zone = zone_of({"a.x.example": frozenset(cas)}, {"a.x.example": Mode.BLOCK}, cas)
    rules = compile_rules(zone)
    for issuer in (f"{tens}{ones}" for tens in range(3) for ones in range(10)):
        known = any(issuer in skis for skis in cas.values())
        assert refused(rules, Client("good", issuer).asks("a.x.example")) is not known


@pytest.mark.parametrize(
    "other", ["apixx.example", "api-x.example", "xapi.x.example", "api.x.example.x.example", "my.api.x.example",
              "api.x.exampl", "api.x.examplee", "x.example", ""],
)  # fmt: skip
def test_a_hostname_that_only_looks_alike_is_left_alone(other: str) -> None:
    rules = compile_rules(zone_of({"api.x.example": frozenset({A})}, {"api.x.example": Mode.BLOCK}, {A: None}))
    assert not refused(rules, Client("none").asks(other))


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
skis = st.from_regex(r"[0-9A-F]{4,40}", fullmatch=True)


@st.composite
def zones(draw: st.DrawFn) -> DesiredZone:
    cas = [f"{n}" * 64 for n in range(draw(st.integers(1, 5)))]
    hosts = draw(st.lists(labels.map(lambda label: f"{label}.{ZONE}"), min_size=1, max_size=40, unique=True))
    covered = {host: frozenset(draw(st.lists(st.sampled_from(cas), max_size=5))) for host in hosts}
    known = st.one_of(st.none(), st.frozensets(skis, max_size=4))
    modes = {host: draw(st.sampled_from(Mode)) for host in hosts}
    return zone_of(covered, modes, {ca: draw(known) for ca in cas})


@given(zones(), st.data())
def test_larger_zones_refuse_exactly_whom_they_should(zone: DesiredZone, data: st.DataObject) -> None:
    rules = compile_rules(zone)
    signers = sorted({ski for known in zone.issuers.values() for ski in known or ()} | {"CC01"})
    for host in (*zone.modes, f"unmanaged.elsewhere.{ZONE}"):
        state = data.draw(st.sampled_from(("none", "good", "good", "revoked", "expired", "forged")))
        client = Client(state, "" if state == "none" else data.draw(st.sampled_from(signers)))
        assert refused(rules, client.asks(host)) is should_be_refused(zone, host, client)
        naming = [rule for rule in rules if matches(rule.expression, Client("none").asks(host))]
        assert len(naming) == (1 if zone.cas_of(host) and zone.modes.get(host, Mode.VERIFY) is not Mode.VERIFY else 0)


@pytest.mark.parametrize(
    ("expression", "host", "expected"),
    [
        ('http.host eq "a"', "a", True),
        ('http.host == "a" or http.host eq "b" and http.host eq "c"', "a", True),
        ('(http.host eq "a" or http.host eq "b") and http.host eq "c"', "a", False),
        ('http.host eq "a" xor http.host eq "a" or http.host eq "a"', "a", True),
        ('http.host in {"a" "a"} ^^ http.host eq "b" && http.host ne "b"', "a", True),
        ('not http.host in {"a" "b"}', "b", False),
        ('!(http.host eq "a") and not not http.host eq "b"', "b", True),
        (r'http.host eq "q\"\\"', 'q"\\', True),
        ('http.host eq r#"q"x"#', 'q"x', True),
        ('lower(http.host) eq "a" || http.host contains "zz"', "A", True),
        ('starts_with(http.host, "a:")', "a:1", True),
        (r'http.host matches r"^a\.b$"', "a.b\n", False),
        (r'http.host ~ r"(?i)^A"', "ab", True),
        ("cf.tls_client_auth.cert_verified or not cf.tls_client_auth.cert_presented", "a", True),
    ],
)
def test_the_interpreter_reads_the_language_as_documented(expression: str, host: str, expected: bool) -> None:
    assert matches(expression, Request(host)) is expected


@pytest.mark.parametrize(
    "expression", ["", "http.host", 'http.host EQ "a"', 'http.host in {}', 'http.host in {"a", "b"}',
                   '"a" eq http.host', r'http.host matches "a\.b"', 'http.hostname eq "a"',
                   '(http.host eq "a"', 'http.host eq "a" "b"', r'http.host eq "\n"', "ssl",
                   'http.host matches r"[a-z]"', f'http.host eq "{"x" * 4090}"', 'starts_with(http.host "a")'],
)  # fmt: skip
def test_the_interpreter_refuses_what_it_does_not_know(expression: str) -> None:
    with pytest.raises(NotUnderstood):
        compiled(expression)


def test_rules_run_in_order_and_a_skip_ahead_ends_it() -> None:
    @dataclass(frozen=True)
    class Written:
        action: str
        expression: str
        enabled: bool = True

    block = Written("block", 'http.host eq "a"')
    skip = Written("skip", 'http.host eq "a"')
    assert refused([Written("log", 'http.host eq "a"'), block], Request("a"))
    assert not refused([skip, block], Request("a"))
    assert refused([block, skip], Request("a"))
    assert not refused([Written("block", 'http.host eq "a"', enabled=False)], Request("a"))
