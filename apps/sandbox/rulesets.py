"""Whole rulesets of a zone: https://developers.cloudflare.com/ruleset-engine/rulesets-api/

Last writer wins: there are no preconditions. A dry run takes the same path and is undone by the gateway.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from apps.sandbox import errors, ruleset_store
from apps.sandbox.rule_forms import Rule, build_rule
from apps.sandbox.ruleset_store import PHASES, Ruleset
from apps.sandbox.wire import Call, Reply


def list_rulesets(call: Call) -> Reply:
    """Without the rules."""
    found = ruleset_store.rulesets_of(call.db, call.params["zone_id"])
    return Reply([ruleset.document(with_rules=False) for ruleset in found])


def create_ruleset(call: Call) -> Reply:
    """The entry point of a phase, once. Raises ApiError 20217 when the zone has it already."""
    body = call.json_object()
    name, kind, phase = body.get("name"), body.get("kind"), body.get("phase")
    if not isinstance(name, str) or not name:
        raise errors.bad_value("name is required", pointer="/name")
    if kind != "zone":
        raise errors.bad_value(f"kind must be zone here, not {kind!r}", pointer="/kind")
    if not isinstance(phase, str) or phase not in PHASES:
        raise errors.bad_value(f"phase is not known: {phase!r}", pointer="/phase")
    if ruleset_store.entry_point(call.db, call.params["zone_id"], phase):
        raise errors.second_entry_point(phase)
    ruleset = Ruleset(call.params["zone_id"], phase, name=name)
    return _replace(call, ruleset, body)


def get_ruleset(call: Call) -> Reply:
    return shown(call, _lagging(call, wanted(call)))


def put_ruleset(call: Call) -> Reply:
    return _replace(call, wanted(call), call.json_object())


def delete_ruleset(call: Call) -> Reply:
    ruleset_store.delete(call.db, wanted(call))
    return Reply(None, status=204)


def get_entry_point(call: Call) -> Reply:
    return shown(call, _lagging(call, _entry_point(call)))


def put_entry_point(call: Call) -> Reply:
    """Creates it when the zone has none; replaces all rules, those of other people too."""
    phase = _phase(call)
    zone_id = call.params["zone_id"]
    ruleset = ruleset_store.entry_point(call.db, zone_id, phase) or Ruleset(zone_id, phase)
    return _replace(call, ruleset, call.json_object())


def list_versions(call: Call) -> Reply:
    found = ruleset_store.versions_of(call.db, _entry_point(call))
    return Reply([{name: value for name, value in item.items() if name != "rules"} for item in found])


def get_version(call: Call) -> Reply:
    wanted_version = call.params["version"]
    for document in ruleset_store.versions_of(call.db, _entry_point(call)):
        if document["version"] == wanted_version:
            return Reply(document)
    raise errors.ruleset_unknown(f"version {wanted_version}")


def shown(call: Call, ruleset: Ruleset) -> Reply:
    """The whole ruleset; whether an empty one has `rules` is not known."""
    return Reply(ruleset.document(with_rules=bool(ruleset.rules) or call.switches.empty_rules_shown))


def wanted(call: Call) -> Ruleset:
    """The ruleset that the path names. Raises ApiError 404."""
    return ruleset_store.ruleset_by_id(call.db, call.params["zone_id"], call.params["ruleset_id"])


def _entry_point(call: Call) -> Ruleset:
    phase = _phase(call)
    ruleset = ruleset_store.entry_point(call.db, call.params["zone_id"], phase)
    if ruleset is None:
        raise errors.no_entry_point(phase)
    return ruleset


def _lagging(call: Call, ruleset: Ruleset) -> Ruleset:
    """The ruleset as it was `rules_lag_s` ago. Raises ApiError 404 when it was not there yet."""
    if not call.switches.rules_lag_s:
        return ruleset
    moment = call.now - timedelta(seconds=call.switches.rules_lag_s)
    found = ruleset_store.as_of(call.db, ruleset, moment)
    if found is None:
        raise errors.no_entry_point(ruleset.phase)
    return found


def _phase(call: Call) -> str:
    phase = call.params["phase"]
    if phase not in PHASES:
        raise errors.bad_value(f"phase is not known: {phase!r}")
    return phase


def _replace(call: Call, ruleset: Ruleset, body: dict[str, Any]) -> Reply:
    for name in ("name", "kind", "phase"):
        if name in body and body[name] != getattr(ruleset, name):
            raise errors.bad_value(f"{name} cannot be changed", pointer=f"/{name}")
    description = body.get("description", ruleset.description)
    if not isinstance(description, str):
        raise errors.bad_value("description must be a string", pointer="/description")
    sent = body.get("rules", [])
    if not isinstance(sent, list):
        raise errors.bad_value("rules must be a list", pointer="/rules")
    ruleset.description = description
    ruleset.rules = [
        build_rule(item, f"/rules/{number}", before=_earlier(item, ruleset.rules), now=call.now)
        for number, item in enumerate(sent)
    ]
    ruleset_store.save(call.db, ruleset, call.switches, call.now)
    return shown(call, ruleset)


def _earlier(sent: object, rules: list[Rule]) -> Rule | None:
    """The rule that keeps its id: the same `id`, or the same `ref`."""
    if not isinstance(sent, dict):
        return None
    by_id = (rule for rule in rules if rule["id"] == sent.get("id"))
    by_ref = (rule for rule in rules if sent.get("ref") and rule["ref"] == sent["ref"])
    return next(by_id, None) or next(by_ref, None)
