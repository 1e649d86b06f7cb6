"""Where the edge differs from what was approved, and what people decide about it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from apps.errors import Invalid
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.inventory.models import Account
from apps.inventory.selectors import zones_of
from apps.reconcile.differences import Decision, drift_open, propose
from apps.reconcile.drift_services import ask, ignore_drift, show_drift
from apps.reconcile.healing import fought_over
from apps.reconcile.models import Drift
from apps.reconcile.selectors import columns, edge_freshness, hostname_rows
from apps.web.context import actor_of
from apps.web.views.base import account_of, page_of, team_named

FILTERS = ("kind", "ca", "zone")
ACTS = ("restore", "accept", "ignore", "show")
KINDS = (("missing", "Missing"), ("unexpected", "Unexpected"), ("altered", "Rule changed"))


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    account = account_of(request)
    filters, ignored = _filters(request.GET), request.GET.get("ignored") == "1"
    locked = {row.hostname for row in hostname_rows(account, answer="locked_out")}
    rows = sorted(
        drift_open(account, **filters, ignored=ignored).prefetch_related("ignores"),
        key=lambda row: (row.hostname not in locked, -row.first_seen_at.timestamp(), row.hostname),
    )
    cols = columns(account)
    values = {
        "page": page_of(request, rows),
        "locked": locked,
        "filters": filters,
        "filtered": any(filters.values()),
        "ignored": ignored,
        "ignored_count": drift_open(account, ignored=True).count(),
        "kinds": KINDS,
        "columns": cols,
        "edge_names": {column.key: column.label for column in cols},
        "unknown": [column for column in cols if column.ca is None],
        "fought_over": fought_over(account),
        "zones": list(zones_of(account)),
        "freshness": edge_freshness(account),
    }
    return render(request, "drift/index.html", values)


def _filters(source: Any) -> dict[str, str]:
    return {name: source.get(name, "") for name in FILTERS}


@require_POST
def decide(request: HttpRequest) -> HttpResponse:
    """What the choice comes to, before anything is asked for; with `send`, the asking itself."""
    actor, account = actor_of(request), account_of(request)
    act, rows = _choice(request, account)
    if act == "show":
        shown = show_drift(by=actor, account=account, drift_ids=[row.pk for row in rows])
        messages.success(request, f"Shown again: {len(shown)}.")
        return redirect("drift")
    actor.require(Permission.DRIFT_IGNORE if act == "ignore" else Permission.REQUEST_CREATE)
    if not rows:
        messages.error(request, "Nothing was chosen. Tick what you decide about.")
        return redirect("drift")
    values = _values(request, account, act, rows)
    if "send" not in request.POST:
        return render(request, "drift/decide.html", values)
    form = values["form"]
    try:
        if act == "ignore":
            made = ignore_drift(by=actor, account=account, drift_ids=[row.pk for row in rows], reason=form["reason"])
            messages.success(request, f"Set aside until {made[0].until:%d %b}: {len(made)}.")
            return redirect("drift")
        asked = ask(
            by=actor, groups=values["proposal"].groups, reason=form["reason"], ticket=form["ticket"],
            team=team_named(form["team"], field="team"),
        )  # fmt: skip
    except Invalid as refused:
        return render(request, "drift/decide.html", {**values, "errors": refused.details}, status=400)
    if len(asked) == 1:
        return redirect("request", request_id=asked[0].pk)
    messages.success(request, f"Sent for approval: {', '.join(str(one) for one in asked)}.")
    return redirect("/requests/?tab=yours")


def _choice(request: HttpRequest, account: Account) -> tuple[str, list[Drift]]:
    """The act, and the differences it is about: of one row's button, all that match, or the ticked ones."""
    act, _, one = request.POST.get("act", "").partition("-")
    if act not in ACTS:
        raise Invalid("Choose what to do: restore, accept, or ignore.", field="act")
    open_rows = drift_open(account, ignored=act == "show")
    if one or "all" not in request.POST:
        given = [one] if one else ",".join(request.POST.getlist("picks")).split(",")
        ids = [int(word) for word in given if word.isascii() and word.isdigit() and len(word) < 19]
        return act, list(open_rows.filter(pk__in=ids))
    return act, list(drift_open(account, **_filters(request.POST), ignored=act == "show"))


def _values(request: HttpRequest, account: Account, act: str, rows: list[Drift]) -> dict[str, Any]:
    actor = actor_of(request)
    any_team = actor.may(Permission.REQUEST_CREATE_ANY_TEAM)
    mine = actor.person.teams.all() if actor.person else Team.objects.none()
    asks = act != "ignore"
    proposal = propose(by=actor, account=account, rows=rows, decision=Decision(act)) if asks else None
    return {
        "act": act,
        "rows": rows,
        "picks": ",".join(str(row.pk) for row in rows),
        "proposal": proposal,
        "adopts": proposal is not None and any(group.kind == "adopt" for group in proposal.groups),
        "teams": Team.objects.all() if any_team else mine,
        "form": {name: request.POST.get(name, "") for name in ("reason", "ticket", "team")},
        "edge_names": {column.key: column.label for column in columns(account)},
        "errors": {},
    }
