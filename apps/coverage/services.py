"""Writing requests: asking and approving.

Closing them is in `closing_services.py`, what becomes of them once approved in `progress_services.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.authorities import services as authorities
from apps.authorities.models import CertificateAuthority
from apps.coverage import approved
from apps.coverage.afterwards import no_longer_so
from apps.coverage.models import (
    ASKABLE,
    Approval,
    CoverageRequest,
    Kind,
    ModeChoice,
    RequestHostname,
    RequestPlan,
)
from apps.coverage.moves import locked_request, move_request, record_request, void_approvals
from apps.coverage.progress_services import outdate_plan
from apps.coverage.selectors import NOT_ANSWERED, confirmation_of, current_plan, obstacle, types_the_number
from apps.coverage.settling import finish
from apps.coverage.states import RequestState
from apps.coverage.uses import uses_of
from apps.coverage.verdicts import MAX_OVERRIDE, Verdict, assess
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.inventory.models import Account, Zone
from apps.outbox.services import mark_due
from apps.pki.free_text import free_text, text_fault, text_faults
from apps.planning.hostnames import MAX_NAMES


@transaction.atomic
def create_request(
    *,
    by: Actor,
    kind: str,
    ca: CertificateAuthority,
    mode: str,
    text: str,
    reason: str,
    ticket: str = "",
    override: str = "",
    team: Team | None = None,
    most: int = MAX_NAMES,
    undo_of: UUID | None = None,
    in_zones: Mapping[str, Zone] | None = None,
) -> CoverageRequest:
    """Store a request in state `planning`. Raises Invalid with every problem, by field, and stores nothing then.

    The account row is locked first, so that two requests for one hostname cannot both find it free. `most` is how
    many hostnames it may name: a rotation names all of a CA. `undo_of` is the change that it undoes.
    `in_zones` is as for `assess`.
    """
    by.require(Permission.REQUEST_CREATE)
    account = Account.objects.select_for_update(no_key=True).get(pk=ca.account_id)
    problems = text_faults(ticket=ticket, override=override) | _problems(by, kind, mode, reason, override, team)
    verdicts: tuple[Verdict, ...] = ()
    if "kind" not in problems:
        verdicts = assess(
            by=by, ca=ca, kind=kind, mode=mode, text=text, override=override, most=most, in_zones=in_zones
        )
    if broken := [f"{v.hostname or v.raw}: {v.message}" for v in verdicts if v.status == "fix"]:
        problems["hostnames"] = broken
    elif not verdicts and "kind" not in problems:
        problems["hostnames"] = ["Name at least one hostname."]
    if problems:
        raise Invalid("The request was not sent. Mend what is named and send it again.", details=problems)
    request = CoverageRequest.objects.create(
        kind=kind,
        account=account,
        ca=ca,
        mode=mode if kind != Kind.UNCOVER else ModeChoice.VERIFY,
        reason=reason.strip(),
        ticket=ticket.strip()[:120],
        override=override.strip() if any(v.code == "override" for v in verdicts) else "",
        team=team or _only_team(by),
        undo_of=undo_of,
        requested_by=by.person,
        requested_by_label=by.label,
        correlation_id=str(uuid.uuid4()),
    )
    hostnames = _store_hostnames(request, verdicts)
    after = {
        "kind": kind, "ca": ca.fingerprint, "mode": request.mode, "ticket": request.ticket,
        "override": request.override,
    }  # fmt: skip
    record_request(by, "request:created", request, hostnames=hostnames, reason=request.reason, after=after)
    mark_due(kind="account", subject_id=account.pk)
    return request


def _problems(by: Actor, kind: str, mode: str, reason: str, override: str, team: Team | None) -> dict[str, list[str]]:
    problems: dict[str, list[str]] = {}
    if kind not in ASKABLE:
        problems["kind"] = ["Use cover, uncover, adopt or restore."]
    if mode not in ModeChoice.values:
        problems["mode"] = ["Use verify, log or block."]
    if fault := text_fault(reason, "Say why. Reviewers and auditors read this."):
        problems["reason"] = [fault]
    elif len(reason) > 4000:
        problems["reason"] = ["Use at most 4,000 characters."]
    if len(override) > MAX_OVERRIDE:
        problems["override"] = [f"Use at most {MAX_OVERRIDE:,} characters."]
    if team and by.person and not by.person.teams.filter(pk=team.pk).exists():
        if not by.may(Permission.REQUEST_CREATE_ANY_TEAM):
            problems["team"] = [f"You do not belong to {team.name}. Pick one of your teams."]
    return problems


def _only_team(by: Actor) -> Team | None:
    teams = list(by.person.teams.all()[:2]) if by.person else []
    return teams[0] if len(teams) == 1 else None


def _store_hostnames(request: CoverageRequest, verdicts: Iterable[Verdict]) -> list[str]:
    rows = {
        v.hostname: RequestHostname(
            request=request, zone=v.zone, hostname=v.hostname, note=v.message if v.status == "check" else ""
        )
        for v in verdicts
        if v.code != "duplicate"
    }
    RequestHostname.objects.bulk_create(rows.values())
    return list(rows)


@transaction.atomic
def store_plan(
    *, by: Actor, request_id: int, document: Mapping[str, Any], revisions: Mapping[str, int], digest: str
) -> RequestPlan:
    """Keep a plan built from a fresh read; it becomes the one to approve. Earlier plans and approvals end.

    Raises Conflict when the request was decided meanwhile.
    """
    request = locked_request(request_id)
    if request.state not in {RequestState.PLANNING, RequestState.STALE, RequestState.WAITING}:
        raise Conflict("The request is decided, so its plan stays as it is.", code="decided")
    number = request.plans.count() + 1
    void_approvals(request, "A newer plan was built.")
    request.plans.filter(outdated_at=None).update(outdated_at=timezone.now(), outdated_reason="A newer plan was built.")
    plan = RequestPlan.objects.create(
        request=request,
        number=number,
        document={**document, "number": number},
        revisions=dict(revisions),
        digest=digest,
        built_at=timezone.now(),
    )
    if request.state != RequestState.WAITING:
        move_request(request, RequestState.WAITING)
    after = {"plan": number, "digest": digest, "effects": document.get("effects", [])}
    record_request(by, "request:planned", request, after=after)
    return plan


def approve_request(
    *, by: Actor, request_id: int, digest: str, comment: str = "", confirm: str | int | None = None
) -> CoverageRequest:
    """Approve exactly the plan that was seen. Asking twice gives the first answer.

    `confirm` is how many removals the approver typed, where the plan asks for it (`confirmation_of`). None is a
    program that was not asked: naming the digest confirms what `types_the_number` does not name.
    Raises Forbidden for the requester and for roles without the right, Conflict when the plan is not the current one
    or its word no longer holds (it is out of date then), or when a CA to cover with is not valid, Invalid for a wrong
    number.
    """
    request, moved = _approve_or_outdate(by, request_id, digest, comment, confirm)
    if moved:
        # Only now: raised earlier, it would take back that the plan is out of date.
        raise Conflict(f"{moved} Rebuild the plan, then review it again.", code="stale_plan")
    return request


@transaction.atomic
def _approve_or_outdate(
    by: Actor, request_id: int, digest: str, comment: str, confirm: str | int | None
) -> tuple[CoverageRequest, str]:
    """The request, approved; or put out of date, with what of its plan is no longer so."""
    by.require(Permission.REQUEST_APPROVE)
    request = locked_request(request_id)
    if by.person is None or by.person.pk == request.requested_by_id:
        raise Forbidden("You asked for this, so someone else must approve it.", code="self_approval")
    mine = request.approvals.filter(approved_by=by.person, digest=digest, void_at=None).first()
    if mine is not None:
        return request, ""
    comment, plan = free_text(comment, "comment"), _plan_to_approve(request, digest)
    # What is approved in the account stays as it is compared, until this approval is part of it. Locked only for a
    # request that waits: workers lock those that are being sent after the account.
    ca = CertificateAuthority.objects.select_for_update(no_key=True).get(pk=request.ca_id)
    Account.objects.select_for_update(no_key=True).get(pk=request.account_id)
    if found := obstacle(request, ca):
        words, code = found
        raise Conflict(words, code=code)
    if moved := no_longer_so(request, plan):
        outdate_plan(by=by, plan_id=plan.pk, reason=moved)
        return request, moved
    confirmed = _confirmed(plan, confirm)
    Approval.objects.create(
        request=request,
        plan=plan,
        digest=digest,
        requested_by_id=request.requested_by_id,
        approved_by=by.person,
        approved_by_label=by.label,
        comment=comment,
        confirmed=confirmed,
        approved_at=timezone.now(),
    )
    before = {"state": request.state}
    move_request(request, RequestState.APPROVED, decided_at=timezone.now())
    hostnames = approved.write(request, by_label=by.label)
    for zone_id in set(request.hostnames.values_list("zone_id", flat=True)):
        mark_due(kind="zone", subject_id=zone_id)
    after = {
        "state": request.state, "plan": plan.number, "digest": digest, "effects": plan.document.get("effects"),
        "confirmed": confirmed,
    }  # fmt: skip
    record_request(by, "request:approved", request, hostnames=hostnames, reason=comment, before=before, after=after)
    if not hostnames:
        finish(by, request)
    return request, ""


def _confirmed(plan: RequestPlan, confirm: str | int | None) -> int | None:
    """The number that was typed; None where the plan asks for no confirmation, or where the digest is one."""
    wanted = confirmation_of(plan)
    if wanted is None or (confirm is None and not types_the_number(plan)):
        return None
    if str(confirm).strip() != str(wanted):
        count = "1 association" if wanted == 1 else f"{wanted} associations"
        how = f"type {wanted}" if confirm is not None else f"send `confirm` with the number {wanted}"
        raise Invalid(f"This plan removes {count}. To approve it, {how}.", field="confirm", code="confirm")
    return wanted


def _plan_to_approve(request: CoverageRequest, digest: str) -> RequestPlan:
    plan = current_plan(request)
    if request.state == RequestState.PLANNING or plan is None:
        raise Conflict(f"No plan yet. {request.state_reason or NOT_ANSWERED}", code="not_planned")
    if request.state == RequestState.STALE or plan.outdated_at is not None:
        words = f"{plan.outdated_reason} Rebuild the plan, then review it again."
        raise Conflict(words, code="stale_plan")
    if request.state != RequestState.WAITING:
        raise Conflict(f"{request} is {request.state}, so it cannot be approved.", code="decided")
    if plan.digest != digest:
        raise Conflict("This is not the current plan. Read the new plan, then review it again.", code="stale_plan")
    return plan


@transaction.atomic
def retire_ca(*, by: Actor, ca_id: UUID, reason: str, confirm_name: str | None = None) -> CertificateAuthority:
    """Delete a CA once nothing uses it (F10). Raises Conflict naming what still does."""
    by.require(Permission.CA_DELETE)
    ca = CertificateAuthority.objects.select_for_update(no_key=True).filter(pk=ca_id).first()
    if ca is None:
        raise NotFound("No such CA. It may belong to another account.")
    Account.objects.select_for_update(no_key=True).get(pk=ca.account_id)
    if refusal := uses_of(ca).refusal:
        raise Conflict(f"{ca.name} cannot be deleted yet. {refusal}", code="in_use")
    return authorities.delete_ca(by=by, ca_id=ca_id, reason=reason, confirm_name=confirm_name)
