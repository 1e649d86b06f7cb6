"""Accounts and zones, API tokens, the API reference, the account switcher."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings as django_settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from drf_spectacular.generators import SchemaGenerator

from apps.authorities.selectors import slots_of
from apps.errors import Invalid
from apps.identity.models import ApiToken
from apps.identity.services import create_token, revoke_token
from apps.inventory.budget.gate import budget_of
from apps.inventory.holds import Holds, freeze_windows
from apps.inventory.models import Account, Zone
from apps.inventory.selectors import accounts as all_accounts
from apps.inventory.selectors import zones_of
from apps.inventory.services import add_account, replace_token, set_budget, set_healing, set_mode, set_slot_limit
from apps.inventory.token_check import EXCESS_WORDS
from apps.inventory.token_services import remove_read_token, store_read_token
from apps.inventory.tokens import tokens_held
from apps.outbox.models import OutboxEntry
from apps.probing.selectors import setting_of
from apps.probing.services import set_probing
from apps.web.context import actor_of
from apps.web.views.base import back_to

ACCOUNT_FIELDS = ("name", "cloudflare_id", "mode")
ZONES_SHOWN = 50


@require_http_methods(["GET", "POST"])
def accounts(request: HttpRequest) -> HttpResponse:
    values: dict[str, Any] = {"errors": {}, "form": {}}
    if request.method == "POST":
        form = {name: request.POST.get(name, "") for name in ACCOUNT_FIELDS}
        try:
            account = add_account(by=actor_of(request), token=request.POST.get("token", ""), **form)
        except Invalid as refused:
            values = {"errors": refused.details, "form": form}
        else:
            messages.success(request, f"{account.name} is added and read now.")
            return redirect("accounts")
    return _accounts_page(request, values)


def _accounts_page(request: HttpRequest, values: dict[str, Any]) -> HttpResponse:
    entries = {entry.subject_id: entry for entry in OutboxEntry.objects.all()}
    most = None if request.GET.get("zones") == "all" else ZONES_SHOWN
    values["rows"] = [_row(account, entries, most) for account in all_accounts()]
    values["excess_words"] = EXCESS_WORDS
    values["probing"] = {account.pk: setting_of(account) for account in all_accounts()}
    return render(request, "settings/accounts.html", values, status=400 if values["errors"] else 200)


def _row(account: Account, entries: dict[UUID, OutboxEntry], most: int | None) -> dict[str, Any]:
    """One account's section: slots, budget, permissions, holds, and `most` of its zones; None shows all."""
    holds, zones = Holds(account), _unwell_first(account, entries)
    return {
        "account": account,
        "tokens": tokens_held(account),
        "slots": slots_of(account),
        "limit": account.call_limit or django_settings.BYOCA_CALL_LIMIT,
        "budget": budget_of(account),
        "hold": holds.on_account(),
        "windows": freeze_windows(account).count(),
        "parked": job.parked_reason if (job := entries.get(account.pk)) else "",
        "zones": [(zone, entries.get(zone.pk), holds.on_zone(zone.pk)) for zone in zones[:most]],
        "zones_hidden": len(zones) - len(zones[:most]),
    }


def _unwell_first(account: Account, entries: dict[UUID, OutboxEntry]) -> list[Zone]:
    """By name, but what waits for a person or cannot be read is not looked for among hundreds."""

    def well(zone: Zone) -> tuple[bool, bool]:
        job = entries.get(zone.pk)
        return job is None or job.parked_at is None, zone.failing_since is None

    return sorted(zones_of(account), key=well)


@require_POST
def account_token(request: HttpRequest, account_id: UUID) -> HttpResponse:
    replace_token(by=actor_of(request), account_id=account_id, token=request.POST.get("token", ""))
    messages.success(request, "The token is stored. Everything is tried again with it.")
    return redirect("accounts")


@require_POST
def account_read_token(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """Store or replace the read token. A token that was refused is not kept on the page."""
    try:
        account = store_read_token(by=actor_of(request), account_id=account_id, token=request.POST.get("token", ""))
    except Invalid as refused:
        errors = {"read_token": refused.details["token"]}
        return _accounts_page(request, {"errors": errors, "form": {}, "read_token_form": {"account": account_id}})
    messages.success(request, f"{account.name} is read with the read token from now on.")
    return redirect("accounts")


@require_POST
def account_read_token_remove(request: HttpRequest, account_id: UUID) -> HttpResponse:
    account = remove_read_token(by=actor_of(request), account_id=account_id)
    messages.success(request, f"{account.name} has one token again: it reads and writes.")
    return redirect("accounts")


@require_POST
def account_mode(request: HttpRequest, account_id: UUID) -> HttpResponse:
    set_mode(by=actor_of(request), account_id=account_id, mode=request.POST.get("mode", ""))
    return redirect("accounts")


@require_POST
def account_budget(request: HttpRequest, account_id: UUID) -> HttpResponse:
    limit, share = request.POST.get("call_limit", "").strip(), request.POST.get("call_share_percent", "").strip()
    if not (limit + share).isascii() or not all(value.isdigit() for value in (limit or "0", share)):
        raise Invalid("Give whole numbers.", field="call_limit")
    account = set_budget(
        by=actor_of(request),
        account_id=account_id,
        call_limit=int(limit[:9]) if limit else None,
        call_share_percent=int(share[:9]),
    )
    messages.success(request, f"The request budget of {account.name} is set.")
    return redirect("accounts")


@require_POST
def account_probing(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """Switch probing on or off. What was typed stays on the page when it is refused."""
    form = {name: request.POST.get(name, "") for name in ("test_ranges", "reason")}
    enabled = request.POST.get("enabled", "") == "on"
    try:
        set_probing(by=actor_of(request), account_id=account_id, enabled=enabled, **form)
    except Invalid as refused:
        given = {**form, "account": account_id, "enabled": enabled, "errors": refused.details}
        return _accounts_page(request, {"errors": refused.details, "form": {}, "probing_form": given})
    messages.success(request, f"Probing is {'on' if enabled else 'off'}.")
    return redirect("accounts")


@require_POST
def account_slots(request: HttpRequest, account_id: UUID) -> HttpResponse:
    typed, reason = request.POST.get("slot_limit", "").strip(), request.POST.get("reason", "")
    try:
        limit = int(typed) if typed.isascii() and typed.isdigit() else -1
        account = set_slot_limit(by=actor_of(request), account_id=account_id, slot_limit=limit, reason=reason)
    except Invalid as refused:
        slots = {"account": account_id, "slot_limit": typed, "reason": reason}
        return _accounts_page(request, {"errors": refused.details, "form": {}, "slots_form": slots})
    messages.success(request, f"{account.name} counts with {account.slot_limit} CA slots.")
    return redirect("accounts")


@require_POST
def account_healing(request: HttpRequest, account_id: UUID) -> HttpResponse:
    enabled, reason = request.POST.get("enabled", "") == "on", request.POST.get("reason", "")
    try:
        account = set_healing(by=actor_of(request), account_id=account_id, enabled=enabled, reason=reason)
    except Invalid as refused:
        given = {"account": account_id, "errors": refused.details}
        return _accounts_page(request, {"errors": refused.details, "form": {}, "healing_form": given})
    messages.success(request, f"{account.name}: healing is {'on' if enabled else 'off'}.")
    return redirect("accounts")


@require_POST
def switch(request: HttpRequest) -> HttpResponse:
    request.session["account"] = request.POST.get("account", "")
    return redirect(back_to(request, "/"))


@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    values: dict[str, Any] = {"errors": {}}
    if request.method == "POST":
        try:
            token, secret = create_token(by=actor_of(request), name=request.POST.get("name", ""))
            values |= {"fresh": token, "secret": secret}
        except Invalid as refused:
            values["errors"] = refused.details
    values["tokens"] = ApiToken.objects.filter(person=request.user)
    return render(request, "settings/tokens.html", values, status=400 if values["errors"] else 200)


@require_POST
def token_revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    token = revoke_token(by=actor_of(request), token_id=token_id)
    messages.success(request, f"{token.name} no longer works.")
    return redirect("tokens")


@require_GET
def api_docs(request: HttpRequest) -> HttpResponse:
    """The REST API, from its own schema: no script, nothing from elsewhere."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            row = {"method": method.upper(), "path": path, **operation}
            row["fields"] = _fields(schema, operation)
            groups.setdefault(operation.get("tags", ["api"])[0], []).append(row)
    return render(request, "settings/api.html", {"groups": groups.items(), "info": schema["info"]})


def _fields(schema: dict[str, Any], operation: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, type and whether required, of a JSON body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    shape = schema.get("components", {}).get("schemas", {}).get(name, {})
    required = set(shape.get("required", []))
    return [
        (field, str(kind.get("type", "value")), field in required)
        for field, kind in shape.get("properties", {}).items()
    ]
