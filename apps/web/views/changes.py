"""One apply, call by call."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from apps.audit.selectors import events_matching
from apps.coverage.models import CoverageRequest
from apps.coverage.overrides import change_overrides
from apps.errors import Conflict, Invalid
from apps.identity.permissions import Permission
from apps.outbox.models import OutboxEntry
from apps.reconcile.models import Plan
from apps.reconcile.passed_over_services import ask_removal
from apps.reconcile.selectors import attempts_of, change_by_id, resulting_lists
from apps.reconcile.services import retry_zone
from apps.reconcile.undo import can_undo, list_histories, undo_change, undo_requests
from apps.web.context import actor_of
from apps.web.passed_over import card_of_changes
from apps.web.views.base import back_to


@require_GET
def detail(request: HttpRequest, change_id: UUID) -> HttpResponse:
    values = _detail(request, change_by_id(change_id))
    fragment = request.headers.get("HX-Target") == "steps"
    return render(request, "changes/_steps.html" if fragment else "changes/detail.html", values)


def _detail(request: HttpRequest, change: Plan, **more: Any) -> dict[str, Any]:
    actor = actor_of(request)
    steps = list(change.steps.all())
    return {
        "change": change,
        "steps": steps,
        "done": sum(step.state == "done" for step in steps),
        "running": change.state in change.OPEN,
        "requests": CoverageRequest.objects.filter(pk__in=change.request_ids),
        "may_retry": change.state in {"failed", "refused", "diverged"} and actor.may(Permission.RUN_RETRY),
        "may_undo": change.state not in change.OPEN and can_undo(change) and actor.may(Permission.REQUEST_CREATE),
        "histories": list_histories(change),
        "undone_by": undo_requests(change),
        "overrides": change_overrides(change.pk),
        "lists": resulting_lists(change),
        "attempts": attempts_of(change),
        **card_of_changes([change]),
        "job": OutboxEntry.objects.filter(kind="zone", subject_id=change.zone_id).first(),
        "events": events_matching(subject_type="change", subject_id=str(change.pk)).order_by("seq")[:50],
        "errors": {},
        **more,
    }


@require_POST
def undo(request: HttpRequest, change_id: UUID) -> HttpResponse:
    """Undo the change, or bring back the list that was chosen: `list` is empty, or "<CA>:<change>"."""
    change, reason = change_by_id(change_id), request.POST.get("reason", "")
    ca, _, as_of = request.POST.get("list", "").rpartition(":")
    try:
        made = undo_change(by=actor_of(request), change_id=change.pk, reason=reason, ca=ca, as_of=as_of or None)
    except (Invalid, Conflict) as refused:
        found = refused.details if isinstance(refused, Invalid) else {"reason": [refused.message]}
        values = _detail(request, change, errors=found, reason=reason, chosen=request.POST.get("list", ""))
        return render(request, "changes/detail.html", values, status=400)
    messages.success(request, f"{change} is undone by {', '.join(map(str, made))}, once somebody approves.")
    return redirect("request", request_id=made[0].pk) if len(made) == 1 else redirect("change", change_id=change.pk)


@require_POST
def retry(request: HttpRequest, zone_id: UUID) -> HttpResponse:
    zone = retry_zone(by=actor_of(request), zone_id=zone_id)
    messages.success(request, f"{zone.name} is tried again.")
    return redirect(back_to(request, "/requests/"))


@require_POST
def remove_served_elsewhere(request: HttpRequest, zone_id: UUID) -> HttpResponse:
    """Ask that what a longer zone serves is removed from this one."""
    here = back_to(request, "/requests/")
    try:
        made = ask_removal(by=actor_of(request), zone_id=zone_id)
    except (Invalid, Conflict) as refused:
        sentences = refused.details.get("hostnames", []) if isinstance(refused, Invalid) else []
        for sentence in sentences[:5] or [refused.message]:
            messages.error(request, sentence)
        return redirect(here)
    ask = "asks" if len(made) == 1 else "ask"
    messages.success(request, f"{', '.join(map(str, made))} {ask} for it. Somebody else approves.")
    return redirect("request", request_id=made[0].pk) if len(made) == 1 else redirect(here)
