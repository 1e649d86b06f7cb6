"""The whole truth, both directions."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.authorities.selectors import slots_of
from apps.identity.models import Team
from apps.inventory.models import Account
from apps.inventory.selectors import zones_of
from apps.planning.answer import Answer
from apps.probing.selectors import probe_contradictions
from apps.reconcile.selectors import columns, drift_open, edge_freshness, hostname_rows, tallies
from apps.web.context import actor_of
from apps.web.csvs import csv_response
from apps.web.plots import expiry_line
from apps.web.views.base import account_of, page_of
from apps.web.words import ANSWERS

FILTERS = ("q", "zone", "ca", "answer", "owner", "sort")
VIEWS = {"matrix": "Matrix", "hostname": "By hostname", "ca": "By CA"}
WIDE = 6


def _filters(request: HttpRequest) -> dict[str, str]:
    return {name: request.GET.get(name, "") for name in FILTERS}


@require_GET
def associations(request: HttpRequest) -> HttpResponse:
    account = account_of(request)
    values = _values(request, account)
    template = "associations/_polled.html" if request.headers.get("HX-Target") == "table" else "associations/index.html"
    return render(request, template, values)


def _values(request: HttpRequest, account: Account) -> dict[str, Any]:
    everything = hostname_rows(account)
    filters = _filters(request)
    rows = hostname_rows(account, **filters) if any(filters.values()) else everything
    view = request.GET.get("view", "matrix")
    cols = columns(account)
    slots = slots_of(account)
    return {
        "page": page_of(request, rows),
        "columns": cols,
        "wide": len(cols) > WIDE,
        "filters": filters,
        "filtered": any(filters.values()),
        "view": view if view in VIEWS else "matrix",
        "views": VIEWS.items(),
        "by_ca": [(col, [row for row in rows if _live_on(row, col.key)]) for col in cols] if view == "ca" else [],
        "tallies": tallies(everything),
        "total": len(everything),
        "zones": list(zones_of(account)),
        "answers": [(answer.value, ANSWERS[answer.value][0]) for answer in Answer],
        "teams": Team.objects.all(),
        "drift": list(drift_open(account)),
        "contradictions": probe_contradictions(account),
        "locked_out": [row for row in everything if row.answer == "locked_out"],
        "slots": slots,
        "line": expiry_line(slots),
        "freshness": edge_freshness(account),
        "zone_totals": _zone_totals(rows),
        "actor": actor_of(request),
    }


def _live_on(row: Any, key: str) -> bool:
    return any(cell.key == key and cell.state != "none" for cell in row.cells)


def _zone_totals(rows: list[Any]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.zone.name] = totals.get(row.zone.name, 0) + 1
    return totals


@require_GET
def export(request: HttpRequest) -> HttpResponse:
    """The current filter, all pages, with the time of the read."""
    account = account_of(request)
    header = ("hostname", "zone", "owner", "answer", "ca", "association", "block_rule", "mode", "read_at")
    rows = [
        (row.hostname, row.zone.name, row.owner or "", row.answer, cell.ca_label, cell.state, row.rule.state, row.mode,
         row.read_at.isoformat() if row.read_at else "")
        for row in hostname_rows(account, **_filters(request))
        for cell in row.cells
        if cell.state != "none"
    ]  # fmt: skip
    return csv_response("associations.csv", header, rows)
