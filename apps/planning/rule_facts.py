"""What the custom rules of a zone, as read, do to one hostname.

Nothing is evaluated here. A rule of ours is known by its exact text; one of somebody else that may let requests past
ours counts against us unless its text plainly leaves the hostname out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from apps.planning.rule import hostnames_in, is_altered, is_ours, pins_in
from apps.planning.state import Mode, RuleState

# `bypass` and `allow` are from before custom rules, and still read where they were migrated.
PASSING = frozenset({"skip", "allow", "bypass"})

_HOST = r"(?:http\.host|lower\(http\.host\))"
_ONE = re.compile(rf'\(*{_HOST} (?:eq|==) "([^"\\]+)"\)*(?= and | && |$)')
_SEVERAL = re.compile(rf'\(*{_HOST} in \{{("[^"\\]+"(?: "[^"\\]+")*)\}}\)*(?= and | && |$)')
_OTHERWISE = re.compile(r"\b(?:or|xor)\b|\|\||\^\^")
_STRING = re.compile(r'r(?P<hashes>#*)".*?"(?P=hashes)|"(?:[^"\\]|\\.)*"', re.DOTALL)


@dataclass(frozen=True)
class RuleFacts:
    """What is known of one hostname.

    `pins` are the issuers that all live block rules of ours accept (log rules where none blocks); None: not pinned.
    `bypasses` names rules of others that run before the last of them and may let its requests past it; `others` names
    further rules that mention it; `altered` says that one of ours mentions it and was edited by hand.
    """

    block: bool = False
    log: bool = False
    paused: bool = False
    pins: frozenset[str] | None = None
    bypasses: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    altered: bool = False


class ZoneRules:
    """The rules of one read, in the order of evaluation, indexed once for many hostnames."""

    def __init__(self, rules: Iterable[RuleState]) -> None:
        self._ours: dict[str, list[tuple[int, RuleState]]] = {}
        self._passing: list[tuple[int, RuleState, frozenset[str] | None]] = []
        self._foreign: list[tuple[str, RuleState]] = []
        self._altered: list[str] = []
        for place, rule in enumerate(rules):
            if rule.enabled and rule.action in PASSING:
                self._passing.append((place, rule, limited_to(rule.expression)))
            if is_altered(rule):
                self._altered.append(rule.expression.lower())
            elif is_ours(rule):
                for name in hostnames_in(rule.expression):
                    self._ours.setdefault(name, []).append((place, rule))
            elif rule.enabled and rule.action not in PASSING:
                self._foreign.append((rule.expression.lower(), rule))

    @property
    def hostnames(self) -> frozenset[str]:
        """Those that a rule of ours names, in effect or not."""
        return frozenset(self._ours)

    def of(self, hostname: str) -> RuleFacts:
        """The facts of one hostname, canonical."""
        ours = self._ours.get(hostname, [])
        blocking = [(place, rule) for place, rule in ours if rule.enabled and rule.action == Mode.BLOCK]
        last = max((place for place, _ in blocking), default=0)
        logging = [(place, rule) for place, rule in ours if rule.enabled and rule.action == Mode.LOG]
        pinned = [pins for _, rule in blocking or logging if (pins := pins_in(rule.expression)) is not None]
        return RuleFacts(
            block=bool(blocking),
            log=bool(logging),
            paused=any(not rule.enabled for _, rule in ours),
            pins=frozenset.intersection(*pinned) if pinned else None,
            bypasses=tuple(
                title(rule)
                for place, rule, names in self._passing
                if place < last and (names is None or hostname in names)
            ),
            others=tuple(title(rule) for text, rule in self._foreign if mentions(text, hostname)),
            altered=any(mentions(text, hostname) for text in self._altered),
        )


def limited_to(expression: str) -> frozenset[str] | None:
    """The only hostnames an expression can be true for, where it says so plainly; None: it may be any.

    Plainly is `http.host eq "..."` or `http.host in {...}` at the very start, and nothing in it that is an alternative.
    """
    if _OTHERWISE.search(_STRING.sub('""', expression)):
        return None
    found = _ONE.match(expression) or _SEVERAL.match(expression)
    if found is None:
        return None
    spelled = found[1].lower().replace('"', "").split(" ")
    return frozenset(name.partition(":")[0].removesuffix(".") for name in spelled)


def mentions(text: str, hostname: str) -> bool:
    """Whether a lower-case text names the hostname, plainly or with its dots escaped, and not within a longer name."""
    escaped = hostname.replace(".", r"\.")
    if hostname not in text and escaped not in text:
        return False
    name = rf"(?:{re.escape(hostname)}|{re.escape(escaped)})"
    return re.search(rf"(?<![a-z0-9.-]){name}(?!\\?\.?[a-z0-9-])", text) is not None


def title(rule: RuleState) -> str:
    """What people know a rule by."""
    return rule.description or rule.ref or rule.id
