"""Breaking the glass, returning, and the review that must follow."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.coverage.break_glass import (
    break_glass_by_id,
    end_break_glass,
    review_break_glass,
    use_break_glass,
)
from apps.coverage.models import BreakGlass
from apps.errors import Invalid
from apps.identity.permissions import Permission
from apps.web.context import actor_of
from apps.web.views.base import account_of, page_of

FIELDS = ("hostname", "reason", "minutes")
CHOICES = ((15, "15 minutes"), (60, "1 hour"), (240, "4 hours"), (1440, "1 day"))


@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.BREAK_GLASS)
    source = request.POST if request.method == "POST" else request.GET
    form = {name: source.get(name, "") for name in FIELDS}
    form["minutes"] = form["minutes"] or "60"
    values: dict[str, Any] = {"form": form, "errors": {}, "choices": CHOICES}
    if request.method == "GET":
        return render(request, "break_glass/new.html", values)
    minutes = int(form["minutes"]) if form["minutes"].isdecimal() and len(form["minutes"]) < 6 else 0
    try:
        broken = use_break_glass(
            by=actor, account=account_of(request), hostname=form["hostname"], reason=form["reason"], minutes=minutes
        )
    except Invalid as refused:
        return render(request, "break_glass/new.html", {**values, "errors": refused.details}, status=400)
    messages.success(request, f"{broken.hostname} goes to log now.")
    return redirect("break-glass", break_glass_id=broken.pk)


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    rows = BreakGlass.objects.filter(zone__account=account_of(request)).select_related("zone", "request")
    return render(request, "break_glass/index.html", {"page": page_of(request, rows)})


@require_GET
def detail(request: HttpRequest, break_glass_id: int) -> HttpResponse:
    return render(request, "break_glass/detail.html", _detail(request, break_glass_by_id(break_glass_id)))


def _detail(request: HttpRequest, broken: BreakGlass, **more: Any) -> dict[str, Any]:
    actor = actor_of(request)
    mine = actor.person is not None and actor.person.pk == broken.used_by_id
    may_end = actor.may(Permission.BREAK_GLASS) or actor.may(Permission.REQUEST_APPROVE)
    return {
        "broken": broken,
        "may_end": broken.ended_at is None and may_end,
        "may_review": bool(broken.ended_at and not broken.reviewed_at)
        and actor.may(Permission.REQUEST_APPROVE)
        and not mine,
        "mine": mine,
        "errors": {},
        **more,
    }


@require_POST
def end(request: HttpRequest, break_glass_id: int) -> HttpResponse:
    broken = end_break_glass(by=actor_of(request), break_glass_id=break_glass_id)
    messages.success(request, f"{broken.hostname} returns to block now.")
    return redirect("break-glass", break_glass_id=break_glass_id)


@require_POST
def review(request: HttpRequest, break_glass_id: int) -> HttpResponse:
    comment = request.POST.get("comment", "")
    try:
        review_break_glass(by=actor_of(request), break_glass_id=break_glass_id, comment=comment)
    except Invalid as refused:
        values = _detail(request, break_glass_by_id(break_glass_id), errors=refused.details, comment=comment)
        return render(request, "break_glass/detail.html", values, status=400)
    messages.success(request, "The review is closed.")
    return redirect("break-glass", break_glass_id=break_glass_id)
