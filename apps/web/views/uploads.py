"""Uploading a CA: what was read and checked as the form is filled in, the choice among several, and the upload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import UploadInspection, ca_by_id, inspect_upload, slots_of
from apps.authorities.services import admit_ca
from apps.errors import Invalid
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.pki.bundle import MAX_BYTES
from apps.pki.candidates import Candidate
from apps.pki.checks_validity import has_expired
from apps.pki.findings import Severity
from apps.web.context import actor_of
from apps.web.plots import validity_bar
from apps.web.views.base import account_of, team_named

# The form asks, and "unknown" is an answer; the service refuses where none was given.
ISSUERS = {"self": "self", "unknown": ""}
FIELDS = ("name", "owner_team", "reason", "client_issuers")


@dataclass(frozen=True)
class Choice:
    """One of several certificates as a line of the form. `fault` is "" when it could go up."""

    candidate: Candidate
    signer: Candidate | None
    known: CertificateAuthority | None
    fault: str
    checked: bool


@require_POST
def inspect(request: HttpRequest) -> HttpResponse:
    """What was read and checked, for the upload form. Nothing is stored."""
    actor_of(request).require(Permission.CA_UPLOAD)
    return render(request, "cas/_inspection.html", _inspected(request))


@require_http_methods(["GET", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    actor, account = actor_of(request), account_of(request)
    actor.require(Permission.CA_UPLOAD)
    replaced = _replaced(request)
    values: dict[str, Any] = {"teams": Team.objects.all(), "errors": {}, "form": {}, "replaced": replaced}
    if request.method == "GET":
        form = {"owner_team": replaced.owner_team.slug} if replaced and replaced.owner_team else {}
        return render(request, "cas/upload.html", {**values, "form": form, "slots": slots_of(account)})
    form = {name: request.POST.get(name, "") for name in FIELDS}
    values |= {"form": form, **_inspected(request)}
    values["pem"] = _shown_pem(request, values.get("seen"))
    if "check" in request.POST:
        return render(request, "cas/upload.html", values)
    try:
        ca = admit_ca(
            by=actor, account=account, name=form["name"], data=_uploaded(request), reason=form["reason"],
            client_issuers=ISSUERS.get(form["client_issuers"], "unanswered"),
            owner_team=team_named(form["owner_team"]), replaces=replaced,
            choose=request.POST.get("choose", ""), accept_expired="accept_expired" in request.POST,
        )  # fmt: skip
    except Invalid as refused:
        return render(request, "cas/upload.html", {**values, "errors": refused.details}, status=400)
    messages.success(request, f"{ca.name} is queued for upload.")
    return redirect("ca-replace", ca_id=replaced.pk) if replaced else redirect("ca", ca_id=ca.pk)


def _replaced(request: HttpRequest) -> CertificateAuthority | None:
    """The CA that the upload takes over from, when it comes from a rotation."""
    named = (request.POST if request.method == "POST" else request.GET).get("replaces", "")
    return ca_by_id(named) if named else None


def _inspected(request: HttpRequest) -> dict[str, Any]:
    data, account = _uploaded(request), account_of(request)
    if not data:
        return {"slots": slots_of(account)}
    name, choose, now = request.POST.get("name", ""), request.POST.get("choose", ""), timezone.now()
    wanted = "accept_expired" in request.POST
    seen = inspect_upload(account=account, data=data, name=name, now=now, choose=choose, accept_expired=wanted)
    if choose and seen.chosen is None and seen.candidates:
        # Another file was pasted since: the choice is asked again.
        seen = inspect_upload(account=account, data=data, name=name, now=now, accept_expired=wanted)
    facts = seen.certificate
    return {
        "seen": seen,
        "facts": facts,
        "bar": validity_bar(facts.not_before, facts.not_after) if facts else None,
        "counts": {word: sum(f.severity == word for f in seen.findings) for word in ("passed", "caution", "refuse")},
        "choices": _choices(seen),
        "expired": bool(seen.chosen and facts and has_expired(facts, now) and _only_expired(seen.chosen)),
        "accept_expired": wanted,
        "slots": seen.slots,
    }


def _only_expired(chosen: Candidate) -> bool:
    """Nothing else speaks against it, so asking for it all the same would help."""
    return {finding.check for finding in chosen.findings if finding.severity is Severity.REFUSE} <= {"valid_now"}


def _choices(seen: UploadInspection) -> list[Choice]:
    if len(seen.candidates) < 2:
        return []
    places = {candidate.position: candidate for candidate in seen.candidates}
    return [
        Choice(
            candidate,
            places.get(candidate.signed_by) if candidate.signed_by else None,
            seen.known.get(candidate.fingerprint),
            next((f.message for f in candidate.findings if f.severity is Severity.REFUSE), ""),
            candidate is seen.chosen,
        )
        for candidate in seen.candidates
    ]


def _uploaded(request: HttpRequest) -> bytes | str:
    chosen = request.FILES.get("file")
    if chosen is not None and chosen.size:
        chosen.seek(0)
        return chosen.read(MAX_BYTES + 1)
    # A browser sends text fields with CRLF, whatever was pasted.
    return request.POST.get("pem", "").replace("\r\n", "\n")


def _shown_pem(request: HttpRequest, seen: UploadInspection | None) -> str:
    """What was pasted, or the text of what came as a file, since a browser does not offer a file twice."""
    if seen is None or seen.holds_private_key:
        return ""
    if request.FILES.get("file"):
        return "".join(facts.pem for facts in seen.certificates)
    return request.POST.get("pem", "").replace("\r\n", "\n")
