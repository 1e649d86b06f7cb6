"""Break-glass: one hostname from block to log, now, without an approver (F38, INV-7).

It skips the waiting, never the recording: it needs a role and a reason, is shown on every page while it lasts, returns
to block by itself, and leaves a review that somebody else must close. Both ways go to the edge as requests, so that
plans, guards, read-backs and the audit log are those of every other change.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from apps.audit.services import record
from apps.coverage import approved
from apps.coverage.models import (
    Association,
    BreakGlass,
    CoverageRequest,
    Enforcement,
    Kind,
    ModeChoice,
    RequestHostname,
)
from apps.coverage.states import HELD, RequestState
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.models import Person
from apps.identity.permissions import Permission
from apps.inventory.models import Account
from apps.outbox.services import mark_due
from apps.pki.free_text import free_text, text_fault

log = structlog.get_logger(__name__)

MINUTES = range(5, 24 * 60 + 1)


def open_break_glasses(account: Account) -> QuerySet[BreakGlass]:
    """Those that last, and those that nobody has reviewed yet."""
    rows = BreakGlass.objects.filter(zone__account=account).select_related("zone", "request")
    return rows.filter(ended_at=None) | rows.filter(reviewed_at=None)


def break_glass_by_id(break_glass_id: int) -> BreakGlass:
    """Raises NotFound."""
    found = BreakGlass.objects.select_related("zone", "request", "return_request").filter(pk=break_glass_id).first()
    if found is None:
        raise NotFound("No such break-glass.")
    return found


@transaction.atomic
def use_break_glass(*, by: Actor, account: Account, hostname: str, reason: str, minutes: int = 60) -> BreakGlass:
    """Let one blocked hostname go to log for `minutes`.

    Raises Forbidden without the role, Invalid with every problem, Conflict when it lasts already, or when an approved
    request is about to let every client through.
    """
    by.require(Permission.BREAK_GLASS)
    if by.person is None:
        raise Forbidden("Only a person may break the glass.", code=Permission.BREAK_GLASS.value)
    Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    name = hostname.strip().lower().removesuffix(".")
    # A zone of the same name that is no longer listed keeps what was approved there.
    listed = {"zone__account": account, "zone__vanished_at": None, "hostname": name}
    rules = Enforcement.objects.select_related("zone", "request").filter(**listed)
    # Cloudflare asks the longest zone that holds a hostname.
    rule = max(rules, key=lambda row: len(row.zone.name), default=None)
    association = _covering({"zone": rule.zone, "hostname": name}) if rule else None
    problems: dict[str, list[str]] = {}
    if fault := text_fault(reason, "Say what is broken. Everyone sees this, and somebody reviews it."):
        problems["reason"] = [fault]
    if minutes not in MINUTES:
        problems["minutes"] = [f"Use {MINUTES[0]} to {MINUTES[-1]} minutes."]
    if rule is None or association is None or ModeChoice.BLOCK not in {rule.mode, rule.settled_mode}:
        problems["hostname"] = [f"{name or 'This'} is not in block here, so there is no glass to break."]
    if problems or rule is None or association is None:
        raise Invalid("Nothing was changed.", details=problems)
    if BreakGlass.objects.filter(zone=rule.zone, hostname=name, ended_at=None).exists():
        raise Conflict(f"The glass of {name} is broken already. It returns to block by itself.", code="already_broken")
    if rule.mode_in_force == ModeChoice.VERIFY and rule.request.kind != Kind.UNCOVER:
        # Log would take the place of what is approved, and block come after it.
        words = f"{rule.request} takes {name} to verify already, which lets every client through. It goes by itself."
        raise Conflict(words, code="on_its_way")
    request = _request(Kind.BREAK_GLASS, by.person, by.label, association, rule, ModeChoice.LOG, reason.strip())
    now = timezone.now()
    broken = BreakGlass.objects.create(
        request=request, zone=rule.zone, hostname=name, used_by=by.person, used_by_label=by.label,
        reason=reason.strip(), started_at=now, until=now + timedelta(minutes=minutes),
    )  # fmt: skip
    _record(by, "break_glass:used", broken, reason=broken.reason, after={"mode": "log", "until": broken.until})
    log.warning("break_glass_used", hostname=name, by=by.label, until=broken.until.isoformat())
    return broken


@transaction.atomic
def end_break_glass(*, by: Actor, break_glass_id: int) -> BreakGlass:
    """Return to block before the time is up."""
    if not by.may(Permission.BREAK_GLASS):
        by.require(Permission.REQUEST_APPROVE)
    broken = _locked(break_glass_id)
    if broken.ended_at is not None:
        raise Conflict(f"{broken.hostname} has returned to block already.", code="ended")
    return _return(by, broken)


def return_due_break_glasses(*, by: Actor) -> int:
    """Return what has lasted long enough. Called by every tick; a row lock lets one caller do it. Returns how many."""
    due = BreakGlass.objects.filter(ended_at=None, until__lte=Now()).values_list("pk", flat=True)
    return sum(_return_if_due(by, pk) for pk in list(due))


@transaction.atomic
def _return_if_due(by: Actor, break_glass_id: int) -> bool:
    broken = _locked(break_glass_id)
    if broken.ended_at is not None:
        return False
    _return(by, broken)
    return True


@transaction.atomic
def review_break_glass(*, by: Actor, break_glass_id: int, comment: str) -> BreakGlass:
    """Close the review. Raises Forbidden for whoever used it, Conflict while it lasts or once it is closed."""
    by.require(Permission.REQUEST_APPROVE)
    broken = _locked(break_glass_id)
    if by.person is None or by.person.pk == broken.used_by_id:
        raise Forbidden("You used it, so someone else must review it.", code="self_review")
    if broken.ended_at is None:
        raise Conflict(f"{broken.hostname} has not returned to block yet. Review it afterwards.", code="not_ended")
    if broken.reviewed_at is not None:
        raise Conflict(f"{broken.reviewed_by_label} has reviewed it already.", code="reviewed")
    comment = free_text(
        comment, "comment", "Say what you found: was it needed, and what keeps it from happening again?"
    )
    broken.reviewed_by, broken.reviewed_by_label = by.person, by.label
    broken.reviewed_at, broken.review_comment = timezone.now(), comment
    broken.save(update_fields=["reviewed_by", "reviewed_by_label", "reviewed_at", "review_comment"])
    _record(by, "break_glass:reviewed", broken, reason=broken.review_comment)
    return broken


def _return(by: Actor, broken: BreakGlass) -> BreakGlass:
    rule = Enforcement.objects.select_for_update().filter(zone=broken.zone, hostname=broken.hostname).first()
    covered = _covering({"zone": broken.zone, "hostname": broken.hostname})
    if rule is not None and covered is not None and not _decided_otherwise(rule):
        reason = f"Returns from {broken.request}, used by {broken.used_by_label}."
        broken.return_request = _request(
            Kind.RETURN, broken.used_by, f"{by.label} (return)", covered, rule, ModeChoice.BLOCK, reason
        )
    # Else an approved request has decided otherwise meanwhile, and that holds.
    broken.ended_at = timezone.now()
    broken.save(update_fields=["ended_at", "return_request"])
    mode = ModeChoice.BLOCK.value if broken.return_request else rule.mode if rule else "none"
    _record(by, "break_glass:returned", broken, after={"mode": mode})
    return broken


def _covering(where: Mapping[str, object]) -> Association | None:
    """What covers the hostname, rather one that nobody has asked to remove: a removal may fail, or wait for long."""
    rows = Association.objects.filter(**where).select_related("ca")
    return min(rows.order_by("-approved_at"), key=lambda row: row.state != Association.State.APPROVED, default=None)


def _decided_otherwise(rule: Enforcement) -> bool:
    """Whether an approval that still holds has set the mode meanwhile.

    Changed issuers and what was restored touch the rule too, and decide nothing about its mode.
    """
    owner = rule.request
    if rule.mode_in_force == ModeChoice.VERIFY:
        return True
    if owner.kind not in {Kind.COVER, Kind.ADOPT, Kind.UNCOVER} or rule.is_held:
        return False
    if owner.state in HELD:
        # Failed or out of date before a read had shown it: no approval keeps the hostname as the glass left it.
        rows = owner.hostnames.filter(zone=rule.zone_id, hostname=rule.hostname)
        return rows.filter(result=RequestHostname.Result.DONE).exists()
    return owner.state not in {RequestState.WITHDRAWN, RequestState.REJECTED}


def _request(
    kind: Kind, person: Person, label: str, association: Association, rule: Enforcement, mode: str, reason: str
) -> CoverageRequest:
    """A request that is approved as it is made, and its effect on the approved state."""
    request = CoverageRequest.objects.create(
        kind=kind, account_id=association.ca.account_id, ca=association.ca, mode=mode, reason=reason,
        team=association.owner_team, requested_by=person, requested_by_label=label, state=RequestState.APPROVED,
        decided_at=timezone.now(), correlation_id=str(uuid.uuid4()),
    )  # fmt: skip
    row = RequestHostname.objects.create(request=request, zone=rule.zone, hostname=rule.hostname)
    approved.set_mode(request, row, mode)
    mark_due(kind="zone", subject_id=rule.zone_id)
    return request


def _locked(break_glass_id: int) -> BreakGlass:
    broken = BreakGlass.objects.select_for_update().filter(pk=break_glass_id).first()
    if broken is None:
        raise NotFound("No such break-glass.")
    return broken


def _record(by: Actor, action: str, broken: BreakGlass, **more: object) -> None:
    names: Iterable[str] = [broken.hostname]
    record(
        by=by, action=action, subject=("hostname", broken.hostname, broken.hostname), account=broken.zone.account_id,
        zone=broken.zone.name, hostnames=names, correlation_id=broken.request.correlation_id, **more,  # type: ignore[arg-type]
    )  # fmt: skip
