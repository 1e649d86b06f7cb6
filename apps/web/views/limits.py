"""How much may go from a zone before a guard refuses."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from apps.errors import Invalid
from apps.inventory.limits import RANGES, default_limits, numbers_of, set_limits
from apps.inventory.selectors import zone_by_reference
from apps.web.context import actor_of


@require_http_methods(["GET", "POST"])
def zone_limits(request: HttpRequest, zone_id: UUID) -> HttpResponse:
    """What was typed stays on the page when it is refused."""
    zone = zone_by_reference(str(zone_id))
    typed = {name: str(number) for name, number in numbers_of(zone).items()}
    errors: dict[str, list[str]] = {}
    if request.method == "POST":
        typed = {name: request.POST.get(name, "").strip() for name in RANGES}
        try:
            limits = {name: _number(value) for name, value in typed.items()}
            set_limits(by=actor_of(request), zone_id=zone.pk, limits=limits, reason=request.POST.get("reason", ""))
        except Invalid as refused:
            errors = refused.details
        else:
            messages.success(request, f"The removal limits of {zone.name} are set.")
            return redirect("zone-limits", zone_id=zone.pk)
    defaults = default_limits()
    rows = [(name, words, typed[name], defaults[name]) for name, (_, _, words) in RANGES.items()]
    values = {"zone": zone, "rows": rows, "errors": errors, "reason": request.POST.get("reason", "")}
    return render(request, "settings/limits.html", values, status=400 if errors else 200)


def _number(value: str) -> int | None:
    """None, the default, for an empty field; what is no number is out of every range."""
    if not value:
        return None
    return int(value[:9]) if value.isascii() and value.isdigit() else -1
