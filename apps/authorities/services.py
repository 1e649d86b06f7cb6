"""Writing CAs: admitting an upload, its way to the edge, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.audit.services import record
from apps.authorities.expiry import days_left, threshold_at
from apps.authorities.intake import PeopleSay, intake_problems, make_ca_record, told_of
from apps.authorities.issuers import SELF, Issuer
from apps.authorities.models import CertificateAuthority, ExpiryNotice
from apps.authorities.selectors import inspect_upload, no_slot_words, slot_for, slots_of
from apps.authorities.states import HOLDING, CaState, may_move
from apps.errors import Conflict, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.inventory.models import Account, Zone
from apps.outbox.clock import database_now
from apps.outbox.services import mark_due
from apps.pki.checks_validity import has_expired
from apps.pki.free_text import free_text, text_faults

STATE_FIELDS = ("state", "state_reason", "write_sent_at", "write_attempts")


@transaction.atomic
def admit_ca(
    *,
    by: Actor,
    account: Account,
    name: str,
    data: bytes | str,
    client_issuers: str = "",
    owner_team: Team | None = None,
    reason: str = "",
    replaces: CertificateAuthority | None = None,
    choose: str = "",
    accept_expired: bool = False,
) -> CertificateAuthority:
    """Store a CA that passed every check, reserve its slot, and mark the account due for the upload.

    The account row is locked first, so that parallel uploads cannot take the same last slot (INV-27).
    `choose` is the fingerprint of the certificate that is meant when the upload holds several: none is ever taken
    unasked. `accept_expired` admits an expired CA; it is recorded as a caution and in the audit event.
    What goes to Cloudflare is the canonical PEM of the DER that was checked, never the uploaded bytes (INV-37).
    `replaces` is the live CA whose hostnames this one takes over (F23). Raises Invalid with every reason at once.
    """
    by.require(Permission.CA_UPLOAD)
    account = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    inspection = inspect_upload(
        account=account, data=data, name=name, now=timezone.now(), choose=choose, accept_expired=accept_expired
    )
    people = PeopleSay(name, reason, client_issuers, owner_team)
    problems = intake_problems(inspection, people) | text_faults(reason=reason)
    if replaces and (why_not := _not_replaceable(replaces, account)):
        problems["replaces"] = [why_not]
    facts = inspection.certificate
    if problems or facts is None:
        raise Invalid("The CA was not uploaded. Mend what is named and send it again.", details=problems)
    ca = make_ca_record(by, account, inspection, facts, people, replaces=replaces)
    after = {
        "replaces": replaces.fingerprint if replaces else "",
        "expired_accepted": has_expired(facts, timezone.now()),
        "chosen_among": len(inspection.candidates),
    }
    _record(by, "ca:admitted", ca, reason=ca.reason, after=told_of(ca) | after)
    mark_due(kind="account", subject_id=account.pk)
    return ca


def _not_replaceable(old: CertificateAuthority, account: Account) -> str:
    """Why this CA cannot be replaced now, or nothing."""
    if old.account_id != account.pk:
        return f"{old.name} belongs to another account. A CA is replaced by one of its own account."
    if old.state not in {CaState.LIVE, CaState.GONE}:
        return f"{old.name} is {old.state}. Only a CA that was live can be replaced."
    if (other := old.replaced_by) is not None:
        return f"{old.name} is replaced by {other.name} already. Go on with that one, or delete it first."
    return ""


@transaction.atomic
def set_replacement(*, by: Actor, ca_id: UUID, replaces_id: UUID, reason: str) -> CertificateAuthority:
    """Say that a CA that is here already takes over from another. Changes nothing at the edge.

    Raises Invalid naming what does not fit, NotFound.
    """
    by.require(Permission.CA_UPLOAD)
    ca, old = _locked(ca_id), _locked(replaces_id)
    why_not = _not_replaceable(old, ca.account)
    if ca.pk == old.pk:
        why_not = "A CA cannot replace itself. Pick another one."
    elif not why_not and ca.replaces_id is not None:
        why_not = f"{ca.name} replaces another CA already. Pick another one."
    elif not why_not and ca.state != CaState.LIVE:
        why_not = f"{ca.name} is {ca.state}. Pick a CA that is live."
    elif not why_not and old.replaces_id == ca.pk:
        why_not = f"{old.name} replaces {ca.name}. It cannot be the other way round too."
    if why_not:
        raise Invalid(why_not, field="replacement")
    reason = free_text(reason, "reason", "Say why. Auditors read this.")
    ca.replaces = old
    ca.save(update_fields=["replaces"])
    after = {"replaces": old.fingerprint, "name": old.name}
    _record(by, "ca:replacement_set", ca, reason=reason, before={"replaces": ""}, after=after)
    return ca


@transaction.atomic
def confirm_clients(*, by: Actor, ca_id: UUID, reason: str) -> CertificateAuthority:
    """A person says that the clients of the CA that this one replaces present certificates of this one now.

    The caller has made sure that both CAs stand on every hostname (coverage.rotation_services).
    """
    by.require(Permission.CA_UPLOAD)
    ca = _locked(ca_id)
    reason = free_text(reason, "reason", "Say how you know. Auditors read this.")
    ca.clients_confirmed_at, ca.clients_confirmed_by_label = timezone.now(), by.label
    ca.save(update_fields=["clients_confirmed_at", "clients_confirmed_by_label"])
    after = {"clients_confirmed_at": ca.clients_confirmed_at, "replaces": ca.replaces.name if ca.replaces else ""}
    _record(by, "ca:clients_confirmed", ca, reason=reason, after=after)
    return ca


def store_issuers(ca_id: UUID, issuers: list[Issuer]) -> None:
    """Set who is known to sign the CA's clients. Part of an approved request's transaction, whose event tells it."""
    only_self = [issuer["source"] for issuer in issuers] == [SELF]
    CertificateAuthority.objects.filter(pk=ca_id).update(issuers=issuers, client_issuers=SELF if only_self else "")


@transaction.atomic
def retry_ca(*, by: Actor, ca_id: UUID) -> CertificateAuthority:
    """Queue a failed upload again. It needs a slot like a new one. Raises Conflict when none is free (INV-27)."""
    by.require(Permission.CA_UPLOAD)
    ca = _locked(ca_id)
    account = Account.objects.select_for_update(no_key=True).get(pk=ca.account_id)
    if ca.state == CaState.FAILED and not slot_for(ca.fingerprint, slots := slots_of(account)):
        raise Conflict(no_slot_words(slots), code="no_slot")
    ca = move_ca(by=by, ca_id=ca_id, target=CaState.QUEUED, action="ca:retried")
    mark_due(kind="account", subject_id=ca.account_id)
    return ca


@transaction.atomic
def delete_ca(*, by: Actor, ca_id: UUID, reason: str, confirm_name: str | None = None) -> CertificateAuthority:
    """Ask for the CA to leave the edge. The worker deletes it when no list at the edge names it any more.

    The caller has made sure that no approved or pending coverage uses it (coverage.services.retire_ca).
    A CA that never reached the edge ends at once.
    """
    by.require(Permission.CA_DELETE)
    ca = _locked(ca_id)
    if confirm_name is not None and confirm_name != ca.name:
        raise Invalid(f"That is not the CA's name. Type {ca.name} exactly.", field="confirm")
    reason = free_text(reason, "reason", "Say why. Auditors read this.")
    target = CaState.DELETING if ca.state == CaState.LIVE else CaState.DELETED
    ca.delete_reason = reason
    ca.save(update_fields=["delete_reason"])
    ca = move_ca(by=by, ca_id=ca_id, target=target, action="ca:deletion_requested", reason=reason)
    mark_due(kind="account", subject_id=ca.account_id)
    return ca


@transaction.atomic
def move_ca(
    *,
    by: Actor,
    ca_id: UUID,
    target: CaState,
    action: str,
    why: str = "",
    reason: str = "",
    cloudflare_id: str | None = None,
    details: Mapping[str, object] | None = None,
) -> CertificateAuthority:
    """One legal move of a CA's state, with its audit event. Raises Conflict for an illegal one.

    `why` is shown beside the state; `reason` is what a person gave.
    """
    ca = _locked(ca_id)
    if not may_move(ca.state, target):
        raise Conflict(f"{ca.name} is {ca.state}, so this cannot be done now. Reload the page.", code="illegal_move")
    before = {"state": ca.state, "cloudflare_id": ca.cloudflare_id}
    ca.state, ca.state_reason = target.value, why
    now = timezone.now()
    ca.write_sent_at, ca.write_attempts = None, 0
    if cloudflare_id is not None:
        ca.cloudflare_id = cloudflare_id
    if target == CaState.LIVE and ca.live_at is None:
        ca.live_at = now
    if target == CaState.DELETED:
        ca.deleted_at = now
    ca.save(update_fields=[*STATE_FIELDS, "cloudflare_id", "live_at", "deleted_at"])
    ca.empty_in.clear()
    after = {"state": ca.state, "cloudflare_id": ca.cloudflare_id, "why": why}
    _record(by, action, ca, reason=reason, before=before, after=after, details=details)
    return ca


@transaction.atomic
def begin_write(*, by: Actor, ca_id: UUID) -> CertificateAuthority:
    """Keep that the POST or DELETE of this CA is about to leave: if its answer is lost, reads decide (INV-22)."""
    ca = _locked(ca_id)
    ca.write_sent_at, ca.write_attempts = database_now(), ca.write_attempts + 1
    ca.save(update_fields=["write_sent_at", "write_attempts"])
    action = "ca:deletion_sent" if ca.state == CaState.DELETING else "ca:upload_sent"
    _record(by, action, ca, details={"attempt": ca.write_attempts})
    return ca


@transaction.atomic
def end_write(
    *,
    by: Actor,
    ca_id: UUID,
    why: str,
    unknown: bool,
    attempted: bool = True,
    held_back: bool = False,
    read_anew: bool = False,
) -> None:
    """The write brought no answer to go on with. `unknown`: it may have happened, so a read comes before the next.

    Not `attempted`: it says nothing of this CA, and counts as no attempt of it; `held_back` if it never went at all.
    `read_anew`: what its lists were read to be for its deletion is not believed any more.
    """
    ca = _locked(ca_id)
    attempt = ca.write_attempts
    ca.state_reason = why
    if not unknown:
        ca.write_sent_at = None
    if not attempted:
        ca.write_attempts -= 1
    if read_anew:
        ca.empty_in.clear()
    ca.save(update_fields=["state_reason", "write_sent_at", "write_attempts"])
    action = "ca:answer_lost" if unknown else "ca:write_held_back" if held_back else "ca:write_refused"
    _record(by, action, ca, details={"attempt": attempt, "why": why})


def store_empty_list(ca: CertificateAuthority, zone: Zone) -> None:
    """Keep that the CA's list in this zone was read empty for its deletion. What was decided shows in the end."""
    ca.empty_in.add(zone)


def store_lists_missing(ca: CertificateAuthority, why: str) -> None:
    """Keep, for people, how many lists its deletion has still to read."""
    CertificateAuthority.objects.filter(pk=ca.pk, state=CaState.DELETING).update(state_reason=why)


@transaction.atomic
def record_expiry(*, by: Actor, account: Account, now: datetime) -> list[ExpiryNotice]:
    """Record which threshold each CA of the account has reached at `now`, each once (F22).

    Only the most urgent one: whoever uploads a CA with 20 days left hears of 30, not of 120, 90 and 60 too. Returns
    the new ones. Several workers may run this at once: the unique row decides whose event it is.
    """
    found = []
    for ca in CertificateAuthority.objects.filter(account=account, state__in=HOLDING).exclude(state=CaState.FAILED):
        threshold = threshold_at(ca.not_after, now)
        if threshold is None or ca.expiry_notices.filter(threshold_days__lt=threshold).exists():
            continue
        notice, fresh = ExpiryNotice.objects.get_or_create(
            ca=ca, threshold_days=threshold, defaults={"noticed_at": now}
        )
        if fresh:
            after = {"threshold_days": threshold, "days_left": days_left(ca.not_after, now), "not_after": ca.not_after}
            _record(by, "ca:expiry_reached", ca, after=after)
            found.append(notice)
    return found


def _locked(ca_id: UUID) -> CertificateAuthority:
    ca = CertificateAuthority.objects.select_for_update(no_key=True).filter(pk=ca_id).first()
    if ca is None:
        raise NotFound("No such CA. It may belong to another account.")
    return ca


def _record(by: Actor, action: str, ca: CertificateAuthority, **more: object) -> None:
    record(by=by, action=action, subject=("ca", ca.pk, ca.name), account=ca.account_id, **more)  # type: ignore[arg-type]
