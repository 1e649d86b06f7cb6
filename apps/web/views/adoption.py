"""Adopting a CA that the edge holds and the portal does not know."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from apps.authorities.adoption import adoptable, inspect_adoption
from apps.authorities.intake import PeopleSay
from apps.errors import Invalid
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.inventory.models import Account, EdgeCertificate, EdgeList
from apps.reconcile.drift_services import adopt_ca
from apps.web.context import actor_of
from apps.web.plots import validity_bar
from apps.web.views.base import account_of, back_to, team_named
from apps.web.views.uploads import FIELDS, ISSUERS


@require_http_methods(["GET", "POST"])
def adopt(request: HttpRequest, cloudflare_id: str) -> HttpResponse:
    """The certificate, its checks, and what only people know: name, owner, who signs the clients, why."""
    actor, account = actor_of(request), account_of(request)
    actor.require(Permission.CA_UPLOAD)
    row = adoptable(account, cloudflare_id)
    if request.method == "GET":
        return render(request, "cas/adopt.html", _values(account, row, {"name": row.name}))
    form = {name: request.POST.get(name, "") for name in FIELDS}
    try:
        issuers, team = ISSUERS.get(form["client_issuers"], "unanswered"), team_named(form["owner_team"])
        people = PeopleSay(form["name"], form["reason"], issuers, team)
        ca = adopt_ca(by=actor, account=account, cloudflare_id=cloudflare_id, people=people)
    except Invalid as refused:
        values = {**_values(account, row, form), "errors": refused.details}
        return render(request, "cas/adopt.html", values, status=400)
    messages.success(request, f"{ca.name} is adopted. Nothing changed at Cloudflare.")
    return redirect(back_to(request, f"/drift/?ca={cloudflare_id}"))


def _values(account: Account, row: EdgeCertificate, form: dict[str, str]) -> dict[str, Any]:
    seen = inspect_adoption(account=account, row=row, name=form.get("name", ""), now=timezone.now())
    facts = seen.certificate
    lists = EdgeList.objects.filter(zone__account=account, ca_cloudflare_id=row.cloudflare_id)
    return {
        "row": row,
        "form": form,
        "errors": {},
        "teams": Team.objects.all(),
        "seen": seen,
        "facts": facts,
        "bar": validity_bar(facts.not_before, facts.not_after) if facts else None,
        "counts": {word: sum(f.severity == word for f in seen.findings) for word in ("passed", "caution", "refuse")},
        "hostnames": sum(len(edge.hostnames) for edge in lists),
        "zones": sum(bool(edge.hostnames) for edge in lists),
    }
