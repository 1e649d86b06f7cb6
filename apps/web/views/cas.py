"""Certificate authorities: list, detail, retry, delete. Uploading is in `uploads`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from apps.audit.selectors import events_matching
from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import ca_by_id, cas_of, certificate_of, slots_of
from apps.authorities.services import retry_ca
from apps.coverage.selectors import open_requests
from apps.coverage.services import retire_ca
from apps.coverage.uses import uses_of
from apps.errors import Invalid
from apps.identity.permissions import Permission
from apps.reconcile.selectors import edge_freshness, hostname_rows
from apps.web.context import actor_of
from apps.web.plots import validity_bar
from apps.web.views.base import account_of, page_of

MOVING = {"queued", "pushing", "deleting"}
FURTHEST_FROM_BLOCK = ("enforced", "queued", "logging", "zone_gone", "paused", "altered", "no_rule")


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    account = account_of(request)
    slots = slots_of(account)
    shown = {holder.ca.pk for holder in slots.holders if holder.ca}
    others = [ca for ca in cas_of(account) if ca.pk not in shown]
    unknown = sum(holder.ca is None for holder in slots.holders)
    values = {
        "slots": slots,
        "unknown": unknown,
        "free": range(slots.free),
        "others": others,
        "freshness": edge_freshness(account),
    }
    return render(request, "cas/index.html", values)


@require_GET
def detail(request: HttpRequest, ca_id: UUID) -> HttpResponse:
    ca = ca_by_id(ca_id)
    fragment = request.headers.get("HX-Target") == "ca-state"
    return render(
        request, "cas/_state.html" if fragment else "cas/detail.html", _detail(request, ca, fragment=fragment)
    )


def _rules_in(zone: str, states: list[str]) -> tuple[str, int, int, str]:
    """The zone, its hostnames in block, all its hostnames, and the state of the one that is furthest from block."""
    return zone, states.count("enforced"), len(states), max(states, key=FURTHEST_FROM_BLOCK.index)


def _detail(request: HttpRequest, ca: CertificateAuthority, **more: Any) -> dict[str, Any]:
    actor = actor_of(request)
    rows = hostname_rows(ca.account, ca=str(ca.pk))
    slots = slots_of(ca.account)
    zones: dict[str, list[str]] = {}
    for row in rows:
        zones.setdefault(row.zone.name, []).append(row.rule.state)
    uses = uses_of(ca)
    may_audit = actor.may(Permission.AUDIT_READ)
    return {
        "ca": ca,
        "facts": certificate_of(ca),
        "bar": validity_bar(ca.not_before, ca.not_after),
        "moving": ca.state in MOVING,
        "page": page_of(request, [(row, next(c for c in row.cells if c.ca and c.ca.pk == ca.pk)) for row in rows]),
        "zones": [_rules_in(name, states) for name, states in zones.items()],
        "slots": slots,
        "slot_number": next((n for n, h in enumerate(slots.holders, 1) if h.ca and h.ca.pk == ca.pk), None),
        "sample": rows[0].hostname if rows else "",
        "uses": uses,
        "open_requests": open_requests(ca.account).filter(ca=ca)[:5],
        "events": events_matching(subject_type="ca", subject_id=str(ca.pk))[:12] if may_audit else [],
        "may_audit": may_audit,
        "successor": ca.replaced_by,
        "notice": ca.expiry_notices.order_by("threshold_days").first(),
        "freshness": edge_freshness(ca.account),
        **more,
    }


@require_GET
def pem(_request: HttpRequest, ca_id: UUID) -> HttpResponse:
    """A CA certificate is public."""
    ca = ca_by_id(ca_id)
    response = HttpResponse(ca.pem, content_type="application/x-pem-file")
    response["Content-Disposition"] = f'attachment; filename="ca-{ca.fingerprint[:12]}.pem"'
    return response


@require_POST
def retry(request: HttpRequest, ca_id: UUID) -> HttpResponse:
    retry_ca(by=actor_of(request), ca_id=ca_id)
    return redirect("ca", ca_id=ca_id)


@require_POST
def delete(request: HttpRequest, ca_id: UUID) -> HttpResponse:
    ca = ca_by_id(ca_id)
    typed, reason = request.POST.get("confirm", ""), request.POST.get("reason", "")
    try:
        retire_ca(by=actor_of(request), ca_id=ca_id, reason=reason, confirm_name=typed)
    except Invalid as refused:
        values = _detail(request, ca, errors=refused.details, typed=typed, reason=reason)
        return render(request, "cas/detail.html", values, status=400)
    messages.success(request, f"{ca.name} leaves the edge as soon as no list names it.")
    return redirect("ca", ca_id=ca_id)
