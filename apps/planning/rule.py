"""The enforcement rules of a zone: which expression refuses whom, and how many rules that takes.

https://developers.cloudflare.com/ssl/client-certificates/byo-ca/ gives the plain form. Ours also refuses revoked
certificates and, where it is known who signs a CA's clients, certificates that anyone else signed: without that pin
the edge accepts a certificate of any CA in the account.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from apps.errors import Unsafe
from apps.planning.state import DesiredZone, Mode, RuleState, digest_of

PREFIX = "byoca-"
BRIDGE_PREFIX = "byoca-bridge-"
# Cloudflare takes 4,096 characters, the dashboard stops at 4,000.
MAX_EXPRESSION = 4000
DESCRIPTION = "BYOCA Portal: client certificate required"

_HOSTNAME = re.compile(r"[a-z0-9.-]+")
_SKI = re.compile(r"[0-9A-F]+")
_OURS = re.compile(
    r'\(http\.host in \{(?P<hosts>"[a-z0-9.-]+"(?: "[a-z0-9.-]+")*)\} and \('
    r"not cf\.tls_client_auth\.cert_presented or not cf\.tls_client_auth\.cert_verified"
    r" or cf\.tls_client_auth\.cert_revoked"
    r'(?: or not cf\.tls_client_auth\.cert_issuer_ski in \{(?P<skis>"[0-9A-F]+"(?: "[0-9A-F]+")*)\})?\)\)'
)


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
        rules += make_rules(f"{PREFIX}{digest_of([cas, mode.value])[:12]}-0", mode.value, hostnames, pins)
    return tuple(sorted(rules, key=lambda rule: rule.ref))


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
    """True for a request that must be refused (or logged). Raises ValueError on any text that is not plain."""
    hosts = _quoted(hostnames, _HOSTNAME)
    pin = "" if pins is None else f" or not cf.tls_client_auth.cert_issuer_ski in {{{_quoted(pins, _SKI)}}}"
    return (
        f"(http.host in {{{hosts}}} and (not cf.tls_client_auth.cert_presented"
        f" or not cf.tls_client_auth.cert_verified or cf.tls_client_auth.cert_revoked{pin}))"
    )


def _quoted(words: Iterable[str], allowed: re.Pattern[str]) -> str:
    ordered = sorted(words)
    wrong = [word for word in ordered if not allowed.fullmatch(word)]
    if wrong or not ordered:
        raise ValueError(f"Not fit for an expression: {wrong}")
    return " ".join(f'"{word}"' for word in ordered)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.replace('"', "").split(" "))


def hostnames_in(expression: str) -> frozenset[str]:
    """The hostnames of an expression of ours; none when it is not of our form, for instance after a hand edit."""
    match = _OURS.fullmatch(expression)
    return _words(match["hosts"]) if match else frozenset()


def pins_in(expression: str) -> frozenset[str] | None:
    """The issuer SKIs an expression of ours asks for; None when it is not pinned or not of our form."""
    match = _OURS.fullmatch(expression)
    return _words(match["skis"]) if match and match["skis"] else None


def is_pinned(expression: str) -> bool:
    return pins_in(expression) is not None


def is_ours(rule: RuleState) -> bool:
    """By its ref: only the portal gives refs of this form."""
    return rule.ref.startswith(PREFIX)


def group_of(ref: str) -> str:
    """The part of a ref that all shards of one group of CAs and mode share."""
    return ref.rpartition("-")[0]
