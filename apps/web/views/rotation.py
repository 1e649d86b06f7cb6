"""Replacing a CA: one page that says where the rotation stands and offers what comes next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import ca_by_id, cas_of, slots_of
from apps.authorities.services import set_replacement
from apps.authorities.states import CaState
from apps.coverage.models import Kind
from apps.coverage.rotation import Rotation, Standing, Step, rotation_of
from apps.coverage.rotation_services import confirm_clients_moved
from apps.coverage.states import OPEN
from apps.errors import Invalid, NotFound
from apps.reconcile.selectors import edge_freshness
from apps.reconcile.services import submit_rotation
from apps.web.context import actor_of
from apps.web.views.base import page_of

STEPS = (
    (Step.UPLOAD, "New CA"),
    (Step.COVER, "Both CAs"),
    (Step.CONFIRM, "Clients moved"),
    (Step.UNCOVER, "Old CA off"),
    (Step.DELETE, "Old CA deleted"),
)
ORDER = [step for step, _ in STEPS] + [Step.DONE]
# Shown in the table as an association's state.
WORDS = {
    Standing.OLD: "none",
    Standing.PENDING: "requested",
    Standing.APPROVED: "pushing",
    Standing.BOTH: "live",
    Standing.LEAVING: "live",
}


@require_GET
def replace(request: HttpRequest, ca_id: UUID) -> HttpResponse:
    rotation = rotation_of(ca_by_id(ca_id))
    if request.headers.get("HX-Target") != "rotation":
        return render(request, "cas/replace.html", _values(request, rotation))
    if request.GET.get("seen") == _seen(rotation):
        return render(request, "cas/_rotation.html", _progress(rotation))
    # Another step has other forms, so the page loads anew, but never over what somebody types (portal.js).
    response = HttpResponse()
    response["HX-Refresh"] = "true"
    return response


def _seen(rotation: Rotation) -> str:
    """Names what the page showed, so that the poll can tell when it is another page."""
    states = [rotation.old.state, rotation.new.state if rotation.new else ""]
    states += [request.state if request else "" for request in (rotation.cover, rotation.uncover)]
    return "-".join([rotation.step, *states, str(rotation.on_both), str(len(rotation.rows))])


def _progress(rotation: Rotation) -> dict[str, Any]:
    reached = ORDER.index(rotation.step)
    steps = [
        (step, name, "done" if n < reached else "now" if n == reached else "next")
        for n, (step, name) in enumerate(STEPS)
    ]
    return {"rotation": rotation, "old": rotation.old, "new": rotation.new, "steps": steps, "seen": _seen(rotation)}


def _values(request: HttpRequest, rotation: Rotation, **more: Any) -> dict[str, Any]:
    old, new = rotation.old, rotation.new
    here = cas_of(old.account).filter(state=CaState.LIVE, replaces=None).exclude(pk__in=[old.pk, old.replaces_id])
    return {
        **_progress(rotation),
        "slots": slots_of(old.account),
        "candidates": list(here) if new is None else [],
        "page": page_of(request, [(row, WORDS[row.standing]) for row in rotation.rows]),
        "zone_count": len({row.zone.pk for row in rotation.rows}),
        "unpins": bool(
            new and old.issuer_skis and not new.issuer_skis and any(r.mode != "verify" for r in rotation.rows)
        ),
        "freshness": edge_freshness(old.account),
        "form": {},
        "open_states": OPEN,
        "errors": {},
        **more,
    }


@require_POST
def link(request: HttpRequest, ca_id: UUID) -> HttpResponse:
    """Take a CA that is here already as the new one."""

    def act(reason: str, _ticket: str) -> str:
        new = _chosen(request.POST.get("replacement", ""))
        set_replacement(by=actor_of(request), ca_id=new.pk, replaces_id=ca_id, reason=reason)
        return f"{new.name} takes over."

    return _act(request, ca_id, act)


def _chosen(value: str) -> CertificateAuthority:
    try:
        return ca_by_id(value)
    except NotFound:
        raise Invalid("Pick a CA.", field="replacement") from None


@require_POST
def cover(request: HttpRequest, ca_id: UUID) -> HttpResponse:
    """Ask for every hostname of the old CA under the new one too."""
    return _submit(request, ca_id, Kind.COVER)


@require_POST
def confirm(request: HttpRequest, ca_id: UUID) -> HttpResponse:
    """Say that the clients present certificates of the new CA."""

    def act(reason: str, _ticket: str) -> str:
        new = confirm_clients_moved(by=actor_of(request), ca_id=ca_id, reason=reason)
        return f"Confirmed: the clients use {new.name}."

    return _act(request, ca_id, act)


@require_POST
def release(request: HttpRequest, ca_id: UUID) -> HttpResponse:
    """Ask for the hostnames to leave the old CA."""
    return _submit(request, ca_id, Kind.UNCOVER)


def _submit(request: HttpRequest, ca_id: UUID, kind: Kind) -> HttpResponse:
    def act(reason: str, ticket: str) -> str:
        made = submit_rotation(by=actor_of(request), ca_id=ca_id, kind=kind, reason=reason, ticket=ticket)
        return f"{made} waits for an approval."

    return _act(request, ca_id, act)


def _act(request: HttpRequest, ca_id: UUID, act: Callable[[str, str], str]) -> HttpResponse:
    """Run one step with its reason; a refused form comes back as it was typed."""
    old = ca_by_id(ca_id)
    form = {name: request.POST.get(name, "") for name in ("reason", "ticket", "replacement")}
    try:
        messages.success(request, act(form["reason"], form["ticket"]))
    except Invalid as refused:
        values = _values(request, rotation_of(old), errors=refused.details, form=form)
        return render(request, "cas/replace.html", values, status=400)
    return redirect("ca-replace", ca_id=ca_id)
