"""Rehearsing a client certificate: which hostnames would let it through. Nothing that is pasted is stored."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.errors import Invalid
from apps.identity.permissions import Permission
from apps.reconcile.rehearsals import AccountRehearsal, HostnameVerdict, rehearse_client
from apps.reconcile.selectors import edge_freshness
from apps.web.context import actor_of
from apps.web.views.base import account_of, pasted_or_chosen

# A page shows at most so many hostnames of each kind. The form narrows them down, the API gives all.
MOST_SHOWN = 200


@sensitive_post_parameters("pem")
@require_http_methods(["GET", "POST"])
def rehearsal(request: HttpRequest) -> HttpResponse:
    """The page. For htmx, here and on a hostname's page, its result alone."""
    actor_of(request).require(Permission.COVERAGE_READ)
    account = account_of(request)
    sent = request.POST if request.method == "POST" else request.GET
    values: dict[str, Any] = {"hostname": sent.get("hostname", ""), "errors": {}, "account": account}
    live = request.headers.get("HX-Target") == "rehearsal"
    data = pasted_or_chosen(request)
    if request.method == "POST" and (data or not live):
        values |= _judged(request, data, values)
    if live:
        # htmx swaps in answers of status 200 only, and a refusal is an answer.
        return render(request, "rehearsal/_result.html", values)
    values["freshness"] = edge_freshness(account)
    return render(request, "rehearsal/index.html", values, status=400 if values["errors"] else 200)


def _judged(request: HttpRequest, data: bytes | str, values: dict[str, Any]) -> dict[str, Any]:
    kept = {"pem": request.POST.get("pem", "").replace("\r\n", "\n")}
    try:
        result = rehearse_client(account=values["account"], data=data, hostname=values["hostname"], now=timezone.now())
    except Invalid as refused:
        # What held a private key is not shown again.
        return {"errors": refused.details, **({} if refused.code == "private_key" else kept)}
    return {**kept, "result": result, "groups": _groups(result), "one": bool(values["hostname"].strip())}


def _groups(result: AccountRehearsal) -> list[tuple[str, tuple[HostnameVerdict, ...], int, int]]:
    """Heading, the rows shown, how many there are and how many are left out."""
    kinds = (("Would accept it", result.accepting), ("Would not accept it", result.refusing))
    return [(title, rows[:MOST_SHOWN], len(rows), max(len(rows) - MOST_SHOWN, 0)) for title, rows in kinds]
