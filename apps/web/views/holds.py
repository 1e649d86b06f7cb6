"""What holds writes back: the stop switch, and an account's freeze windows."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime, parse_time
from django.views.decorators.http import require_http_methods, require_POST

from apps.errors import Invalid
from apps.identity.permissions import Permission
from apps.inventory.freezes import WEEKDAYS, add_freeze_window, describe, remove_freeze_window
from apps.inventory.holds import Holds, freeze_windows, stops_in_force, stops_lifted
from apps.inventory.models import Account
from apps.inventory.selectors import account_by_id, accounts, zone_by_reference, zones_of
from apps.inventory.stops import lift_stop, stop_writes
from apps.web.context import actor_of

HISTORY_LENGTH = 20
WINDOW_FIELDS = (
    "name", "effect", "repeats", "timezone", "zone", "opens", "closes", "starts_at", "ends_at",
)  # fmt: skip


@require_http_methods(["GET", "POST"])
def stops(request: HttpRequest) -> HttpResponse:
    """Everything that is stopped, and the form to stop more. `target` is everything, account:<id> or zone:<id>."""
    target = request.POST.get("target") or request.GET.get("target", "")
    errors: dict[str, list[str]] = {}
    if request.method == "POST":
        try:
            stop_writes(by=actor_of(request), reason=request.POST.get("reason", ""), **_target(target))
            return redirect("stops")
        except Invalid as refused:
            errors = refused.details
    else:
        actor_of(request).require(Permission.COVERAGE_READ)
    values = {
        "errors": errors,
        "target": target,
        "reason": request.POST.get("reason", ""),
        "in_force": stops_in_force(),
        "lifted": stops_lifted()[:HISTORY_LENGTH],
        "targets": _targets(),
    }
    return render(request, "settings/stops.html", values, status=400 if errors else 200)


def _targets() -> list[tuple[str, str]]:
    """Value and words of what may be stopped."""
    rows = [("everything", "Everything")]
    for account in accounts():
        rows.append((f"account:{account.pk}", f"{account}: the whole account"))
        rows += [(f"zone:{zone.pk}", f"{account}: {zone.name}") for zone in zones_of(account)]
    return rows


def _target(value: str) -> dict[str, UUID]:
    kind, _, reference = value.partition(":")
    if value == "everything":
        return {}
    if kind == "account":
        return {"account_id": account_by_id(reference).pk}
    if kind == "zone":
        return {"zone_id": zone_by_reference(reference).pk}
    raise Invalid("Pick what to stop.", field="target")


@require_POST
def lift(request: HttpRequest, stop_id: int) -> HttpResponse:
    lift_stop(by=actor_of(request), stop_id=stop_id, reason=request.POST.get("reason", ""))
    messages.success(request, "Writes go again. What waited is sent now.")
    return redirect("stops")


@require_http_methods(["GET", "POST"])
def windows(request: HttpRequest, account_id: UUID) -> HttpResponse:
    account = account_by_id(account_id)
    form: dict[str, Any] = {name: request.POST.get(name, "") for name in WINDOW_FIELDS}
    form["days"] = request.POST.getlist("weekdays")
    errors: dict[str, list[str]] = {}
    if request.method == "POST":
        try:
            window = add_freeze_window(by=actor_of(request), account_id=account.pk, **_window(form))
            messages.success(request, f"{window} is added: {describe(window)}.")
            return redirect("windows", account_id=account.pk)
        except Invalid as refused:
            errors = refused.details
    return render(
        request, "settings/windows.html", _windows_values(account, form, errors), status=400 if errors else 200
    )


def _windows_values(account: Account, form: dict[str, Any], errors: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "account": account,
        "hold": Holds(account).on_account(),
        "rows": [(window, describe(window)) for window in freeze_windows(account)],
        "zones": zones_of(account),
        "timezones": sorted(available_timezones()),
        "weekdays": [(str(number), name, str(number) in form["days"]) for number, name in enumerate(WEEKDAYS)],
        "form": {**form, "effect": form["effect"] or "deny", "repeats": form["repeats"] or "weekly"},
        "errors": errors,
    }


def _window(form: dict[str, Any]) -> dict[str, Any]:
    """The form's words as values; what is no time at all counts as not given."""
    return {
        "name": form["name"],
        "effect": form["effect"],
        "repeats": form["repeats"],
        "timezone": form["timezone"].strip(),
        "zone_id": zone_by_reference(form["zone"]).pk if form["zone"] else None,
        "weekdays": [int(day) for day in form["days"] if day in "0123456"],
        "opens": _time(form["opens"]),
        "closes": _time(form["closes"]),
        "starts_at": _moment(form["starts_at"]),
        "ends_at": _moment(form["ends_at"]),
    }


def _time(text: str) -> time | None:
    try:
        return parse_time(text)
    except ValueError:
        return None


def _moment(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        return None


@require_POST
def window_remove(request: HttpRequest, window_id: int) -> HttpResponse:
    window = remove_freeze_window(by=actor_of(request), window_id=window_id)
    messages.success(request, f"{window} is removed. What waited for it is sent now.")
    return redirect("windows", account_id=window.account_id)
