"""Asking for another set of known issuers of a CA's clients."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from apps.authorities.selectors import ca_by_id
from apps.coverage.issuer_changes import enforced_rows
from apps.errors import Invalid
from apps.identity.permissions import Permission
from apps.pki.private_keys import holds_private_key
from apps.reconcile.services import submit_issuers
from apps.web.context import actor_of


@require_http_methods(["GET", "POST"])
def change(request: HttpRequest, ca_id: UUID) -> HttpResponse:
    actor, ca = actor_of(request), ca_by_id(ca_id)
    actor.require(Permission.CA_UPLOAD)
    rows = enforced_rows(ca)
    values: dict[str, Any] = {
        "ca": ca,
        "errors": {},
        "own": any(issuer["source"] == "self" for issuer in ca.issuers),
        "pem": "".join(issuer["pem"] for issuer in ca.issuers),
        "rows": rows,
        "blocked": sum(row.mode == "block" for row in rows),
    }
    if request.method == "GET":
        return render(request, "cas/issuers.html", values)
    pem, own = request.POST.get("pem", "").replace("\r\n", "\n"), "self" in request.POST
    reason, override = request.POST.get("reason", ""), request.POST.get("override", "")
    entries = (["self"] if own else []) + ([pem] if pem.strip() else [])
    try:
        made = submit_issuers(by=actor, ca=ca, entries=entries, reason=reason, override=override)
    except Invalid as refused:
        shown = "" if holds_private_key(pem) else pem
        values |= {"errors": refused.details, "own": own, "pem": shown, "reason": reason, "override": override}
        return render(request, "cas/issuers.html", values, status=400)
    return redirect("request", request_id=made.pk)
