"""Certificate authorities: list, detail, upload."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.audit.selectors import events_matching
from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import ca_by_id, cas_of, certificate_of, inspect_upload, slots_of
from apps.authorities.services import admit_ca, retry_ca
from apps.coverage.selectors import open_requests, uses_of
from apps.coverage.services import retire_ca
from apps.errors import Invalid
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.reconcile.selectors import edge_freshness, hostname_rows
from apps.web.context import actor_of
from apps.web.plots import validity_bar
from apps.web.views.base import account_of, page_of, pasted_or_chosen

MOVING = {"queued", "pushing", "deleting"}
# The form asks, and "unknown" is an answer; the service refuses where none was given.
ISSUERS = {"self": "self", "unknown": ""}
UPLOAD_FIELDS = ("name", "owner_team", "reason", "client_issuers", "replaces")


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    account = account_of(request)
    slots = slots_of(account)
    shown = {holder.ca.pk for holder in slots.holders if holder.ca}
    others = [ca for ca in cas_of(account) if ca.pk not in shown]
    values = {"slots": slots, "free": range(slots.free), "others": others, "freshness": edge_freshness(account)}
    return render(request, "cas/index.html", values)


@require_GET
def detail(request: HttpRequest, ca_id: UUID) -> HttpResponse:
    ca = ca_by_id(ca_id)
    fragment = request.headers.get("HX-Target") == "ca-state"
    return render(
        request, "cas/_state.html" if fragment else "cas/detail.html", _detail(request, ca, fragment=fragment)
    )


def _detail(request: HttpRequest, ca: CertificateAuthority, **more: Any) -> dict[str, Any]:
    actor = actor_of(request)
    rows = hostname_rows(ca.account, ca=str(ca.pk))
    slots = slots_of(ca.account)
    zones: dict[str, list[Any]] = {}
    for row in rows:
        zones.setdefault(row.zone.name, []).append(row)
    hostnames, requests = uses_of(ca)
    may_audit = actor.may(Permission.AUDIT_READ)
    return {
        "ca": ca,
        "facts": certificate_of(ca),
        "bar": validity_bar(ca.not_before, ca.not_after),
        "moving": ca.state in MOVING,
        "page": page_of(request, [(row, next(c for c in row.cells if c.ca and c.ca.pk == ca.pk)) for row in rows]),
        "zones": [(name, members, sum(r.rule.state == "enforced" for r in members)) for name, members in zones.items()],
        "slots": slots,
        "slot_number": next((n for n, h in enumerate(slots.holders, 1) if h.ca and h.ca.pk == ca.pk), None),
        "sample": rows[0].hostname if rows else "",
        "uses": hostnames,
        "open_requests": open_requests(ca.account).filter(ca=ca)[:5],
        "request_count": requests,
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
def inspect(request: HttpRequest) -> HttpResponse:
    """What was read and checked, for the upload form. Nothing is stored."""
    actor_of(request).require(Permission.CA_UPLOAD)
    return render(request, "cas/_inspection.html", _inspected(request))


def _inspected(request: HttpRequest) -> dict[str, Any]:
    data = pasted_or_chosen(request)
    if not data:
        return {"slots": slots_of(account_of(request))}
    seen = inspect_upload(account=account_of(request), data=data, name=request.POST.get("name", ""), now=timezone.now())
    facts = seen.certificate
    counts = {word: sum(f.severity == word for f in seen.findings) for word in ("passed", "caution", "refuse")}
    bar = validity_bar(facts.not_before, facts.not_after) if facts else None
    return {"seen": seen, "facts": facts, "bar": bar, "counts": counts, "slots": seen.slots, "now": timezone.now()}


@require_http_methods(["GET", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    actor, account = actor_of(request), account_of(request)
    actor.require(Permission.CA_UPLOAD)
    replaced = _replaced(request)
    values: dict[str, Any] = {"teams": Team.objects.all(), "errors": {}, "form": {}, "replaced": replaced}
    if request.method == "GET":
        form = {"owner_team": replaced.owner_team.slug} if replaced and replaced.owner_team else {}
        return render(request, "cas/upload.html", {**values, "form": form, "slots": slots_of(account)})
    form = {name: request.POST.get(name, "") for name in UPLOAD_FIELDS}
    values |= {"form": form, **_inspected(request)}
    if "check" in request.POST:
        return render(request, "cas/upload.html", {**values, "pem": _kept_pem(request, values)})
    try:
        ca = admit_ca(
            by=actor, account=account, name=form["name"], data=pasted_or_chosen(request), reason=form["reason"],
            client_issuers=ISSUERS.get(form["client_issuers"], "unanswered"),
            owner_team=Team.objects.filter(slug=form["owner_team"]).first(), replaces=replaced,
        )  # fmt: skip
    except Invalid as refused:
        values |= {"errors": refused.details, "pem": _kept_pem(request, values)}
        return render(request, "cas/upload.html", values, status=400)
    messages.success(request, f"{ca.name} is queued for upload.")
    return redirect("ca-replace", ca_id=replaced.pk) if replaced else redirect("ca", ca_id=ca.pk)


def _replaced(request: HttpRequest) -> CertificateAuthority | None:
    """The CA that the upload takes over from, when it comes from a rotation."""
    named = (request.POST if request.method == "POST" else request.GET).get("replaces", "")
    return ca_by_id(named) if named else None


def _kept_pem(request: HttpRequest, values: dict[str, Any]) -> str:
    """What was typed, unless it held a private key: that is not shown again."""
    seen = values.get("seen")
    if seen and any(finding.check == "private_key" for finding in seen.findings):
        return ""
    # A browser sends text fields with CRLF, whatever was pasted.
    return request.POST.get("pem", "").replace("\r\n", "\n")


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
