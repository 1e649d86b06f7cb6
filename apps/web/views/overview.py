"""What needs me."""

from __future__ import annotations

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from apps.authorities.selectors import cas_ending, slots_of
from apps.coverage.selectors import open_requests, requests_by, requests_waiting_for
from apps.inventory.selectors import vanished_zones
from apps.outbox.selectors import RECONCILED, is_alive, parked_entries
from apps.reconcile.selectors import drift_open, edge_freshness, hostname_rows, tallies
from apps.web.context import actor_of, current_account
from apps.web.plots import expiry_line


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    actor, account = actor_of(request), current_account(request)
    if account is None:
        return render(request, "overview/empty.html")
    rows = hostname_rows(account)
    mine = {team.pk for team in actor.person.teams.all()} if actor.person else set()
    slots = slots_of(account)
    values = {
        "waiting": requests_waiting_for(actor)[:10],
        "yours": requests_by(actor).exclude(state__in=["done", "rejected", "withdrawn"])[:10],
        "unwell": [row for row in rows if row.owner and row.owner.pk in mine and row.answer != "protected"][:10],
        "in_flight": open_requests(account).filter(state__in=["approved", "applying"])[:10],
        "tallies": tallies(rows),
        "total": len(rows),
        "drift": drift_open(account)[:5],
        "slots": slots,
        "ending": [(ca, ca.expiry_notices.all()[0], ca.replaced_by) for ca in cas_ending(account)],
        "line": expiry_line(slots),
        "freshness": edge_freshness(account),
        # A zone that Cloudflare no longer lists is parked as well, and waits for nobody.
        "parked": parked_entries(kinds=RECONCILED).exclude(subject_id__in=vanished_zones().values("pk")).count(),
    }
    return render(request, "overview/index.html", values)


@require_GET
def healthz(_request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_GET
def readyz(_request: HttpRequest) -> HttpResponse:
    """The database answers, and reconciling goes on."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception:  # whatever the driver raises: not ready
        return HttpResponse("database: no answer\n", status=503, content_type="text/plain")
    if not is_alive("tick", within_s=settings.BYOCA_STALE_AFTER_S):
        words = f"workers: no tick for {settings.BYOCA_STALE_AFTER_S:g} s\n"
        return HttpResponse(words, status=503, content_type="text/plain")
    return HttpResponse(f"ready {timezone.now():%Y-%m-%dT%H:%M:%SZ}\n", content_type="text/plain")
