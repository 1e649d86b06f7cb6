"""What the edge held when, from read to read, and who was trusted for a hostname at any instant (F36)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from apps.coverage.models import AssociationRecord
from apps.inventory.models import Account, Zone
from apps.planning.rule import hostnames_in, is_ours, is_pinned
from apps.planning.seen import edge_modes
from apps.planning.state import ObservedZone
from apps.reconcile.labels import ca_labels
from apps.reconcile.models import EdgeSpan, RuleSpan, Watch


def keep_history(zone: Zone, observed: ObservedZone, keys: Mapping[str, str], read_at: datetime) -> None:
    """Open and close spans so that they say what this complete read showed. Part of storing an observation."""
    Watch.objects.get_or_create(zone=zone, defaults={"since": read_at})
    _keep_lists(zone, observed, keys, read_at)
    _keep_rules(zone, observed, read_at)


def _keep_lists(zone: Zone, observed: ObservedZone, keys: Mapping[str, str], read_at: datetime) -> None:
    seen = {(ca_id, name) for key, ca_id in keys.items() for name in observed.lists[key]}
    known = {(row.ca_cloudflare_id, row.hostname): row.pk for row in EdgeSpan.objects.filter(zone=zone, until_at=None)}
    gone = [known[pair] for pair in known.keys() - seen]
    EdgeSpan.objects.filter(pk__in=gone).update(until_at=read_at)
    if not (fresh := seen - known.keys()):
        return
    labels = ca_labels(zone.account)
    names = {ca_id: (key, labels.get(key, ca_id)) for key, ca_id in keys.items()}
    prints = {ca_id: key for ca_id, (key, _) in names.items() if not key.startswith("edge:")}
    EdgeSpan.objects.bulk_create(
        EdgeSpan(
            zone=zone, ca_cloudflare_id=ca_id, ca_label=names[ca_id][1][:255], fingerprint=prints.get(ca_id, ""),
            hostname=name, from_at=read_at,
        )
        for ca_id, name in sorted(fresh)
    )  # fmt: skip


def _keep_rules(zone: Zone, observed: ObservedZone, read_at: datetime) -> None:
    modes = edge_modes(observed.rules)
    unpinned = {
        name
        for rule in observed.rules
        if is_ours(rule) and rule.enabled and not is_pinned(rule.expression)
        for name in hostnames_in(rule.expression)
    }
    seen = {(name, mode.value, name not in unpinned) for name, mode in modes.items()}
    open_rows = RuleSpan.objects.filter(zone=zone, until_at=None)
    known = {(row.hostname, row.action, row.pinned): row.pk for row in open_rows}
    gone = [known[key] for key in known.keys() - seen]
    RuleSpan.objects.filter(pk__in=gone).update(until_at=read_at)
    RuleSpan.objects.bulk_create(
        RuleSpan(zone=zone, hostname=name, action=action, pinned=pinned, from_at=read_at)
        for name, action, pinned in sorted(seen - known.keys())
    )


@dataclass(frozen=True)
class Trusted:
    """One CA that the edge listed for the hostname, and the approval that covered it; none for a foreign entry."""

    ca: str
    fingerprint: str
    from_at: datetime
    until_at: datetime | None
    approved_by: str
    request_id: int | None


@dataclass(frozen=True)
class AsOf:
    """The edge as it was read at an instant. `known` is False before the zone was first read and in the future."""

    at: datetime
    known: bool
    watched_since: datetime | None
    cas: tuple[Trusted, ...]
    rule: str
    pinned: bool


def as_of(account: Account, zone: Zone, hostname: str, at: datetime) -> AsOf:
    """Which CAs were trusted for the hostname then, who approved it, and what the rule did."""
    watch = Watch.objects.filter(zone=zone, zone__account=account).first()
    if watch is None or at < watch.since or at > timezone.now():
        return AsOf(at, known=False, watched_since=watch.since if watch else None, cas=(), rule="", pinned=False)
    then = Q(from_at__lte=at) & (Q(until_at=None) | Q(until_at__gt=at))
    rule = RuleSpan.objects.filter(then, zone=zone, hostname=hostname).first()
    spans = EdgeSpan.objects.filter(then, zone=zone, hostname=hostname)
    approved = {
        row.ca.fingerprint: row
        for row in AssociationRecord.objects.filter(zone=zone, hostname=hostname, approved_at__lte=at)
        .filter(Q(ended_at=None) | Q(ended_at__gt=at))
        .select_related("ca")
    }
    cas = tuple(_trusted(span, approved.get(span.fingerprint)) for span in spans)
    return AsOf(at, True, watch.since, cas, rule.action if rule else "", rule.pinned if rule else False)


def _trusted(span: EdgeSpan, row: AssociationRecord | None) -> Trusted:
    who, request_id = (row.approved_by_label, row.request_id) if row else ("", None)
    return Trusted(span.ca_label, span.fingerprint, span.from_at, span.until_at, who, request_id)
