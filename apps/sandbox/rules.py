"""Single rules: the calls that cannot wipe other people's rules.

https://developers.cloudflare.com/ruleset-engine/rulesets-api/add-rule/ and its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.sandbox import errors, ruleset_store
from apps.sandbox.rule_forms import Rule, build_rule
from apps.sandbox.rulesets import shown, wanted
from apps.sandbox.wire import Call, Reply


def add_rule(call: Call) -> Reply:
    """At the end, or where `position` says. Answers the whole ruleset."""
    body = call.json_object()
    ruleset = wanted(call)
    rule = build_rule(body, "", before=None, now=call.now)
    ruleset.rules.append(rule)
    if "position" in body:
        move(ruleset.rules, rule, body["position"])
    ruleset_store.save(call.db, ruleset, call.switches, call.now)
    return shown(call, ruleset)


def edit_rule(call: Call) -> Reply:
    """The body is the complete definition, or `position` alone: then only the place changes."""
    body = call.json_object()
    ruleset = wanted(call)
    rule = find_rule(ruleset.rules, call.params["rule_id"])
    if set(body) != {"position"}:
        changed = build_rule(body, "", before=rule, now=call.now)
        ruleset.rules[ruleset.rules.index(rule)] = changed
        rule = changed
    if "position" in body:
        move(ruleset.rules, rule, body["position"])
    ruleset_store.save(call.db, ruleset, call.switches, call.now)
    return shown(call, ruleset)


def delete_rule(call: Call) -> Reply:
    ruleset = wanted(call)
    ruleset.rules.remove(find_rule(ruleset.rules, call.params["rule_id"]))
    ruleset_store.save(call.db, ruleset, call.switches, call.now)
    return shown(call, ruleset)


def find_rule(rules: list[Rule], rule_id: str) -> Rule:
    """Raises ApiError 404."""
    for rule in rules:
        if rule["id"] == rule_id:
            return rule
    raise errors.rule_unknown(rule_id)


def move(rules: list[Rule], rule: Rule, position: object) -> None:
    """Put `rule`, which is in `rules`, where the position says. Raises ApiError on any other position."""
    if not isinstance(position, dict) or len(position) != 1 or not set(position) <= {"before", "after", "index"}:
        raise errors.bad_value("position takes exactly one of before, after, index", pointer="/position")
    rules.remove(rule)
    rules.insert(_place(rules, position), rule)


def _place(others: list[Rule], position: Mapping[str, Any]) -> int:
    index = position.get("index")
    if "index" in position:
        if type(index) is not int or not 1 <= index <= len(others) + 1:
            raise errors.bad_value("the position index is out of range", pointer="/position/index")
        return index - 1
    side, neighbour = next(iter(position.items()))
    if neighbour == "":
        return 0 if side == "before" else len(others)
    for number, rule in enumerate(others):
        if rule["id"] == neighbour:
            return number if side == "before" else number + 1
    raise errors.bad_value(f"there is no rule {neighbour!r} to stand beside", pointer=f"/position/{side}")
