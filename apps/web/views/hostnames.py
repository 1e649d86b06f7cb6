"""The app owner's answer page."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from apps.identity.permissions import Permission
from apps.probing.selectors import probe_of
from apps.probing.services import ask_probe
from apps.reconcile.history import as_of
from apps.reconcile.passed_over import passing_over
from apps.reconcile.selectors import edge_freshness, hostname_detail, hostname_rows
from apps.web.context import actor_of
from apps.web.passed_over import card_of_zone
from apps.web.views.base import account_of, page_of


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Search. A full name that is typed goes straight to its page, covered or not."""
    account = account_of(request)
    q = request.GET.get("q", "").strip()
    rows = hostname_rows(account, q=q)
    if q and "go" in request.GET and not rows and "." in q:
        return redirect("hostname", fqdn=q)
    values = {"page": page_of(request, rows), "q": q, "freshness": edge_freshness(account)}
    return render(request, "hostnames/index.html", values)


@require_GET
def detail(request: HttpRequest, fqdn: str) -> HttpResponse:
    account = account_of(request)
    found = hostname_detail(account, fqdn)
    seen = probe_of(actor_of(request), found.row.zone, found.row.hostname)
    at = _instant(request.GET.get("at", ""))
    values = {
        "then": as_of(account, found.row.zone, found.row.hostname, at) if at else None,
        "at": request.GET.get("at", ""),
        "probe": seen,
        "detail": found,
        "row": found.row,
        "may_audit": actor_of(request).may(Permission.AUDIT_READ),
        "interval": 2 if seen.pending else 5 if found.row.answer == "changing" else 30,
    }
    fragment = request.headers.get("HX-Target") == "answer"
    if fragment:
        return render(request, "hostnames/_polled.html", values)
    shorter = passing_over(account, found.row.hostname)
    return render(request, "hostnames/detail.html", {**values, **(card_of_zone(shorter) if shorter else {})})


def _instant(text: str) -> datetime | None:
    """What the browser's field of date and time sends, as UTC; None for anything else."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@require_POST
def probe(request: HttpRequest, fqdn: str) -> HttpResponse:
    """Probe now. The page shows the result by itself."""
    found = hostname_detail(account_of(request), fqdn)
    ask_probe(by=actor_of(request), zone=found.row.zone, hostname=found.row.hostname)
    messages.success(request, f"A probe of {found.row.hostname} is on its way.")
    return redirect("hostname", fqdn=found.row.hostname)
