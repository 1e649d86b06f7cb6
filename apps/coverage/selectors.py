"""Reading requests and the approved state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any
from uuid import UUID

from django.db.models import Count, Prefetch, QuerySet

from apps.authorities.models import CertificateAuthority
from apps.coverage.approved import mode_after
from apps.coverage.issuer_changes import refuses_more
from apps.coverage.models import (
    Approval,
    Association,
    CoverageRequest,
    Enforcement,
    Kind,
    ModeChoice,
    RequestHostname,
    RequestPlan,
)
from apps.coverage.states import HELD, IN_FLIGHT, OPEN, UNDECIDED, RequestState
from apps.coverage.validity import validity_problem
from apps.coverage.verdicts import assess as assess
from apps.errors import NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.identity.selectors import people_with
from apps.inventory.models import Account, Zone
from apps.planning.guards import TYPED
from apps.planning.state import DesiredZone, Mode

NOT_ANSWERED = "The portal waits for an answer from Cloudflare."


def _requests() -> QuerySet[CoverageRequest]:
    return CoverageRequest.objects.select_related("account", "ca", "team", "requested_by").annotate(
        hostname_count=Count("hostnames", distinct=True), zone_count=Count("hostnames__zone", distinct=True)
    )


def request_by_id(request_id: int | str) -> CoverageRequest:
    """With hostnames, plans and approvals. Raises NotFound."""
    try:
        number = int(request_id)
    except ValueError:
        raise NotFound("No such request.") from None
    found = (
        _requests()
        .prefetch_related(
            Prefetch("hostnames", RequestHostname.objects.select_related("zone")),
            "plans",
            Prefetch("approvals", Approval.objects.select_related("approved_by", "plan")),
        )
        .filter(pk=number)
        .first()
    )
    if found is None:
        raise NotFound("No such request.")
    return found


def requests_in(account: Account) -> QuerySet[CoverageRequest]:
    return _requests().filter(account=account).order_by("-pk")


def requests_by(actor: Actor) -> QuerySet[CoverageRequest]:
    return _requests().filter(requested_by=actor.person).order_by("-pk")


def requests_waiting_for(actor: Actor) -> QuerySet[CoverageRequest]:
    """What this person may decide now: waiting requests of other people."""
    if not actor.may(Permission.REQUEST_APPROVE):
        return CoverageRequest.objects.none()
    waiting = _requests().filter(state=RequestState.WAITING).exclude(requested_by=actor.person)
    return waiting.exclude(approvals__approved_by=actor.person, approvals__void_at=None).order_by("pk")


def open_requests(account: Account) -> QuerySet[CoverageRequest]:
    return _requests().filter(account=account, state__in=OPEN)


def current_plan(request: CoverageRequest) -> RequestPlan | None:
    """The newest plan, outdated or not."""
    return max(request.plans.all(), key=lambda plan: plan.number, default=None)


def guards_of(plan: RequestPlan) -> list[dict[str, Any]]:
    """What the plan would trip: zone, guard, message, needs, overridable (docs/plans.md)."""
    return list(plan.document.get("guards", ()))


def confirmation_of(plan: RequestPlan) -> int | None:
    """How many removals the approver of this plan has to confirm; None when there is nothing to confirm."""
    count: int | None = plan.document.get("confirm")
    return count


def types_the_number(plan: RequestPlan) -> bool:
    """Whether a program, too, has to say how many go: nobody empties a list by naming a digest."""
    return any(row["overridable"] or row["guard"] in TYPED for row in guards_of(plan))


def may_approve(actor: Actor, request: CoverageRequest) -> tuple[bool, str]:
    """Whether this person may approve now, and if not, a sentence that says who can."""
    names = ", ".join(str(p) for p in people_with(Permission.REQUEST_APPROVE).exclude(pk=request.requested_by_id)[:4])
    if actor.person is not None and actor.person.pk == request.requested_by_id:
        return False, f"You asked for this, so someone else must approve it. Waiting: {names}."
    if not actor.may(Permission.REQUEST_APPROVE):
        return False, f"Your role does not approve requests. Waiting: {names}."
    if request.state == RequestState.STALE:
        return False, f"{request.state_reason} Rebuild the plan, then review it again."
    if request.state == RequestState.PLANNING:
        return False, f"No plan yet. {request.state_reason or NOT_ANSWERED}"
    if request.state != RequestState.WAITING:
        return False, "This request is decided."
    return True, ""


def obstacle(request: CoverageRequest, ca: CertificateAuthority) -> tuple[str, str] | None:
    """Why nothing of an undecided request can be sent any more: a sentence and a code.

    `ca` is the request's, as it is at this moment.
    """
    if request.kind == Kind.COVER and (problem := validity_problem(ca)):
        words, code = problem
        return f"{words} Reject this request, and ask again with another CA.", code
    if request.kind == Kind.ISSUERS and not request.override and refuses_more(ca, request.issuers or []):
        words = (
            f"Hostnames of {ca.name} went to block since, and clients of issuers that are not named would be refused"
        )
        return f"{words}. Reject this request, and ask again with a word why that is safe.", "override"
    pending = request.hostnames.filter(result=RequestHostname.Result.PENDING, zone__vanished_at__isnull=False)
    gone = sorted(set(pending.values_list("zone__name", flat=True)))
    if gone and request.kind != Kind.ISSUERS:
        again = "" if request.kind == Kind.UNCOVER else ", and ask again when the zone is back"
        words = f"Cloudflare no longer lists {', '.join(gone)}, so nothing can be sent there"
        return f"{words}. Its hostnames hold no CA any more. Reject this request{again}.", "zone_gone"
    return None


def associations_in(account: Account) -> QuerySet[Association]:
    rows = Association.objects.filter(zone__account=account)
    return rows.select_related("zone", "ca", "owner_team", "request", "release_request")


def enforcements_in(account: Account) -> QuerySet[Enforcement]:
    return Enforcement.objects.filter(zone__account=account).select_related("zone", "request")


def in_flight_requests(zone: Zone) -> list[CoverageRequest]:
    """Approved requests with hostnames in a zone that the edge does not show whole yet, oldest first.

    This zone's part may be done already; another zone's is not then.
    """
    rows = CoverageRequest.objects.filter(hostnames__zone=zone, state__in=IN_FLIGHT)
    return list(rows.distinct().order_by("pk").select_related("ca").prefetch_related("hostnames", "plans"))


def plans_in_play(zone: Zone) -> QuerySet[RequestPlan]:
    """Plans of this zone that an edge change can put out of date: undecided, or approved and not done there."""
    pending = CoverageRequest.objects.filter(
        state__in=(*UNDECIDED, *IN_FLIGHT), hostnames__zone=zone, hostnames__result=RequestHostname.Result.PENDING
    )
    return RequestPlan.objects.filter(outdated_at=None, request__in=pending).select_related("request")


def desired_zone(zone: Zone, *, without: Collection[int] | None = None) -> DesiredZone:
    """The approved state of one zone, as planning reads it.

    What belongs to a request that waits for a person again, failed or out of date, is left out until then: it must
    not ride along with another's.
    So is what belongs to the requests named in `without`; to those that wait for an override here, if none is named.
    """
    rows = list(Association.objects.filter(zone=zone).select_related("ca", "request", "release_request"))
    modes = list(Enforcement.objects.filter(zone=zone).select_related("request"))

    held = _held_in(zone, without)
    kept = [row for row in rows if not _is_left_out(row, held)]
    return build_desired(zone.name, kept, [row for row in modes if _counts(row, held)])


def waits_in(zone: Zone, request: CoverageRequest) -> bool:
    """Whether an approved request waits for an override before it may change this zone."""
    return any(row["zone"] == zone.name for row in request.waits_for)


def _held_in(zone: Zone, without: Collection[int] | None = None) -> Callable[[CoverageRequest | None], bool]:
    def held(request: CoverageRequest | None) -> bool:
        if request is None:
            return False
        waits = waits_in(zone, request) if without is None else request.pk in without
        return waits or request.state in HELD

    return held


def _is_left_out(row: Association, held: Callable[[CoverageRequest | None], bool]) -> bool:
    if row.state == Association.State.RELEASING:
        if held(row.release_request):
            # Still wanted at the edge, as if nobody had asked for its removal.
            row.state = Association.State.APPROVED
        return False
    return row.live_at is None and held(row.request)


def _counts(row: Enforcement, held: Callable[[CoverageRequest | None], bool]) -> bool:
    """A held mode gives way to the one that was last read at the edge: dropping it would open the hostname."""
    if row.live_at is not None or not held(row.request):
        return True
    row.mode, row.live_at = row.settled_mode, row.request.finished_at or row.request.decided_at
    return bool(row.settled_mode)


def build_desired(zone_name: str, rows: Iterable[Association], modes: Iterable[Enforcement]) -> DesiredZone:
    """Planning's view of association and enforcement rows, stored or only thought of."""
    associations: dict[str, set[str]] = {}
    releases: dict[str, set[str]] = {}
    issuers: dict[str, frozenset[str] | None] = {}
    settled: set[tuple[str, str]] = set()
    not_valid: set[str] = set()
    for row in rows:
        key = row.ca.fingerprint
        if validity_problem(row.ca):
            not_valid.add(key)
        issuers[key] = row.ca.issuer_skis
        target = associations if row.state == Association.State.APPROVED else releases
        target.setdefault(key, set()).add(row.hostname)
        if row.live_at is not None and row.state == Association.State.APPROVED:
            settled.add((key, row.hostname))
    modes = list(modes)
    return DesiredZone(
        zone=zone_name,
        associations={key: frozenset(names) for key, names in associations.items()},
        releases={key: frozenset(names) for key, names in releases.items()},
        modes={row.hostname: Mode(row.mode) for row in modes},
        issuers=issuers,
        settled=frozenset(settled),
        settled_modes={row.hostname: Mode(row.mode) for row in modes if row.live_at is not None},
        not_valid=frozenset(not_valid),
    )


def desired_with(zone: Zone, request: CoverageRequest) -> DesiredZone:
    """The approved state of a zone as it would be once the request were approved. Nothing is stored."""
    held = _held_in(zone)
    stored = Association.objects.filter(zone=zone).select_related("ca", "request", "release_request")
    rows = {(r.ca_id, r.hostname): r for r in stored if not _is_left_out(r, held)}
    enforced = Enforcement.objects.filter(zone=zone).select_related("request")
    modes = {row.hostname: row for row in enforced if _counts(row, held)}
    if request.kind == Kind.ISSUERS:
        return _desired_with_issuers(zone, request, list(rows.values()), list(modes.values()))
    if request.kind == Kind.RESTORE:
        return _desired_with_restored(zone, request, rows, modes)
    for wanted in request.hostnames.filter(zone=zone):
        key, name = (request.ca_id, wanted.hostname), wanted.hostname
        if request.kind == Kind.UNCOVER:
            if key in rows:
                rows[key].state = Association.State.RELEASING
            kept = any(r.hostname == name and r.state == Association.State.APPROVED for r in rows.values())
            mode = modes[name].mode if kept and name in modes else ModeChoice.VERIFY
        else:
            if key not in rows or rows[key].state == Association.State.RELEASING:
                rows[key] = Association(zone=zone, ca=request.ca, hostname=name, state=Association.State.APPROVED)
            mode = mode_after(zone, name, request)
        if name not in modes or modes[name].mode != mode:
            modes[name] = Enforcement(zone=zone, hostname=name, mode=mode)
    return build_desired(zone.name, rows.values(), modes.values())


def _desired_with_restored(
    zone: Zone,
    request: CoverageRequest,
    rows: dict[tuple[UUID, str], Association],
    modes: dict[str, Enforcement],
) -> DesiredZone:
    """What the request names is unfinished again, so planning sends it."""
    for name in request.hostnames.filter(zone=zone).values_list("hostname", flat=True):
        row, mode = rows.get((request.ca_id, name)), modes.get(name)
        if row is not None and row.state == Association.State.APPROVED:
            row.live_at = None
        if mode is not None:
            mode.live_at = None
    return build_desired(zone.name, rows.values(), modes.values())


def _desired_with_issuers(
    zone: Zone, request: CoverageRequest, rows: list[Association], modes: list[Enforcement]
) -> DesiredZone:
    """As it would be with the issuers asked for: the rules of the CA's hostnames are unfinished then."""
    for row in rows:
        if row.ca_id == request.ca_id:
            row.ca.issuers = request.issuers or []
    names = set(request.hostnames.filter(zone=zone).values_list("hostname", flat=True))
    for mode in modes:
        if mode.hostname in names:
            mode.live_at = None
    return build_desired(zone.name, rows, modes)
