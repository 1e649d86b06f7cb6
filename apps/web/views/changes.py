"""One apply, call by call."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from apps.coverage.models import CoverageRequest
from apps.identity.permissions import Permission
from apps.reconcile.selectors import change_by_id
from apps.reconcile.services import retry_zone
from apps.web.context import actor_of
from apps.web.views.base import back_to


@require_GET
def detail(request: HttpRequest, change_id: UUID) -> HttpResponse:
    change = change_by_id(change_id)
    steps = list(change.steps.all())
    values = {
        "change": change,
        "steps": steps,
        "done": sum(step.state == "done" for step in steps),
        "running": change.state in change.OPEN,
        "requests": CoverageRequest.objects.filter(pk__in=change.request_ids),
        "may_retry": change.state in {"failed", "refused", "diverged"} and actor_of(request).may(Permission.RUN_RETRY),
    }
    fragment = request.headers.get("HX-Target") == "steps"
    return render(request, "changes/_steps.html" if fragment else "changes/detail.html", values)


@require_POST
def retry(request: HttpRequest, zone_id: UUID) -> HttpResponse:
    zone = retry_zone(by=actor_of(request), zone_id=zone_id)
    messages.success(request, f"{zone.name} is tried again.")
    return redirect(back_to(request, "/requests/"))
