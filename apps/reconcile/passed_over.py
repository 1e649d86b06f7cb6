"""Hostnames that a zone's lists still hold though a longer zone serves them now.

What stands there checks nobody, but Cloudflare may refuse every list that still holds it. It is never left out of a
list without a person: that would be a removal, which an approval has to name (INV-11), and that the longest zone
serves a hostname is inferred only. If that is wrong, or the longer zone goes again, what was left out is unprotected.
So the refusal is explained, the removal from the shorter zone is asked for in one go (`passed_over_services.py`), and
it goes before what would be refused with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from apps.authorities.models import CertificateAuthority
from apps.cloudflare.errors import Rejected
from apps.coverage.models import Association, CoverageRequest, Kind, RequestHostname
from apps.coverage.states import OPEN
from apps.inventory.models import Account, Zone
from apps.inventory.selectors import edge_lists_of, served_elsewhere, zones_of
from apps.planning.plan import ReplaceList
from apps.reconcile.carried import pending_in
from apps.reconcile.models import Plan, PlanStep
from apps.reconcile.sent import zones_sent

SHOWN = 5


@dataclass(frozen=True)
class PassedOver:
    """One hostname in one CA's list of a zone that does not serve it any more.

    `ca` is None for a CA that only the edge knows. `covered`: it is approved and live in the zone that serves it.
    `request_id` is the open request that asks for its removal from this list.
    """

    hostname: str
    served_by: Zone
    ca: CertificateAuthority | None
    approved: bool
    covered: bool
    request_id: int | None

    @property
    def askable(self) -> bool:
        """Whether its removal can be asked for: what nobody approved has to be adopted first."""
        return self.approved and self.request_id is None


def passed_over_in(zone: Zone) -> list[PassedOver]:
    """By CA and name, from the lists as last read."""
    lists = list(edge_lists_of(zone.account).filter(zone=zone))
    elsewhere = served_elsewhere(zone, {name for row in lists for name in row.hostnames})
    if not elsewhere:
        return []
    cas = {ca.cloudflare_id: ca for ca in zone.account.cas.exclude(state="deleted") if ca.cloudflare_id}
    rows = Association.objects.filter(hostname__in=elsewhere)
    approved = set(rows.filter(zone=zone).values_list("ca_id", "hostname"))
    live = rows.filter(state=Association.State.APPROVED, live_at__isnull=False)
    covered = set(live.values_list("zone_id", "hostname"))
    removals = RequestHostname.objects.filter(zone=zone, request__kind=Kind.UNCOVER, request__state__in=OPEN)
    asked = {
        (ca_id, name): request_id
        for ca_id, name, request_id in removals.values_list("request__ca_id", "hostname", "request_id")
    }
    found = [
        PassedOver(
            hostname=name,
            served_by=elsewhere[name],
            ca=ca,
            approved=ca is not None and (ca.pk, name) in approved,
            covered=(elsewhere[name].pk, name) in covered,
            request_id=asked.get((ca.pk, name)) if ca else None,
        )
        for row in lists
        for name in row.hostnames
        if name in elsewhere
        for ca in (cas.get(row.ca_cloudflare_id),)
    ]
    return sorted(found, key=lambda row: (row.ca.name if row.ca else "", row.hostname))


def passing_over(account: Account, hostname: str) -> Zone | None:
    """A zone of the account whose lists hold the hostname though a longer one serves it."""
    above = [zone for zone in zones_of(account) if hostname.endswith(f".{zone.name}")]
    return next((zone for zone in above if any(row.hostname == hostname for row in passed_over_in(zone))), None)


def in_the_way(changes: Iterable[Plan]) -> Zone | None:
    """The zone of the last of these changes, when it failed on a list and something in the way stands there still."""
    change = max(changes, key=lambda plan: plan.number, default=None)
    if change is None or change.state != Plan.State.FAILED:
        return None
    lists = change.steps.filter(kind=ReplaceList.kind, state=PlanStep.State.FAILED)
    return change.zone if lists.exists() and passed_over_in(change.zone) else None


def explained(error: Rejected, zone: Zone, step: ReplaceList) -> Rejected:
    """The refusal of a list, with what a longer zone serves of it, or would, and what to do about that."""
    elsewhere = served_elsewhere(zone, step.after)
    adds = set(step.adds)
    if standing := sorted(elsewhere.keys() - adds):
        error.message += (
            f" The list of {zone} still holds what a longer zone serves now: {_named(standing, elsewhere)}. "
            f"Ask for its removal from {zone} on the page of this request, and retry once that is done."
        )
    if asked := sorted(elsewhere.keys() & adds):
        error.message += (
            f" A longer zone than {zone} serves now what was to be added: {_named(asked, elsewhere)}. "
            "Ask for that anew: it goes to the right zone then."
        )
    claimed = served_elsewhere(zone, set(step.after) - elsewhere.keys(), active=False)
    if claimed:
        error.message += (
            f" A longer zone that is not active holds what {zone} serves until then: "
            f"{_named(sorted(claimed), claimed)}. Leave that in {zone}, where a removal would open it. Have the longer "
            "zone activated or deleted at Cloudflare, then retry."
        )
    return error


def warning_of(zone: Zone, hostnames: Collection[str]) -> list[str]:
    """What people read before they approve a plan that sends these hostnames in a list; nothing when none is amiss."""
    elsewhere = served_elsewhere(zone, hostnames)
    if not elsewhere:
        return []
    words = f"Cloudflare may refuse the list of {zone}, because a longer zone serves a part of it now: "
    return [f"{words}{_named(sorted(elsewhere), elsewhere)}. Have that removed from {zone} first."]


def giving_way(zone: Zone, requests: Collection[CoverageRequest]) -> set[int]:
    """Requests for coverage that let a removal of what another zone serves go first.

    Their list would hold it still, be refused for it, and take the removal along. What has begun here is not put off.
    """
    removals = [row for row in requests if row.kind == Kind.UNCOVER]
    if not any(served_elsewhere(zone, pending_in(zone, row)) for row in removals):
        return set()
    covers = [row for row in requests if row.kind == Kind.COVER]
    return {row.pk for row in covers if zone.pk not in zones_sent(row, since=row.decided_at or row.created_at)}


def _named(names: list[str], elsewhere: dict[str, Zone]) -> str:
    shown = [f"{name} ({elsewhere[name]})" for name in names[:SHOWN]]
    more = len(names) - SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
