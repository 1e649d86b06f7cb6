"""Coverage requests: lists, asking, deciding."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.audit.selectors import events_matching
from apps.authorities.selectors import ca_by_id, cas_of
from apps.authorities.states import CaState
from apps.coverage.closing_services import reject_request
from apps.coverage.models import CoverageRequest, Kind
from apps.coverage.overrides import may_override, needed_overrides, override_guard
from apps.coverage.selectors import (
    assess,
    confirmation_of,
    current_plan,
    guards_of,
    may_approve,
    obstacle,
    request_by_id,
    requests_by,
    requests_in,
    requests_waiting_for,
)
from apps.coverage.services import approve_request
from apps.coverage.states import OPEN, UNDECIDED, RequestState
from apps.errors import Conflict, Invalid, NotFound, PortalError
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.reconcile.selectors import change_by_id, changes_of, hold_on_request, may_call_off
from apps.reconcile.services import cancel, rebuild_plan, submit_request, withdraw
from apps.web.context import actor_of
from apps.web.errors import STATUS
from apps.web.passed_over import card_of_request
from apps.web.radius import radius_of
from apps.web.views.base import account_of, page_of

TITLES = {"cover": "Request coverage", "uncover": "Request removal", "adopt": "Adopt what is at the edge"}
STEPS = ("Requested", "Planned", "Approve", "Apply", "Verify at edge")
REACHED = {
    "planning": 1, "stale": 1, "waiting": 2, "approved": 3, "applying": 3, "done": 5, "partly_done": 3, "failed": 3,
    "rejected": 2, "withdrawn": 2,
}  # fmt: skip
ENDED = {"done", "rejected", "withdrawn"}
FIELDS = ("kind", "hostnames", "ca", "mode", "override", "reason", "ticket", "team")


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    actor, account = actor_of(request), account_of(request)
    lists = {"waiting": requests_waiting_for(actor), "yours": requests_by(actor), "all": requests_in(account)}
    default = "waiting" if actor.may(Permission.REQUEST_APPROVE) else "yours"
    tab = request.GET.get("tab", default)
    tab = tab if tab in lists else default
    tabs = [("waiting", "Waiting for you"), ("yours", "Yours"), ("all", "All")]
    return render(request, "requests/index.html", {"tab": tab, "tabs": tabs, "page": page_of(request, lists[tab])})


@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.REQUEST_CREATE)
    source = request.POST if request.method == "POST" else request.GET
    form = {name: source.get(name, "") for name in FIELDS}
    form["kind"] = form["kind"] if form["kind"] in TITLES else "cover"
    form["mode"] = form["mode"] or "verify"
    values = _form(request, form)
    if request.method == "GET" or "check" in request.POST:
        return render(request, "requests/new.html", values)
    try:
        ca = _chosen_ca(form["ca"])
        made = submit_request(
            by=actor, kind=form["kind"], ca=ca, mode=form["mode"], hostnames=form["hostnames"], reason=form["reason"],
            ticket=form["ticket"], override=form["override"], team=Team.objects.filter(slug=form["team"]).first(),
        )  # fmt: skip
    except Invalid as refused:
        return render(request, "requests/new.html", {**values, "errors": _in_page_order(refused)}, status=400)
    return redirect("request", request_id=made.pk)


def _in_page_order(refused: Invalid) -> dict[str, list[str]]:
    place = {name: number for number, name in enumerate(FIELDS)}
    return dict(sorted(refused.details.items(), key=lambda row: place.get(row[0], len(place))))


def _chosen_ca(value: str) -> Any:
    try:
        return ca_by_id(value)
    except NotFound:
        raise Invalid("Pick a CA.", field="ca") from None


def _form(request: HttpRequest, form: dict[str, str]) -> dict[str, Any]:
    account, actor = account_of(request), actor_of(request)
    teams = list(actor.person.teams.all()) if actor.person else []
    live = cas_of(account).filter(state=CaState.LIVE)
    return {
        "form": form,
        "title": TITLES[form["kind"]],
        "cas": live,
        "teams": teams if len(teams) > 1 else [],
        "errors": {},
        "modes": MODES,
        "quiet_hours": account.quiet_hours,
        **_verdicts(request, form),
    }


MODES = (
    (
        "verify",
        "Verify only",
        "The edge asks clients for a certificate and checks it. Those without one still get through.",
    ),
    ("log", "Log", "As verify, and a rule counts who would be refused."),
    ("block", "Block", "Clients without a certificate of this CA are refused."),
)


def _verdicts(request: HttpRequest, form: dict[str, str]) -> dict[str, Any]:
    if not form["hostnames"].strip() or not form["ca"]:
        return {"verdicts": ()}
    try:
        verdicts = assess(
            by=actor_of(request), ca=ca_by_id(form["ca"]), kind=form["kind"], mode=form["mode"], text=form["hostnames"],
            override=form["override"],
        )  # fmt: skip
    except PortalError as error:
        return {"verdicts": (), "verdict_error": error.message}
    counts = {word: sum(v.status == word for v in verdicts) for word in ("ready", "check", "fix")}
    kept = "\n".join(v.hostname for v in verdicts if v.status != "fix" and v.code != "duplicate")
    return {"verdicts": verdicts, "counts": counts, "kept": kept}


@require_POST
def check(request: HttpRequest) -> HttpResponse:
    """Verdict per line, while typing. Nothing is stored."""
    form = {name: request.POST.get(name, "") for name in FIELDS}
    form["kind"] = form["kind"] if form["kind"] in TITLES else "cover"
    return render(request, "requests/_verdicts.html", _verdicts(request, form))


@require_GET
def detail(request: HttpRequest, request_id: int) -> HttpResponse:
    values = _detail(request, request_by_id(request_id))
    fragment = request.headers.get("HX-Target") == "progress"
    return render(request, "requests/_polled.html" if fragment else "requests/detail.html", values)


def _detail(request: HttpRequest, asked: CoverageRequest, **more: Any) -> dict[str, Any]:
    actor = actor_of(request)
    plan = current_plan(asked)
    allowed, why_not = may_approve(actor, asked)
    reached = REACHED[asked.state]
    guards = guards_of(plan) if plan and asked.state in OPEN else []
    may_give, why_no_override = may_override(actor, asked)
    return {
        "asked": asked,
        "plan": plan,
        "document": plan.document if plan else None,
        "seen_plan": request.GET.get("plan", ""),
        "steps": [(name, "done" if n < reached else "now" if n == reached else "next") for n, name in enumerate(STEPS)],
        "open": asked.state in {"planning", "waiting", "stale", "approved", "applying"},
        "moving": asked.state in {"approved", "applying"},
        "may_decide": allowed,
        "why_not": why_not,
        "call_off": may_call_off(actor, asked),
        "mine": actor.person is not None and actor.person.pk == asked.requested_by_id,
        "undecided": asked.state in UNDECIDED,
        "obstacle": found[0] if asked.state in UNDECIDED and (found := obstacle(asked, asked.ca)) else "",
        "confirm": confirmation_of(plan) if plan else None,
        "guards": guards,
        "big": any(row["overridable"] for row in guards),
        "needed": needed_overrides(asked),
        "overrides": asked.overrides.select_related("zone"),
        "may_override": may_give,
        "why_no_override": why_no_override,
        "approved_digest": next((row.digest for row in asked.approvals.all() if row.void_at is None), ""),
        "radius": radius_of(asked) if asked.kind == Kind.UNCOVER and asked.state not in ENDED else None,
        "approvals": asked.approvals.all(),
        "changes": changes_of(asked),
        **card_of_request(asked),
        "undoes": change_by_id(asked.undo_of) if asked.undo_of else None,
        "hold": hold_on_request(asked),
        "events": events_matching(correlation_id=asked.correlation_id).order_by("seq")[:50],
        "retryable": asked.state in {"failed", "partly_done"} and actor.may(Permission.RUN_RETRY),
        "errors": {},
        **more,
    }


@require_POST
def review(request: HttpRequest, request_id: int) -> HttpResponse:
    """Approve or reject. Where the plan asks for a confirmation, the page always asks for the number."""
    actor, asked = actor_of(request), request_by_id(request_id)
    comment, decision, typed = (request.POST.get(name, "") for name in ("comment", "decision", "confirm"))
    try:
        if decision == "reject":
            reject_request(by=actor, request_id=request_id, comment=comment)
            messages.success(request, f"{asked} is rejected.")
        else:
            approve_request(
                by=actor, request_id=request_id, digest=request.POST.get("digest", ""), comment=comment,
                confirm=typed,
            )  # fmt: skip
            messages.success(request, f"{asked} is approved. {_what_next(request_by_id(request_id))}")
    except (Invalid, Conflict) as refused:
        return _refused(request, request_id, refused, comment=comment, decision=decision, typed=_number(typed))
    return redirect("request", request_id=request_id)


def _refused(request: HttpRequest, request_id: int, refused: PortalError, **given: Any) -> HttpResponse:
    """The page as the request is now, with why it was refused and what was given."""
    if isinstance(refused, Invalid):
        errors, status = refused.details, 400
    else:
        words = refused.message
        if not isinstance(refused, Conflict):
            words += f" No new plan was made. {request_by_id(request_id)} is as it was: rebuild its plan later."
        errors, status = {"progress": [words]}, STATUS[refused.category]
    values = _detail(request, request_by_id(request_id), errors=errors, **given)
    return render(request, "requests/detail.html", values, status=status)


def _number(text: str) -> str:
    """What may be shown again in the box for a number; whatever else was pasted there may be a secret."""
    return text if text.isdecimal() and len(text) < 10 else ""


@require_POST
def override(request: HttpRequest, request_id: int) -> HttpResponse:
    """The second approver lets one guard pass."""
    asked, reason = request_by_id(request_id), request.POST.get("reason", "")
    digest, guard = request.POST.get("digest", ""), request.POST.get("guard", "")
    try:
        override_guard(by=actor_of(request), request_id=request_id, digest=digest, guard=guard, reason=reason)
    except (Invalid, Conflict) as refused:
        return _refused(request, request_id, refused, override_guard=guard)
    messages.success(request, f"{asked} may pass this guard once. {_what_next(request_by_id(request_id))}")
    return redirect("request", request_id=request_id)


def _what_next(asked: CoverageRequest) -> str:
    if needed_overrides(asked):
        return "It waits for an override now."
    hold = hold_on_request(asked)
    return hold.sentence if hold else "The change goes to the edge now."


@require_POST
def withdraw_own(request: HttpRequest, request_id: int) -> HttpResponse:
    try:
        withdraw(by=actor_of(request), request_id=request_id)
    except Conflict as refused:
        return _refused(request, request_id, refused)
    return redirect("request", request_id=request_id)


@require_POST
def cancel_approved(request: HttpRequest, request_id: int) -> HttpResponse:
    """Somebody who could have approved it stops it before it goes."""
    asked, reason = request_by_id(request_id), request.POST.get("cancel_reason", "")
    try:
        cancel(by=actor_of(request), request_id=request_id, reason=reason)
    except Invalid as refused:
        # The page has other boxes for a reason.
        renamed = Invalid(refused.message, details={"cancel_reason": refused.details["reason"]})
        return _refused(request, request_id, renamed, cancel_reason=reason)
    except Conflict as refused:
        return _refused(request, request_id, refused, cancel_reason=reason)
    messages.success(request, f"{asked} is cancelled. Nothing of it was sent.")
    return redirect("request", request_id=request_id)


@require_POST
def rebuild(request: HttpRequest, request_id: int) -> HttpResponse:
    try:
        asked = rebuild_plan(by=actor_of(request), request_id=request_id)
    except PortalError as refused:
        if refused.category not in {"conflict", "edge", "unsafe"}:
            raise
        return _refused(request, request_id, refused)
    if asked.state == RequestState.PLANNING:
        messages.warning(request, f"It was tried again, and {asked} has no plan yet. {asked.state_reason}")
    return redirect("request", request_id=request_id)


@require_GET
def plan_json(_request: HttpRequest, request_id: int) -> HttpResponse:
    plan = current_plan(request_by_id(request_id))
    if plan is None:
        raise NotFound("No plan yet.")
    response = JsonResponse({**plan.document, "digest": plan.digest}, json_dumps_params={"indent": 2})
    response["Content-Disposition"] = f'attachment; filename="REQ-{request_id}-plan-{plan.number}.json"'
    return response
