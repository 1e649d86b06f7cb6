"""Who did what, when, and why."""

from __future__ import annotations

import json
from datetime import date

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.audit.models import AuditEvent
from apps.audit.selectors import events_matching, verify_chain
from apps.errors import NotFound
from apps.identity.permissions import Permission
from apps.web.context import actor_of
from apps.web.csvs import csv_response
from apps.web.views.base import page_of

FILTERS = ("q", "action", "actor", "subject_type", "subject_id", "correlation_id")
HEADER = ("seq", "at", "actor", "via", "action", "subject_type", "subject", "zone", "hostnames", "reason", "before",
          "after", "hash")  # fmt: skip


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _matching(request: HttpRequest):  # type: ignore[no-untyped-def]
    values = {name: request.GET.get(name, "") for name in FILTERS}
    since, until = _day(request.GET.get("since", "")), _day(request.GET.get("until", ""))
    return events_matching(**values, since=since, until=until)


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    actor_of(request).require(Permission.AUDIT_READ)
    filters = {name: request.GET.get(name, "") for name in (*FILTERS, "since", "until")}
    values = {
        "page": page_of(request, _matching(request)),
        "filters": filters,
        "actions": AuditEvent.objects.order_by("action").values_list("action", flat=True).distinct(),
        "chain": verify_chain() if "verify" in request.GET else None,
    }
    return render(request, "audit/index.html", values)


@require_GET
def detail(request: HttpRequest, seq: int) -> HttpResponse:
    actor_of(request).require(Permission.AUDIT_READ)
    event = AuditEvent.objects.filter(seq=seq).first()
    if event is None:
        raise NotFound("No such audit record.")
    return render(request, "audit/detail.html", {"event": event})


@require_GET
def export(request: HttpRequest, kind: str) -> HttpResponse:
    """The filtered records, all pages, as CSV or one JSON object per line."""
    actor_of(request).require(Permission.AUDIT_READ)
    events = _matching(request).order_by("seq")
    if kind == "csv":
        rows = [
            [json.dumps(cell) if isinstance(cell, dict | list) else cell for cell in _row(event)] for event in events
        ]
        return csv_response("audit.csv", HEADER, rows)
    lines = "".join(json.dumps(dict(zip(HEADER, _row(event), strict=True))) + "\n" for event in events)
    response = HttpResponse(lines, content_type="application/x-ndjson")
    response["Content-Disposition"] = 'attachment; filename="audit.jsonl"'
    return response


def _row(event: AuditEvent) -> list[object]:
    return [
        event.seq, event.at.isoformat(), event.actor_label, event.via, event.action, event.subject_type,
        event.subject_label, event.zone, event.hostnames, event.reason, event.before, event.after, event.hash,
    ]  # fmt: skip
