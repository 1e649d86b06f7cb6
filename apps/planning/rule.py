"""The enforcement rules of a zone: which expression refuses whom, and how many rules that takes.

https://developers.cloudflare.com/ssl/client-certificates/byo-ca/ gives the plain form. Ours also refuses revoked
certificates and, where it is known who signs a CA's clients, certificates that anyone else signed: without that pin
the edge accepts a certificate of any CA in the account. docs/enforcement.md explains each part.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from apps.errors import Unsafe
from apps.planning.state import DesiredZone, Mode, RuleState, digest_of

PREFIX = "byoca-"
BRIDGE_PREFIX = "byoca-bridge-"
# Cloudflare takes 4,096 characters, the dashboard stops at 4,000.
MAX_EXPRESSION = 4000
DESCRIPTION = "BYOCA Portal: client certificate required"

_HOSTNAME = re.compile(r"[a-z0-9.-]*[a-z0-9-]")
_SKI = re.compile(r"[0-9A-F]+")
_REF = re.compile(r"byoca-(?:[a-z0-9]+-)+0[01]*")
_HOSTS_START, _HOSTS_END = "(http.host in {", "} and ("
_PIN_START, _PIN_END = " or not cf.tls_client_auth.cert_issuer_ski in {", "}"


@dataclass(frozen=True)
class DesiredRule:
    """One rule as it should be: enabled, and about exactly these hostnames."""

    ref: str
    description: str
    action: str
    expression: str
    hostnames: frozenset[str]


def compile_rules(zone: DesiredZone) -> tuple[DesiredRule, ...]:
    """The rules that the approved state asks for, sorted by ref.

    Hostnames in log or block mode are grouped by (their CAs, mode); a hostname without an approved CA is in no rule.
    A group too long for one rule is split in two by the next bit of each hostname's hash, so that one more hostname
    changes one rule. Raises ValueError on a hostname or SKI that is not plain, Unsafe when the pins alone fill a rule.
    """
    groups: dict[tuple[tuple[str, ...], Mode], set[str]] = {}
    for hostname, mode in zone.modes.items():
        cas = tuple(sorted(zone.cas_of(hostname)))
        if mode is not Mode.VERIFY and cas:
            groups.setdefault((cas, mode), set()).add(hostname)
    rules: list[DesiredRule] = []
    for (cas, mode), hostnames in groups.items():
        pins = pins_for(cas, zone.issuers)
        rules += make_rules(group_ref(cas, mode), mode.value, hostnames, pins)
    return tuple(sorted(rules, key=lambda rule: rule.ref))


def group_ref(cas: Iterable[str], mode: Mode) -> str:
    """The ref of the rule for hostnames of exactly these CAs in this mode, or of its first shard."""
    return f"{PREFIX}{digest_of([sorted(cas), mode.value])[:12]}-0"


def pins_for(cas: Iterable[str], issuers: Mapping[str, frozenset[str] | None]) -> frozenset[str] | None:
    """The SKIs a rule for these CAs may ask for; None as soon as the issuers of one of them are not known."""
    known = [issuers.get(ca) for ca in cas]
    if not all(known):
        return None
    return frozenset(ski for skis in known for ski in skis or ())


def make_rules(ref: str, action: str, hostnames: Iterable[str], pins: frozenset[str] | None) -> list[DesiredRule]:
    """One rule for these hostnames, or several when it would be too long. Raises as `compile_rules` does."""
    return _sharded(ref, action, set(hostnames), pins, depth=0)


def _sharded(ref: str, action: str, hostnames: set[str], pins: frozenset[str] | None, depth: int) -> list[DesiredRule]:
    rule = make_rule(ref, action, hostnames, pins)
    if len(rule.expression) <= MAX_EXPRESSION:
        return [rule]
    if len(hostnames) == 1:
        raise Unsafe(
            "The rule would be longer than Cloudflare takes: its CAs have too many known issuers. "
            "Cover the hostname with fewer CAs or issuers.",
            code="rule_too_long",
        )
    halves: tuple[set[str], set[str]] = (set(), set())
    for hostname in hostnames:
        halves[_bit(hostname, depth)].add(hostname)
    found = []
    for bit, half in enumerate(halves):
        if half:
            found += _sharded(f"{ref}{bit}", action, half, pins, depth + 1)
    return found


def _bit(hostname: str, depth: int) -> int:
    number = int.from_bytes(hashlib.sha256(hostname.encode()).digest(), "big")
    return number >> (255 - depth) & 1


def make_rule(ref: str, action: str, hostnames: Iterable[str], pins: frozenset[str] | None) -> DesiredRule:
    names = frozenset(hostnames)
    return DesiredRule(ref, DESCRIPTION, action, expression_for(names, pins), names)


def expression_for(hostnames: Iterable[str], pins: frozenset[str] | None) -> str:
    """True for a request that must be refused (or logged). Raises ValueError on any text that is not plain.

    The host part is the one that Cloudflare documents for this rule. Whether `http.host` keeps a port or capitals of
    the Host header is not documented (docs/enforcement.md, "What is not known").
    """
    pin = "" if pins is None else f"{_PIN_START}{_quoted(pins, _SKI)}{_PIN_END}"
    return (
        f"{_HOSTS_START}{_quoted(hostnames, _HOSTNAME)}{_HOSTS_END}not cf.tls_client_auth.cert_presented"
        f" or not cf.tls_client_auth.cert_verified or cf.tls_client_auth.cert_revoked{pin}))"
    )


def _quoted(words: Iterable[str], allowed: re.Pattern[str]) -> str:
    """Sorted, once each. An empty set is refused too: no pin at all must be said with None."""
    ordered = sorted(set(words))
    wrong = [word for word in ordered if not allowed.fullmatch(word)]
    if wrong or not ordered:
        raise ValueError(f"Not fit for an expression: {wrong}")
    return " ".join(f'"{word}"' for word in ordered)


def hostnames_in(expression: str) -> frozenset[str]:
    """The hostnames of an expression of ours; none when it is not of our form, for instance after a hand edit."""
    return _read(expression)[0]


def pins_in(expression: str) -> frozenset[str] | None:
    """The issuer SKIs an expression of ours asks for; None when it is not pinned or not of our form."""
    return _read(expression)[1]


def is_pinned(expression: str) -> bool:
    return pins_in(expression) is not None


@lru_cache(maxsize=4096)
def _read(expression: str) -> tuple[frozenset[str], frozenset[str] | None]:
    """Names and pins of an expression that `expression_for` wrote, to the letter. Nothing is guessed from others."""
    names = _words(_between(_HOSTS_START, _HOSTS_END, expression))
    skis = _between(_PIN_START, _PIN_END, expression)
    pins = _words(skis) if skis else None
    try:
        ours = expression_for(names, pins) == expression
    except ValueError:
        ours = False
    return (names, pins) if ours else (frozenset(), None)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.replace('"', "").split(" "))


def _between(start: str, end: str, text: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def is_ours(rule: RuleState) -> bool:
    """By its ref, whose form (`byoca-...-0`, `-01`, ...) the portal alone gives. The rest may have been edited."""
    return _REF.fullmatch(rule.ref) is not None


def is_altered(rule: RuleState) -> bool:
    """One of ours whose expression or action the portal never writes: what it refuses now is not known."""
    return is_ours(rule) and (not hostnames_in(rule.expression) or rule.action not in {Mode.LOG, Mode.BLOCK})


def group_of(ref: str) -> str:
    """The part of a ref that all shards of one group of CAs and mode share."""
    return ref.rpartition("-")[0]
