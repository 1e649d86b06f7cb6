"""Writing the two requests of a rotation and the word between them. They are requests like any other: each has its own
plan, and someone else approves it. What a rotation adds is which hostnames they name, and when they may be made.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from apps.audit.services import record
from apps.authorities import services as authorities
from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest, Kind, ModeChoice
from apps.coverage.rotation import Rotation, Step, rotation_of
from apps.coverage.services import create_request
from apps.errors import Conflict, NotFound
from apps.identity.actors import Actor
from apps.inventory.models import Account


@transaction.atomic
def request_overlap(*, by: Actor, ca_id: UUID, reason: str, ticket: str = "") -> CoverageRequest:
    """Ask for every hostname of the old CA under the new one too, in one request over all zones.

    Each hostname keeps its mode and owner. What is under the new CA already, or asked for, is left out. The request
    says `verify` because a second CA never weakens the mode a hostname has (`approved.mode_after`).
    """
    rotation = _locked(ca_id)
    new = _new_of(rotation)
    if not rotation.to_cover:
        raise Conflict(_nothing_to_cover(rotation), code="nothing_to_cover")
    request = create_request(
        by=by, kind=Kind.COVER, ca=new, mode=ModeChoice.VERIFY, text="\n".join(rotation.to_cover), reason=reason,
        ticket=ticket, most=len(rotation.to_cover),
    )  # fmt: skip
    _record(by, "ca:overlap_requested", rotation.old, request, names=rotation.to_cover, other=new)
    return request


@transaction.atomic
def confirm_clients_moved(*, by: Actor, ca_id: UUID, reason: str) -> CertificateAuthority:
    """Keep that a person says: the clients present certificates of the new CA. Needs every hostname on both first."""
    rotation = _locked(ca_id)
    new = _new_of(rotation)
    if rotation.step is not Step.CONFIRM:
        raise Conflict(_not_now(rotation), code="not_now")
    return authorities.confirm_clients(by=by, ca_id=new.pk, reason=reason)


@transaction.atomic
def request_release(*, by: Actor, ca_id: UUID, reason: str, ticket: str = "") -> CoverageRequest:
    """Ask for the hostnames to leave the old CA. None of them is left without one: all stand under the new CA too."""
    rotation = _locked(ca_id)
    new = _new_of(rotation)
    if rotation.step is not Step.UNCOVER or not rotation.staying:
        raise Conflict(_not_now(rotation), code="not_now")
    names = tuple(row.hostname for row in rotation.staying)
    request = create_request(
        by=by, kind=Kind.UNCOVER, ca=rotation.old, mode=ModeChoice.VERIFY, text="\n".join(names), reason=reason,
        ticket=ticket, most=len(names),
    )  # fmt: skip
    _record(by, "ca:release_requested", rotation.old, request, names=names, other=new)
    return request


def _locked(ca_id: UUID) -> Rotation:
    """The rotation as it is while nobody else can write a request of the account."""
    old = CertificateAuthority.objects.filter(pk=ca_id).first()
    if old is None:
        raise NotFound("No such CA. It may belong to another account.", field="ca")
    Account.objects.select_for_update(no_key=True).get(pk=old.account_id)
    return rotation_of(old)


def _new_of(rotation: Rotation) -> CertificateAuthority:
    new = rotation.new
    if rotation.step is Step.DONE:
        raise Conflict(f"{rotation.old.name} is deleted. Its rotation is over.", code="not_now")
    if new is None:
        raise Conflict(f"Upload the CA that replaces {rotation.old.name} first.", code="no_replacement")
    if rotation.step is Step.UPLOAD:
        raise Conflict(f"{new.name} is {new.state}. Wait until it is live at the edge.", code="not_live")
    return new


def _nothing_to_cover(rotation: Rotation) -> str:
    if rotation.cover is not None and rotation.step is Step.COVER:
        return f"{rotation.cover} asks for it already and is {rotation.cover.state}. Go on with that request."
    return f"No hostname of {rotation.old.name} is missing under the new CA. There is nothing to ask for."


def _not_now(rotation: Rotation) -> str:
    if rotation.step is Step.COVER:
        missing, all_of_them = len(rotation.staying) - rotation.on_both, len(rotation.staying)
        return f"{missing} of {all_of_them} hostnames are not at the edge under the new CA yet. Cover them first."
    if rotation.step is Step.CONFIRM:
        return "Nobody has confirmed yet that the clients use the new CA. Confirm that first."
    if rotation.step is Step.DELETE:
        return f"No hostname uses {rotation.old.name} any more. Delete it."
    return "This was done already. Reload the page."


def _record(
    by: Actor, action: str, old: CertificateAuthority, request: CoverageRequest, *, names: tuple[str, ...],
    other: CertificateAuthority,
) -> None:  # fmt: skip
    details = {"request": str(request), "new": {"name": other.name, "fingerprint": other.fingerprint}}
    record(
        by=by, action=action, subject=("ca", old.pk, old.name), account=old.account_id, hostnames=names,
        reason=request.reason, details=details, correlation_id=request.correlation_id,
    )  # fmt: skip
