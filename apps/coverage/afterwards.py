"""What a plan says of each hostname of its request, and what of that is no longer so.

A plan is built on what is approved and at the edge at that moment. Whatever the portal itself changes afterwards raises
no revision, so the plan's word is compared with the approved state once more: when it is approved, and before anything
of it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Q

from apps.coverage.issuer_changes import enforced_rows
from apps.coverage.models import BreakGlass, CoverageRequest, Kind, ModeChoice, RequestHostname, RequestPlan
from apps.coverage.selectors import desired_with, desired_zone
from apps.coverage.states import IN_FLIGHT, RequestState
from apps.coverage.verdicts import STRICTNESS
from apps.inventory.models import EdgeList, Zone
from apps.inventory.selectors import slot_keys
from apps.planning.state import DesiredZone, Mode

Lists = Mapping[str, frozenset[str]]
# Hostnames that a refusal names; the new plan shows all of them.
NAMED = 3
HOLDS = (*IN_FLIGHT, RequestState.DONE.value, RequestState.PARTLY_DONE.value)


def afterwards_of(desired: DesiredZone, names: Iterable[str]) -> list[dict[str, Any]]:
    """What is approved for each hostname: its mode, and the fingerprints of its CAs."""
    return [
        {
            "zone": desired.zone,
            "hostname": name,
            "mode": desired.modes.get(name, Mode.VERIFY).value,
            "cas": sorted(desired.cas_of(name)),
        }
        for name in sorted(names)
    ]


def losing_check(request: CoverageRequest, lists: Mapping[Zone, Lists]) -> list[str]:
    """Hostnames that no CA covers once an uncover request holds: the edge stops asking their clients."""
    if request.kind != Kind.UNCOVER:
        return []
    names = set(request.hostnames.values_list("hostname", flat=True))
    kept: set[str] = set()
    for zone, read in lists.items():
        kept |= _kept(desired_zone(zone), read, request.ca.fingerprint)
    return sorted(names - kept)


def no_longer_so(request: CoverageRequest, plan: RequestPlan) -> str:
    """How approving the request now would come to something else than its plan says; "" when it would not.

    Goes by the approved state and the stored readings alone. What only came sooner, or is in another order, is no
    difference: the hostname ends as the plan says.
    """
    if (said := _said(plan)) is None:
        return ""
    zones = list(Zone.objects.filter(requesthostname__request=request).distinct())
    losing = set(losing_check(request, {zone: _stored_lists(zone) for zone in zones}))
    losing -= set(plan.document["loses_check"])
    ruled = enforced_rows(request.ca) if request.kind == Kind.ISSUERS else []
    unsaid = [row.hostname for row in ruled if (row.zone.name, row.hostname) not in said]
    found = [f"{name} would keep the issuers from before" for name in unsaid]
    for zone in zones:
        names = request.hostnames.filter(zone=zone).values_list("hostname", flat=True)
        glass = _glass(zone, plan)
        for now in afterwards_of(desired_with(zone, request), names):
            if (was := said.get((now["zone"], now["hostname"]))) is None:
                continue
            loses = now["hostname"] in losing or (bool(was["cas"]) and not now["cas"])
            other_mode = now["mode"] != was["mode"] and not _by_glass(was, now, glass)
            found += _words(was, now, loses=loses, stays=bool(now["cas"]) and not was["cas"], other_mode=other_mode)
    return _sentence(found)


def opens_more(zone: Zone, request: CoverageRequest, plan: RequestPlan, desired: DesiredZone, lists: Lists) -> str:
    """How sending the approved request would leave less standing than its plan says; "" when it would not.

    That is so when what the plan counted on failed, was called off, or was changed outside. What another approval
    decided later does not count: its own plan was compared with this request.
    """
    if (said := _said(plan)) is None:
        return ""
    names = {
        row.hostname
        for row in request.hostnames.all()
        if row.zone_id == zone.pk and row.result == RequestHostname.Result.PENDING
    }
    kept = names
    if request.kind == Kind.UNCOVER:
        coming = {
            key: read | {name for name in desired.associations.get(key, ()) if (key, name) not in desired.settled}
            for key, read in lists.items()
        }
        kept = _kept(desired, coming, request.ca.fingerprint) | set(plan.document["loses_check"])
    less = []
    for now in afterwards_of(desired, names):
        if (was := said.get((now["zone"], now["hostname"]))) is None:
            # A retry of changed issuers is about the rules there are by now.
            continue
        loses = now["hostname"] not in kept or (bool(was["cas"]) and not now["cas"])
        weaker = STRICTNESS[now["mode"]] < STRICTNESS[was["mode"]]
        less += [(was, now, loses, weaker)] if loses or weaker else []
    if not less:
        return ""
    glass, later, found = _glass(zone, plan), _decided_later(zone, request), []
    for was, now, loses, weaker in less:
        if now["hostname"] not in later:
            weaker = weaker and not _by_glass(was, now, glass)
            found += _words(was, now, loses=loses, stays=False, other_mode=weaker)
    return _sentence(found)


def _said(plan: RequestPlan) -> dict[tuple[str, str], dict[str, Any]] | None:
    """The plan's word on each zone and hostname. One that was stored before plans said it is compared with nothing."""
    rows = plan.document.get("afterwards")
    return None if rows is None else {(row["zone"], row["hostname"]): row for row in rows}


def _kept(desired: DesiredZone, lists: Lists, without: str) -> set[str]:
    """Hostnames that stand in a list of another CA, and that no approval takes off it."""
    kept: set[str] = set()
    for key, hostnames in lists.items():
        if key != without:
            kept |= hostnames - desired.releases.get(key, frozenset())
    return kept


def _stored_lists(zone: Zone) -> dict[str, frozenset[str]]:
    """The zone's lists as last read, by the fingerprint of their CA where it is known."""
    keys = slot_keys(zone.account)
    rows = EdgeList.objects.filter(zone=zone)
    return {keys.get(row.ca_cloudflare_id, row.ca_cloudflare_id): frozenset(row.hostnames) for row in rows}


def _decided_later(zone: Zone, request: CoverageRequest) -> set[str]:
    later = RequestHostname.objects.filter(
        zone=zone, request__state__in=HOLDS, request__decided_at__gt=request.decided_at
    )
    return set(later.exclude(request=request).values_list("hostname", flat=True))


def _glass(zone: Zone, plan: RequestPlan) -> dict[str, str]:
    """The mode that a broken glass has brought since the plan was built. It decides nothing: it returns by itself."""
    rows = BreakGlass.objects.filter(zone=zone).filter(Q(ended_at=None) | Q(ended_at__gte=plan.built_at))
    return {row.hostname: (ModeChoice.BLOCK if row.ended_at else ModeChoice.LOG).value for row in rows.order_by("pk")}


def _by_glass(was: Mapping[str, Any], now: Mapping[str, Any], glass: Mapping[str, str]) -> bool:
    return was["mode"] != ModeChoice.VERIFY and glass.get(now["hostname"]) == now["mode"]


def _words(was: Mapping[str, Any], now: Mapping[str, Any], *, loses: bool, stays: bool, other_mode: bool) -> list[str]:
    parts = ["would lose its check"] if loses else ["would stay with another CA"] if stays else []
    parts += [f"would be in {now['mode']} instead of {was['mode']}"] if other_mode else []
    return [f"{now['hostname']} {' and '.join(parts)}"] if parts else []


def _sentence(found: Sequence[str]) -> str:
    if not found:
        return ""
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    named = "; ".join(found[:NAMED])
    return f"Other changes came after this plan was built. As things are now, {named}{more}."
