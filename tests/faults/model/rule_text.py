"""What rules of the portal do, read by an interpreter that was written from Cloudflare's documentation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.unit.planning.interpreter import NotUnderstood, Request, matches

OURS = re.compile(r"byoca-(?:[a-z0-9]+-)+0[01]*")
QUOTED = re.compile(r'"([a-z0-9-]+(?:\.[a-z0-9-]+)+)"')
# No rule at all, and a rule that cannot be understood.
NONE, UNREADABLE = "verify", "unreadable"
STRICTNESS = {NONE: 0, "log": 1, "block": 2, UNREADABLE: 3}

Rule = Mapping[str, Any]


def is_ours(rule: Rule) -> bool:
    return OURS.fullmatch(str(rule.get("ref", ""))) is not None


def others(rules: Iterable[Rule] | None) -> list[Rule]:
    """Rules of other people, whole and in their order."""
    return [rule for rule in rules or () if not is_ours(rule)]


def actions(rules: Iterable[Rule] | None) -> dict[str, str]:
    """Hostname -> what rules of ours do with a client that has no certificate: the strictest of log and block."""
    found: dict[str, str] = {}
    for rule in rules or ():
        if not is_ours(rule) or not rule.get("enabled", True):
            continue
        expression = str(rule["expression"])
        for hostname in QUOTED.findall(expression):
            action = _action(str(rule["action"]), expression, hostname)
            if STRICTNESS[action] > STRICTNESS[found.get(hostname, NONE)]:
                found[hostname] = action
    return found


def _action(action: str, expression: str, hostname: str) -> str:
    try:
        caught = matches(expression, Request(hostname))
    except NotUnderstood:
        return UNREADABLE
    if not caught:
        return NONE
    return action if action in STRICTNESS else UNREADABLE
