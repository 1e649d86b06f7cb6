"""Who is told what: one's own address, the last notices, and the receivers of webhooks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from apps.errors import Invalid
from apps.identity.permissions import Permission
from apps.identity.services import set_address
from apps.notify.models import Notice
from apps.notify.selectors import is_working, notices, people_without_address, webhooks
from apps.notify.services import retry_notice
from apps.notify.webhooks import add_webhook, remove_webhook
from apps.web.context import actor_of
from apps.web.views.base import page_of

FILTERS = {"state": Notice.State.values, "channel": Notice.Channel.values}


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    return _page(request, {})


def _page(request: HttpRequest, values: dict[str, Any]) -> HttpResponse:
    """Everybody sees their own address; who may read the audit log sees the rest."""
    actor, errors = actor_of(request), values.setdefault("errors", {})
    values.setdefault("address", actor.person.email if actor.person else "")
    values["mail_on"], values["sender"] = settings.BYOCA_MAIL, settings.DEFAULT_FROM_EMAIL
    values["reads"] = actor.may(Permission.AUDIT_READ)
    if values["reads"]:
        filters = {name: request.GET.get(name, "") for name in FILTERS}
        known = {name: value for name, value in filters.items() if value in FILTERS[name]}
        values |= {
            "page": page_of(request, notices(**known)),
            "filters": filters,
            "webhooks": webhooks(),
            "unreachable": people_without_address(),
            "working": is_working(),
        }
    return render(request, "notifications/index.html", values, status=400 if errors else 200)


@require_POST
def address(request: HttpRequest) -> HttpResponse:
    typed = request.POST.get("email", "")
    try:
        person = set_address(by=actor_of(request), email=typed)
    except Invalid as refused:
        return _page(request, {"errors": refused.details, "address": typed})
    messages.success(request, f"Mails go to {person.email}." if person.email else "You get no mails any more.")
    return redirect("notifications")


@require_POST
def webhook_add(request: HttpRequest) -> HttpResponse:
    """The secret is on the page that answers, and nowhere else."""
    form = {name: request.POST.get(name, "") for name in ("name", "url")}
    try:
        hook, secret = add_webhook(by=actor_of(request), secret=request.POST.get("secret", ""), **form)
    except Invalid as refused:
        return _page(request, {"errors": refused.details, "form": form})
    return _page(request, {"fresh": hook, "secret": secret})


@require_POST
def webhook_remove(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    hook = remove_webhook(by=actor_of(request), webhook_id=webhook_id)
    messages.success(request, f"Nothing is sent to {hook.name} any more.")
    return redirect("notifications")


@require_POST
def retry(request: HttpRequest, notice_id: UUID) -> HttpResponse:
    notice = retry_notice(by=actor_of(request), notice_id=notice_id)
    messages.success(request, f"It is sent to {notice.label} once more.")
    return redirect("notifications")
