"""How many calls a change will probably take, told before its zone is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import desired_zone
from apps.errors import Unsafe
from apps.inventory.models import EdgeList, EdgeRules, Zone
from apps.planning.diff import diff
from apps.planning.state import ObservedZone, RuleState
from apps.reconcile.apply import calls_of
from apps.reconcile.carried import carried_by
from apps.reconcile.dry_run import tries_before_sending
from apps.reconcile.models import Plan as Change


def expected_calls(zone: Zone, keys: Mapping[str, str], requests: Sequence[CoverageRequest]) -> int:
    """Those that what is approved takes if the edge is as it was last read, besides reading it; 0 when it cannot go.

    While a change is only waited for nothing is sent. `keys` are planning's keys of the account's CAs and their
    Cloudflare ids.
    """
    if Change.objects.filter(zone=zone, state=Change.State.VERIFYING).exists():
        return 0
    read = dict(EdgeList.objects.filter(zone=zone).values_list("ca_cloudflare_id", "hostnames"))
    rules = EdgeRules.objects.filter(zone=zone).first()
    observed = ObservedZone(
        zone=zone.name,
        lists={key: frozenset(read.get(ca_id, ())) for key, ca_id in keys.items()},
        ruleset_id=(rules.ruleset_id or None) if rules else None,
        rules=tuple(RuleState(**rule) for rule in rules.rules) if rules else (),
    )
    try:
        plan = diff(desired_zone(zone), observed, heal=False)
    except Unsafe:
        return 0
    return calls_of(plan, tries_before_sending(plan, zone, carried_by(plan, zone, requests)))
