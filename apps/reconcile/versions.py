"""What the steps of a change leave at the edge, call by call: what a read may show of it, however late it comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apps.planning.state import RuleState

# Action, expression, enabled: what we write of a rule.
Words = tuple[str, str, bool]
RULE_WRITES = frozenset({"add_rule", "edit_rule", "delete_rule"})
WRITES = RULE_WRITES | {"replace_list"}


def list_versions(steps: Iterable[Mapping[str, Any]]) -> dict[str, list[frozenset[str]]]:
    """Each list that the steps (as documents) write, by its CA's key: as it was before them, then after each write."""
    found: dict[str, list[frozenset[str]]] = {}
    for step in steps:
        if step["kind"] == "replace_list":
            found.setdefault(step["ca"], [frozenset(step["before"])]).append(frozenset(step["after"]))
    return found


def rule_versions(steps: Iterable[Mapping[str, Any]]) -> dict[str, list[Words | None]]:
    """Each rule that the steps write, by its ref: as it was before them, then after each write. None: no such rule."""
    found: dict[str, list[Words | None]] = {}
    for step in steps:
        if step["kind"] in RULE_WRITES:
            before, after = step.get("before"), step.get("rule")
            versions = found.setdefault((after or before)["ref"], [_words(before)])
            versions.append(_words({**after, "enabled": True} if after else None))
    return found


def words_of(rule: RuleState) -> Words:
    return rule.action, rule.expression, rule.enabled


def _words(rule: Mapping[str, Any] | None) -> Words | None:
    return (rule["action"], rule["expression"], rule["enabled"]) if rule else None
