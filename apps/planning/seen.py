"""What the rules at the edge do to a hostname, as far as it can be read from them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from apps.planning.rule import hostnames_in, is_ours, pins_in
from apps.planning.state import Mode, RuleState

_QUOTED = re.compile(r'"([^"]*)"')
_LIKE_A_HOSTNAME = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")


def edge_modes(rules: Iterable[RuleState]) -> dict[str, Mode]:
    """Hostname -> what the enabled rules of ours do to it; block wins over log."""
    modes: dict[str, Mode] = {}
    for rule in rules:
        if is_ours(rule) and rule.enabled and rule.action in {Mode.LOG, Mode.BLOCK}:
            for name in hostnames_in(rule.expression):
                if modes.get(name) is not Mode.BLOCK:
                    modes[name] = Mode(rule.action)
    return modes


def refuses(rule: RuleState | None) -> bool:
    return rule is not None and rule.enabled and rule.action == Mode.BLOCK


def is_opaque(rule: RuleState | None) -> bool:
    """Whether the expression is none the portal writes now: edited by hand, or by an older portal."""
    return rule is not None and not hostnames_in(rule.expression)


def may_name(rule: RuleState) -> frozenset[str]:
    """The hostnames of a rule. Of an opaque one, whatever it quotes: it may refuse these, or others still.

    A quoted text may be a pattern with the dots of a hostname escaped.
    """
    if not is_opaque(rule):
        return hostnames_in(rule.expression)
    quoted = (text.replace("\\.", ".").lower() for text in _QUOTED.findall(rule.expression))
    return frozenset(name for text in quoted for name in _LIKE_A_HOSTNAME.findall(text))


def maybe_blocked(rules: Iterable[RuleState]) -> frozenset[str]:
    """Every hostname that an enabled block rule of ours names, or may name."""
    return frozenset(name for rule in rules if is_ours(rule) and refuses(rule) for name in may_name(rule))


def accepted_issuers(rules: Iterable[RuleState], hostname: str) -> frozenset[str] | None:
    """The issuers that all block rules of ours for this hostname let pass; None when none of them asks for any."""
    found: frozenset[str] | None = None
    for rule in rules:
        if is_ours(rule) and refuses(rule) and hostname in hostnames_in(rule.expression):
            pins = pins_in(rule.expression)
            found = pins if found is None else found if pins is None else found & pins
    return found
