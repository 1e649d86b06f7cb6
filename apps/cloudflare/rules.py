"""Custom rules of a zone, rule by rule: a single-rule call cannot wipe what others wrote.

https://developers.cloudflare.com/ruleset-engine/rulesets-api/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from apps.cloudflare.errors import NotFoundAtEdge, NotRehearsed
from apps.cloudflare.records import Caller, flag, identifier, listing, mapping, segment, text

PHASE = "http_request_firewall_custom"
NO_ENTRYPOINT = frozenset({10001, 10003})


@dataclass(frozen=True)
class Rule:
    """One rule as read; `position` counts from 0 in the order of evaluation."""

    id: str
    ref: str
    version: str
    action: str
    expression: str
    description: str
    enabled: bool
    position: int


@dataclass(frozen=True)
class Ruleset:
    """The zone's entry point of the phase. Every change adds one to `version`."""

    id: str
    version: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class RuleWrite:
    """A complete rule: a partial body is refused by Cloudflare (20125)."""

    ref: str
    description: str
    action: str
    expression: str
    enabled: bool = True


@dataclass(frozen=True)
class Rules:
    """With `dry_run` Cloudflare validates and keeps nothing; those calls return None."""

    client: Caller

    def entrypoint(self, zone_id: str) -> Ruleset | None:
        """The zone's custom rules; None when it never had any (404 with 10003, not any 404)."""
        try:
            answer = self.client.call("GET", f"{_rulesets(zone_id)}/phases/{PHASE}/entrypoint")
        except NotFoundAtEdge as error:
            if NO_ENTRYPOINT.isdisjoint(error.codes):
                raise
            return None
        return _ruleset(answer.result)

    def create_ruleset(self, zone_id: str, *, rules: Sequence[RuleWrite], dry_run: bool = False) -> Ruleset | None:
        """Make the entry point. Rejected (20217) if somebody made one meanwhile, instead of replacing it."""
        body = {"name": "default", "kind": "zone", "phase": PHASE, "rules": [asdict(rule) for rule in rules]}
        return self._written("POST", _rulesets(zone_id), body, dry_run)

    def add(
        self, zone_id: str, ruleset_id: str, rule: RuleWrite, *, first: bool = True, dry_run: bool = False
    ) -> Ruleset | None:
        """Add a rule, ahead of all others when `first`, else last. Not safe to repeat: read before trying again."""
        position = {"position": {"before": ""}} if first else {}
        return self._written("POST", _rules(zone_id, ruleset_id), asdict(rule) | position, dry_run)

    def edit(
        self, zone_id: str, ruleset_id: str, rule_id: str, rule: RuleWrite, *, dry_run: bool = False
    ) -> Ruleset | None:
        """Replace a rule's definition where it stands."""
        return self._written("PATCH", _rules(zone_id, ruleset_id, rule_id), asdict(rule), dry_run)

    def delete(self, zone_id: str, ruleset_id: str, rule_id: str, *, dry_run: bool = False) -> Ruleset | None:
        """Remove one rule. Returns what is left."""
        return self._written("DELETE", _rules(zone_id, ruleset_id, rule_id), None, dry_run)

    def _written(self, method: str, path: str, body: dict[str, Any] | None, dry_run: bool) -> Ruleset | None:
        query = {"dry_run": "true"} if dry_run else None
        result = self.client.call(method, path, query=query, body=body).result
        if not dry_run:
            return _ruleset(result)
        if result is not None:
            # A proxy that drops the query string turns a rehearsal into a write: then a ruleset comes back.
            raise NotRehearsed(
                "A rehearsal came back as if the change had been made. The zone's custom rules may have changed. "
                "Look at them, and at what may drop the query string on the way to Cloudflare."
            )
        return None


def _rulesets(zone_id: str) -> str:
    return f"/zones/{segment(zone_id, 'zone')}/rulesets"


def _rules(zone_id: str, ruleset_id: str, rule_id: str | None = None) -> str:
    path = f"{_rulesets(zone_id)}/{segment(ruleset_id, 'ruleset')}/rules"
    return path if rule_id is None else f"{path}/{segment(rule_id, 'rule')}"


def _ruleset(value: Any) -> Ruleset:
    row = mapping(value, "ruleset")
    given = row.get("rules")
    rules = [] if given is None else listing(given, "rules")
    return Ruleset(identifier(row), text(row, "version", ""), tuple(_rule(rule, at) for at, rule in enumerate(rules)))


def _rule(value: Any, position: int) -> Rule:
    row = mapping(value, "rule")
    rule_id = identifier(row)
    return Rule(
        id=rule_id,
        ref=text(row, "ref", rule_id),
        version=text(row, "version", ""),
        action=text(row, "action", ""),
        expression=text(row, "expression", ""),
        description=text(row, "description", ""),
        enabled=flag(row, "enabled", default=True),
        position=position,
    )
