"""A zone as its last complete reading left it: what a try to plan begun earlier need not read again.

A request over many zones may need more calls than the budget has at once, or more time than one run. Each try goes on
from what was read since the request was made, by whoever read it.
"""

from __future__ import annotations

from datetime import datetime

from apps.cloudflare.rules import Rule, Ruleset
from apps.inventory.models import EdgeList, EdgeRules, Zone
from apps.planning.state import RuleState
from apps.reconcile.edge import Observation, observed_zone
from apps.reconcile.models import Plan


def stored_reading(zone: Zone, keys: dict[str, str], *, since: datetime) -> Observation | None:
    """The last reading, with the edge revision it stands for; None when it is older, or does not tell all.

    While a change of ours is under way, and while the zone cannot be read, nothing that is stored is relied on.
    """
    # First the revision, then what it stands for: whoever compares it later notices whatever came between.
    row = Zone.objects.get(pk=zone.pk)
    if row.read_at is None or row.read_at < since or row.failing_since:
        return None
    if Plan.objects.filter(zone=zone, state__in=Plan.OPEN).exists():
        return None
    names = dict(EdgeList.objects.filter(zone=zone).values_list("ca_cloudflare_id", "hostnames"))
    rules = EdgeRules.objects.filter(zone=zone).first()
    if rules is None or not set(keys.values()) <= set(names):
        return None
    ruleset = _ruleset(rules)
    lists = {key: frozenset(names[ca_id]) for key, ca_id in keys.items()}
    return Observation(observed_zone(zone.name, lists, ruleset), row.read_at, ruleset, revision=row.edge_revision)


def _ruleset(row: EdgeRules) -> Ruleset | None:
    """As the client reads it, but for the versions of single rules, which nobody keeps."""
    if not row.ruleset_id:
        return None
    rules = [RuleState(**rule) for rule in row.rules]
    return Ruleset(
        row.ruleset_id,
        row.version,
        tuple(
            Rule(
                id=rule.id, ref=rule.ref, version="", action=rule.action, expression=rule.expression,
                description=rule.description, enabled=rule.enabled, position=rule.position,
            )
            for rule in rules
        ),
    )  # fmt: skip
