"""The view that is missing elsewhere: one row per hostname over all zones, approved against at the edge.

Built from the stored reads and the approved state in a handful of queries, whatever the number of hostnames.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.states import HOLDING
from apps.coverage.models import Association, CoverageRequest, Enforcement, RequestHostname
from apps.coverage.selectors import associations_in, enforcements_in
from apps.coverage.states import FAILED, IN_FLIGHT, RequestState
from apps.inventory.models import Account, EdgeList, EdgeRules, Zone
from apps.inventory.selectors import edge_lists_of, slot_certificates
from apps.planning.answer import Answer, HostnameFacts, answer, sentence
from apps.planning.hostnames import zone_of
from apps.planning.rule_facts import RuleFacts, ZoneRules
from apps.planning.state import Mode, RuleState
from apps.reconcile.row_types import Cell, Column, HostnameRow, RuleCell


@dataclass
class _Edge:
    """The stored reads of an account, indexed once."""

    lists: dict[tuple[object, str], EdgeList] = field(default_factory=dict)
    rules: dict[object, ZoneRules] = field(default_factory=dict)
    read_at: dict[object, datetime | None] = field(default_factory=dict)


def columns(account: Account) -> list[Column]:
    """CAs in the order of their deployment; what is not at the edge yet comes last."""
    ours = list(CertificateAuthority.objects.filter(account=account, state__in=HOLDING).order_by("created_at"))
    by_cloudflare_id = {ca.cloudflare_id: ca for ca in ours if ca.cloudflare_id}
    found = []
    for row in slot_certificates(account):
        ca = by_cloudflare_id.pop(row.cloudflare_id, None)
        label = ca.name if ca else str(row)
        found.append(Column(row.cloudflare_id, label, ca, row, ca.not_after if ca else row.expires_at))
    shown = {column.ca.pk for column in found if column.ca}
    return found + [Column(str(ca.pk), ca.name, ca, None, ca.not_after) for ca in ours if ca.pk not in shown]


def build_rows(account: Account, *, only: Iterable[str] | None = None, zone: Zone | None = None) -> list[HostnameRow]:
    """Rows of every hostname that is approved or at the edge, by zone and name. `only` limits to some hostnames.

    With `zone` those of this zone, and nothing of the account's other zones is loaded.
    """
    cols = columns(account)
    edge = _read_edge(account, zone)
    wanted = set(only) if only is not None else None
    approved: dict[tuple[object, str], dict[object, Association]] = {}
    for row in _of(zone, associations_in(account)):
        approved.setdefault((row.zone_id, row.hostname), {})[row.ca_id] = row
    modes = {(row.zone_id, row.hostname): row for row in _of(zone, enforcements_in(account))}
    flying = _flying(account, zone)
    found = Zone.objects.filter(account=account, **({"pk": zone.pk} if zone else {})).select_related("account")
    zones = {row.pk: row for row in found}
    names = (
        set(approved)
        | {(zone_id, name) for (zone_id, _), lst in edge.lists.items() for name in lst.hostnames}
        | {(zone_id, name) for zone_id, rules in edge.rules.items() for name in rules.hostnames}
    )
    if wanted is not None:
        names = {key for key in names if key[1] in wanted}
    listed = {name for zone_id, name in names if zones[zone_id].vanished_at is None}
    longer = _longer_zones(zone)
    rows = []
    for key in names:
        where, name = zones[key[0]], key[1]
        if where.vanished_at is None:
            row = _row(where, name, cols, edge, approved.get(key, {}), modes.get(key), flying)
            served_by = zone_of(name, longer)
            if served_by and len(served_by) > len(where.name):
                row = _passed_over(row, served_by)
            elif where.status != "active" or where.paused:
                row = _not_served(row, served_by)
            rows.append(row)
        elif key in approved and name not in listed:
            rows.append(_gone_row(where, name, cols, approved[key], modes.get(key)))
    return sorted(rows, key=lambda row: (row.zone.name, row.hostname))


def empty_row(account: Account, zone: Zone, hostname: str) -> HostnameRow:
    """The row of a hostname that nobody approved and no list names."""
    return _row(zone, hostname, columns(account), _read_edge(account, zone), {}, None, {})


def _longer_zones(zone: Zone | None) -> frozenset[str]:
    """Active zones of all accounts that may hold a hostname; those below `zone` where only its rows are wanted."""
    active = Zone.objects.filter(vanished_at=None, status="active")
    below = active.filter(name__endswith=f".{zone.name}") if zone else active
    return frozenset(below.values_list("name", flat=True))


def _passed_over(row: HostnameRow, served_by: str) -> HostnameRow:
    """A hostname that a longer zone serves: Cloudflare asks neither the lists nor the rules of the shorter one."""
    words = (
        f"{served_by} serves this hostname now, so what stands in {row.zone.name} checks nobody. "
        "Request coverage anew, and on this hostname's page the removal of what stands here."
    )
    return replace(row, answer=Answer.NOT_PROTECTED.value, sentence=words)


def _not_served(row: HostnameRow, served_by: str | None) -> HostnameRow:
    """A hostname of a zone that is not active, or paused: no client of its passes Cloudflare by this zone."""
    state = "paused" if row.zone.status == "active" else row.zone.status
    words = f"{row.zone.name} is {state} at Cloudflare, so what stands here checks nobody before it is active."
    if served_by and served_by != row.zone.name:
        words += f" Until then {served_by} serves this hostname."
    return replace(row, answer=Answer.NOT_PROTECTED.value, sentence=words)


def _gone_row(
    zone: Zone, hostname: str, cols: list[Column], approved: dict[object, Association], mode: Enforcement | None
) -> HostnameRow:
    """A hostname whose zone Cloudflare no longer lists: nothing of it can be read, so nothing but that is said."""
    row = _row(zone, hostname, cols, _Edge(), approved, mode, {})
    cells = [replace(cell, state="zone_gone") if cell.state != "none" else cell for cell in row.cells]
    words = f"Cloudflare no longer lists {zone.name} in {zone.account}, as of {zone.vanished_at:%d %b %Y}."
    rule = RuleCell("zone_gone") if row.rule.state != "no_rule" else row.rule
    return replace(row, answer="unknown", sentence=words, cells=tuple(cells), rule=rule, read_at=zone.read_at)


def _of(zone: Zone | None, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Those of one zone, or all."""
    return rows.filter(zone=zone) if zone else rows


def _read_edge(account: Account, zone: Zone | None) -> _Edge:
    edge = _Edge()
    for lst in _of(zone, edge_lists_of(account)):
        edge.lists[(lst.zone_id, lst.ca_cloudflare_id)] = lst
    for row in _of(zone, EdgeRules.objects.filter(zone__account=account)):
        edge.rules[row.zone_id] = ZoneRules(RuleState(**rule) for rule in row.rules)
    edge.read_at = dict(Zone.objects.filter(account=account).values_list("pk", "read_at"))
    return edge


def _flying(account: Account, zone: Zone | None) -> dict[str, str]:
    """Hostname -> state of the newest request that is on its way."""
    rows = RequestHostname.objects.filter(request__account=account, request__state__in=IN_FLIGHT, result="pending")
    return dict(_of(zone, rows).order_by("request_id").values_list("hostname", "request__state"))


def _row(
    zone: Zone,
    hostname: str,
    cols: list[Column],
    edge: _Edge,
    approved: dict[object, Association],
    mode: Enforcement | None,
    flying: dict[str, str],
) -> HostnameRow:
    state = flying.get(hostname, "")
    cells = tuple(_cell(zone, hostname, col, edge, approved, state) for col in cols)
    rules = edge.rules[zone.pk].of(hostname) if zone.pk in edge.rules else RuleFacts()
    rule = _rule_cell(rules, mode, state)
    at_edge = frozenset(col.label for col in cols if _is_at_edge(zone, hostname, col, edge))
    facts = _facts(cols, cells, at_edge, approved, rules, mode, state, edge.read_at.get(zone.pk), rule)
    verdict = answer(facts, timezone.now())
    newest = max(approved.values(), key=lambda row: row.approved_at, default=None)
    owner = next((row.owner_team for row in approved.values() if row.owner_team), None)
    since = [cell.since for cell in cells if cell.since]
    return HostnameRow(
        hostname=hostname,
        zone=zone,
        owner=owner,
        answer=verdict.value,
        sentence=sentence(verdict, facts),
        cells=cells,
        rule=rule,
        mode=mode.mode if mode else "",
        request_id=newest.request_id if newest else None,
        changed_at=max(since, default=None),
        read_at=edge.read_at.get(zone.pk),
        bypasses=rules.bypasses,
    )


def _is_at_edge(zone: Zone, hostname: str, col: Column, edge: _Edge) -> bool:
    lst = edge.lists.get((zone.pk, col.key))
    return lst is not None and hostname in lst.hostnames


def _cell(zone: Zone, hostname: str, col: Column, edge: _Edge, approved: dict[object, Association], state: str) -> Cell:
    lst = edge.lists.get((zone.pk, col.key))
    at_edge = _is_at_edge(zone, hostname, col, edge)
    row = approved.get(col.ca.pk) if col.ca else None
    since = lst.changed_at if lst and at_edge else None
    if row is None:
        word = "unexpected" if at_edge else "none"
        return Cell(col.key, col.ca, col.label, word, since)
    return Cell(col.key, col.ca, col.label, _word(row, at_edge, state), row.live_at or row.approved_at, row.request_id)


def _word(row: Association, at_edge: bool, state: str) -> str:
    if row.state == Association.State.RELEASING:
        return "failed" if _failed(row.release_request) else "removing"
    if at_edge:
        return "live"
    if row.live_at is not None:
        return "missing"
    if row.is_held and _failed(row.request):
        return "failed"
    return "pushing" if state == RequestState.APPLYING else "queued"


def _rule_cell(rules: RuleFacts, mode: Enforcement | None, state: str) -> RuleCell:
    wanted = mode.mode if mode else "verify"
    for action, word, live in (("block", "enforced", rules.block), ("log", "logging", rules.log)):
        if live:
            detail = "" if wanted == action else f"Approved mode is {wanted}."
            return RuleCell(word, rules.pins is not None, detail)
    if rules.paused:
        return RuleCell("paused", None, "The rule is switched off at the edge.")
    if wanted != "verify" and mode is not None:
        return RuleCell("queued" if state in IN_FLIGHT else "altered" if mode.live_at else "no_rule")
    return RuleCell("no_rule")


def _facts(
    cols: list[Column],
    cells: tuple[Cell, ...],
    at_edge: frozenset[str],
    approved: dict[object, Association],
    rules: RuleFacts,
    mode: Enforcement | None,
    state: str,
    read_at: datetime | None,
    rule: RuleCell,
) -> HostnameFacts:
    now = timezone.now()
    # A rule that is switched off has a line of its own in the table of answers: Not enforced.
    other_mode = rule.state == "altered" or (rule.detail and rule.state != "paused")
    drifted = {"missing", "unexpected"} & {cell.state for cell in cells} or other_mode
    return HostnameFacts(
        approved_cas=frozenset(row.ca.name for row in approved.values() if _counts(row)),
        live_cas=at_edge,
        expired_cas=frozenset(col.label for col in cols if col.expires_at and col.expires_at <= now),
        early_cas=frozenset(col.label for col in cols if col.ca and col.ca.not_before > now),
        issuers={col.label: col.ca.issuer_skis if col.ca else None for col in cols},
        rule_live=rules.block,
        rule_paused=rules.paused,
        log_rule=rules.log,
        pins=rules.pins,
        bypasses=rules.bypasses,
        others=rules.others,
        mode=Mode(mode.mode) if mode else None,
        changing=state in IN_FLIGHT,
        push_failed=_has_failed(approved.values(), mode),
        has_drift=bool(drifted) or rules.altered,
        read_at=read_at,
    )


def _failed(request: CoverageRequest | None) -> bool:
    return request is not None and request.state in FAILED


def _counts(row: Association) -> bool:
    """Whether the edge should show it. What a failed request wanted is held back, as in `desired_zone`."""
    return row.release_is_held if row.state == Association.State.RELEASING else not row.is_held


def _has_failed(rows: Collection[Association], mode: Enforcement | None) -> bool:
    """Whether a request for this hostname failed, and nobody has asked again."""
    held = [row.request for row in rows if row.is_held] + [row.release_request for row in rows if row.release_is_held]
    return any(_failed(request) for request in [*held, mode.request if mode and mode.is_held else None])
