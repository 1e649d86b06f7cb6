"""What a rule may look like, and the rule that comes out of what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from apps.sandbox import errors, expressions
from apps.sandbox.ids import microseconds, new_hex_id

Rule = dict[str, Any]
ACTIONS = ("block", "challenge", "js_challenge", "managed_challenge", "log", "skip", "execute")
CONTENT_TYPES = ("application/json", "text/html", "text/plain", "text/xml")
DEFINITION = ("ref", "description", "expression", "action", "action_parameters", "enabled", "logging")
MAX_CONTENT = 2048


def build_rule(sent: object, pointer: str, *, before: Rule | None, now: datetime) -> Rule:
    """The complete rule. `before` is the rule it replaces: a new `ref` makes it another rule. Raises ApiError."""
    if not isinstance(sent, dict):
        raise errors.bad_value("a rule must be an object", pointer=pointer or "/")
    _check(sent, pointer)
    ref = sent.get("ref") or (before["ref"] if before else None)
    same = before is not None and before["ref"] == ref
    rule_id = before["id"] if before and same else new_hex_id()
    rule: Rule = {
        "id": rule_id,
        "version": "1",
        "action": sent["action"],
        "expression": sent["expression"],
        "description": sent.get("description") or "",
        "last_updated": microseconds(now),
        "ref": ref or rule_id,
        "enabled": sent.get("enabled", True),
    }
    rule |= {name: sent[name] for name in ("action_parameters", "logging") if sent.get(name) is not None}
    if before and same:
        if definition_of(rule) == definition_of(before):
            return before
        rule["version"] = str(int(before["version"]) + 1)
    return rule


def definition_of(rule: Mapping[str, Any]) -> Rule:
    """The fields that a client sets, as a PATCH has to send them back."""
    return {name: rule[name] for name in DEFINITION if name in rule}


def refuse_repeated_refs(rules: Sequence[Rule]) -> None:
    """Raises ApiError when two rules share a ref."""
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule["ref"] in seen:
            raise errors.bad_rule_field(rule["ref"], "ref", "it is used by another rule", f"/rules/{number}")
        seen.add(rule["ref"])


def _check(sent: Mapping[str, Any], pointer: str) -> None:
    for name in ("ref", "description", "expression", "action"):
        if sent.get(name) is not None and not isinstance(sent[name], str):
            raise errors.bad_rule_field(sent[name], name, "it must be a string", pointer)
    if not isinstance(sent.get("enabled", True), bool):
        raise errors.bad_rule_field(sent["enabled"], "enabled", "it must be true or false", pointer)
    _check_expression(sent.get("expression") or "", pointer)
    if sent.get("action") not in ACTIONS:
        raise errors.bad_rule_field(sent.get("action") or "", "action", "the action is not known", pointer)
    parameters = sent.get("action_parameters")
    if parameters is not None:
        _check_parameters(parameters, sent["action"], pointer)


def _check_expression(expression: str, pointer: str) -> None:
    if not expression.strip():
        raise errors.blank_expression(pointer)
    if len(expression) > expressions.MAX_LENGTH:
        why = f"it is longer than {expressions.MAX_LENGTH} characters"
        raise errors.bad_expression(expression[:64] + "...", why, pointer)
    try:
        expressions.check(expression)
    except expressions.ParseError as refusal:
        raise errors.bad_expression(expression, f"could not parse filter expression: {refusal}", pointer) from None


def _check_parameters(parameters: object, action: str, pointer: str) -> None:
    field = "action_parameters"
    if not isinstance(parameters, dict):
        raise errors.bad_rule_field(parameters, field, "it must be an object", pointer)
    response = parameters.get("response")
    if response is None:
        return
    if action != "block" or not isinstance(response, dict):
        raise errors.bad_rule_field(response, field, "only block takes a response object", pointer)
    status, content = response.get("status_code"), response.get("content", "")
    if not isinstance(status, int) or not 400 <= status <= 499:
        raise errors.bad_rule_field(status, field, "the status code must be from 400 to 499", pointer)
    if not isinstance(content, str) or len(content.encode()) > MAX_CONTENT:
        raise errors.bad_rule_field("content", field, f"it is longer than {MAX_CONTENT} bytes", pointer)
    if response.get("content_type") not in CONTENT_TYPES:
        raise errors.bad_rule_field(response.get("content_type"), field, "the type is not known", pointer)
