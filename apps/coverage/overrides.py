"""Overrides of guards: one more person lets a big removal pass, for one guard of one approved plan (docs/plans.md).

The reconciler says which guards an approved request waits for; a person who neither asked for it nor approved it lets
one of them pass; the change that passes by it uses it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.coverage.models import Approval, Association, CoverageRequest, GuardOverride
from apps.coverage.moves import locked_request, record_request
from apps.coverage.selectors import confirmation_of, guards_of
from apps.coverage.states import IN_FLIGHT, RequestState
from apps.errors import Conflict, Forbidden
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.identity.selectors import people_with
from apps.inventory.models import Zone
from apps.outbox.services import mark_due
from apps.pki.free_text import free_text

ACROSS_LISTS = ("total", "pairs")


@dataclass(frozen=True)
class Decision:
    """Who decided on a request that is on its way: its removals in one zone, and whether they are confirmed.

    `confirmed`: the approved plan asked for it. `typed`: by the number, and not by the digest alone.
    `people` are the ids of its requester and its approvers, `pairs` (CA fingerprint, hostname).
    """

    request: CoverageRequest
    pairs: frozenset[tuple[str, str]]
    confirmed: bool
    typed: bool
    people: frozenset[str]


def removal_decisions(zone: Zone, requests: Sequence[CoverageRequest]) -> list[Decision]:
    """The decisions behind what is to leave the zone's lists, for those of the requests that remove anything."""
    pairs: dict[int, set[tuple[str, str]]] = {}
    leaving = Association.objects.filter(
        zone=zone, state=Association.State.RELEASING, release_request__in=requests
    ).select_related("ca")
    for row in leaving:
        pairs.setdefault(row.release_request_id or 0, set()).add((row.ca.fingerprint, row.hostname))
    found = []
    for request in requests:
        if request.pk in pairs:
            approvals = list(Approval.objects.filter(request=request, void_at=None).select_related("plan"))
            people = {request.requested_by_id, *(row.approved_by_id for row in approvals)}
            found.append(
                Decision(
                    request=request,
                    pairs=frozenset(pairs[request.pk]),
                    confirmed=any(confirmation_of(row.plan) is not None for row in approvals),
                    typed=any(row.confirmed is not None for row in approvals),
                    people=frozenset(str(person) for person in people),
                )
            )
    return found


def open_overrides(zone: Zone, request: CoverageRequest) -> list[GuardOverride]:
    """Those given for the request's approval in force and not used yet."""
    rows = GuardOverride.objects.filter(request=request, zone=zone, used_at=None, void_at=None)
    return list(rows.filter(approval__void_at=None))


def needed_overrides(request: CoverageRequest) -> list[dict[str, Any]]:
    """What an approved request waits for: zone, guard, message. Empty when nothing, or when it is given.

    Until a worker has looked, the plan's own word holds.
    """
    if request.state not in IN_FLIGHT:
        return []
    rows = request.waits_for
    approval = _approval_of(request)
    if approval is None:
        return []
    if not rows and request.state == RequestState.APPROVED:
        rows = [row for row in guards_of(approval.plan) if row["overridable"]]
    given = {
        (row.zone.name, row.guard)
        for row in request.overrides.select_related("zone")
        if row.used_at is None and row.void_at is None
    }
    return [row for row in rows if (row["zone"], row["guard"]) not in given]


def may_override(actor: Actor, request: CoverageRequest) -> tuple[bool, str]:
    """Whether this person may give an override now, and if not, a sentence that says who can."""
    who = f"Waiting: {_who_can(request)}."
    if not actor.may(Permission.REQUEST_APPROVE) or actor.person is None:
        return False, f"Your role does not give overrides. {who}"
    if actor.person.pk == request.requested_by_id:
        return False, f"You asked for this, so someone else must give the override. {who}"
    approval = _approval_of(request)
    if approval is not None and approval.approved_by_id == actor.person.pk:
        return False, f"You approved this, so one more person must give the override. {who}"
    return True, ""


def change_overrides(change_id: UUID) -> list[GuardOverride]:
    """Those that a change passed by."""
    return list(GuardOverride.objects.filter(used_by=change_id).select_related("zone"))


@transaction.atomic
def override_guard(*, by: Actor, request_id: int, digest: str, guard: str, reason: str) -> list[GuardOverride]:
    """Let one guard pass for one approved plan, in each of its zones once. The zones become due.

    Raises Forbidden for the requester, the approver and roles without the right, Conflict when the digest is not that
    of the approved plan or the guard is not what it waits for, Invalid without a reason.
    """
    by.require(Permission.REQUEST_APPROVE)
    request = locked_request(request_id)
    allowed, why_not = may_override(by, request)
    if by.person is None or not allowed:
        raise Forbidden(why_not, code="six_eyes")
    approval = _approval_of(request)
    if approval is None or request.state not in IN_FLIGHT:
        raise Conflict(f"{request} is {request.state}, so it waits for no override.", code="not_waiting")
    if approval.digest != digest:
        raise Conflict("This is not the approved plan. Reload the page, then read it again.", code="stale_plan")
    wanted = [row for row in needed_overrides(request) if row["guard"] == guard]
    if not wanted:
        raise Conflict(f"{request} does not wait for the guard {guard}.", code="not_waiting")
    reason = free_text(reason, "reason", "Say why so many may go at once. Auditors read this.")
    made = [
        GuardOverride.objects.create(
            request=request, plan=approval.plan, approval=approval, zone=zone, guard=guard, digest=digest,
            reason=reason, given_by=by.person, given_by_label=by.label, given_at=timezone.now(),
            requested_by_id=request.requested_by_id, approved_by_id=approval.approved_by_id,
        )
        for zone in _zones(request, guard, wanted)
    ]  # fmt: skip
    request.waits_for = [row for row in request.waits_for if row["guard"] != guard]
    request.state_reason = _reason(request)
    request.save(update_fields=["waits_for", "state_reason"])
    for row in made:
        mark_due(kind="zone", subject_id=row.zone_id)
    after = {"guard": guard, "digest": digest, "zones": [row.zone.name for row in made]}
    names = request.hostnames.values_list("hostname", flat=True)
    record_request(by, "guard:overridden", request, hostnames=names, reason=reason, after=after)
    return made


@transaction.atomic
def wait_for_overrides(
    *, by: Actor, request_id: int, zone: Zone, refusals: Iterable[Mapping[str, str]]
) -> CoverageRequest | None:
    """Keep an approved request waiting, and say for what; for nothing any more when there are no `refusals`.

    They have guard and message. Returns None when it waits for exactly this already.
    """
    request = locked_request(request_id)
    rows = [{"zone": zone.name, "guard": row["guard"], "message": row["message"]} for row in refusals]
    before = [row for row in request.waits_for if row["zone"] == zone.name]
    if {row["guard"] for row in before} == {row["guard"] for row in rows}:
        return None
    request.waits_for = [row for row in request.waits_for if row["zone"] != zone.name] + rows
    request.state_reason = _reason(request)
    request.save(update_fields=["waits_for", "state_reason"])
    if rows:
        record_request(by, "request:waits_for_override", request, after={"waits_for": request.waits_for})
    return request


@transaction.atomic
def use_overrides(*, by: Actor, overrides: Iterable[GuardOverride], change_id: UUID) -> None:
    """The change passes by these: none of them counts again."""
    for row in overrides:
        row.used_at, row.used_by = timezone.now(), change_id
        row.save(update_fields=["used_at", "used_by"])
        after = {"guard": row.guard, "change": str(change_id), "given_by": row.given_by_label}
        record_request(by, "guard:override_used", row.request, reason=row.reason, after=after)


@transaction.atomic
def give_back_overrides(*, change_id: UUID) -> None:
    """The change ended before any of its removals was sent, so its overrides are open for the next one."""
    GuardOverride.objects.filter(used_by=change_id, void_at=None).update(used_at=None, used_by=None)


def _approval_of(request: CoverageRequest) -> Approval | None:
    return request.approvals.filter(void_at=None).select_related("plan").order_by("approved_at").first()


def _zones(request: CoverageRequest, guard: str, wanted: Sequence[Mapping[str, Any]]) -> list[Zone]:
    """The zones an override is for. Limits over all lists are met by whichever zone comes last, so: in each."""
    zones = Zone.objects.filter(requesthostname__request=request).distinct().order_by("name")
    if guard not in ACROSS_LISTS:
        zones = zones.filter(name__in=[row["zone"] for row in wanted])
    taken = request.overrides.filter(guard=guard, used_at=None, void_at=None).values_list("zone_id", flat=True)
    return [zone for zone in zones if zone.pk not in set(taken)]


def _who_can(request: CoverageRequest) -> str:
    decided = {request.requested_by_id}
    if approval := _approval_of(request):
        decided.add(approval.approved_by_id)
    names = [str(person) for person in people_with(Permission.REQUEST_APPROVE).exclude(pk__in=decided)[:4]]
    return ", ".join(names) or "nobody here has the role; an administrator can give it to one more person"


def _reason(request: CoverageRequest) -> str:
    if not request.waits_for:
        return ""
    why = " ".join(dict.fromkeys(row["message"] for row in request.waits_for))
    return f"Waits for an override: {why} One more person has to let it pass: {_who_can(request)}."
