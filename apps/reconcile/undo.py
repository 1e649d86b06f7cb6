"""Going back: a change, or any list that was ever applied, as new requests with plans of their own (F24).

Nothing is sent from here. What a change did is turned round and asked for like anything else, so it meets the same
verdicts, approval, guards and order; one request per kind, CA and mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from apps.audit.services import record
from apps.authorities.models import CertificateAuthority
from apps.authorities.states import CaState
from apps.coverage.models import Association, CoverageRequest, Enforcement, Kind, ModeChoice
from apps.coverage.selectors import request_by_id
from apps.coverage.services import create_request
from apps.errors import Conflict, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.inventory.models import Zone
from apps.pki.free_text import free_text
from apps.planning.rule import hostnames_in
from apps.planning.seen import edge_modes
from apps.planning.state import RuleState
from apps.reconcile.labels import ca_labels
from apps.reconcile.models import Plan, PlanStep, RuleSpan
from apps.reconcile.selectors import change_by_id
from apps.reconcile.services import planned

DONE = PlanStep.State.DONE
RULE_WRITES = ("add_rule", "edit_rule", "delete_rule")


@dataclass(frozen=True)
class AppliedList:
    """One list as a change left it: it can be brought back."""

    change: Plan
    hostnames: tuple[str, ...]

    @property
    def change_id(self) -> str:
        return str(self.change.pk)


@dataclass(frozen=True)
class ListHistory:
    """The lists of one CA in the change's zone that were ever applied, the newest first."""

    ca: str
    ca_name: str
    lists: tuple[AppliedList, ...]


@dataclass
class _Wishes:
    """What is to be asked for: (kind, CA key, mode) -> hostnames."""

    zone: Zone
    asked: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = Association.objects.filter(zone=self.zone, state=Association.State.APPROVED).select_related("ca")
        self.approved = {(row.ca.fingerprint, row.hostname) for row in rows}
        self.modes = {row.hostname: row.mode for row in Enforcement.objects.filter(zone=self.zone)}

    def present(self, ca: str, name: str, mode: str) -> None:
        """Ask that the CA covers the hostname in this mode, unless that is approved already."""
        if (ca, name) not in self.approved or self.modes.get(name, ModeChoice.VERIFY) != mode:
            self.asked.setdefault((Kind.COVER, ca, mode), set()).add(name)

    def absent(self, ca: str, name: str) -> None:
        if (ca, name) in self.approved:
            self.asked.setdefault((Kind.UNCOVER, ca, ModeChoice.VERIFY), set()).add(name)

    def in_mode(self, name: str, mode: str) -> None:
        """Ask for another mode, under a CA that covers the hostname and is to stay."""
        leaving = {ca for (kind, ca, _), names in self.asked.items() if kind == Kind.UNCOVER and name in names}
        cas = sorted(ca for ca, covered in self.approved if covered == name and ca not in leaving)
        if cas:
            self.present(cas[0], name, mode)


def undo_change(
    *, by: Actor, change_id: UUID | str, reason: str, ca: str = "", as_of: UUID | str | None = None
) -> list[CoverageRequest]:
    """Ask for the lists and rules from before a change; with `ca` (fingerprint) and `as_of`, for that CA's list as
    another change left it. Returns the requests, each with its plan if Cloudflare answered.

    A hostname that returns to block skips the quiet period in log: the reason is the recorded override.
    Raises Conflict when nothing of it is left to undo, NotFound, Invalid with what stands against it.
    """
    by.require(Permission.REQUEST_CREATE)
    change, reason = change_by_id(change_id), free_text(reason, "reason")
    wishes = _before(change) if as_of is None else _as_left_by(change, ca, change_by_id(as_of))
    if not wishes.asked:
        raise Conflict(f"Nothing of {change} is left to undo: what it did is not approved any more.", code="nothing")
    cas = _cas(change, {ca_key for _, ca_key, _ in wishes.asked})
    words = f"Undoes {change}. {reason}" if reason else ""
    with transaction.atomic():
        made = [
            create_request(
                by=by, kind=kind, ca=cas[ca_key], mode=mode, text="\n".join(sorted(names)), reason=words,
                override=words[:2000], undo_of=change.pk, most=len(names),
                in_zones=dict.fromkeys(names, change.zone),
            )
            for (kind, ca_key, mode), names in sorted(wishes.asked.items())
        ]  # fmt: skip
        record(
            by=by, action="plan:undo_asked", subject=("change", change.pk, str(change)),
            account=change.zone.account_id, zone=change.zone.name, reason=reason,
            hostnames=set().union(*wishes.asked.values()),
            details={"requests": [request.pk for request in made], "as_of": str(as_of or "")},
        )  # fmt: skip
    for request in made:
        planned(request, by)
    return [request_by_id(request.pk) for request in made]


def undo_requests(change: Plan) -> list[CoverageRequest]:
    """Requests that undo this change, oldest first."""
    return list(CoverageRequest.objects.filter(undo_of=change.pk).order_by("pk"))


def can_undo(change: Plan) -> bool:
    """Whether it wrote anything that a request can turn round: a change of issuers is asked for anew instead."""
    return bool(change.document.get("effects")) and change.steps.filter(
        state=DONE, kind__in=("replace_list", *RULE_WRITES)
    ).exists()  # fmt: skip


def list_histories(change: Plan, *, most: int = 20) -> list[ListHistory]:
    """Per CA of the change's lists: what was applied in its zone, for somebody to choose from."""
    keys = {step.document["ca"] for step in change.steps.all() if step.kind == "replace_list"}
    labels = ca_labels(change.zone.account)
    rows = PlanStep.objects.filter(plan__zone=change.zone, kind="replace_list", state=DONE).select_related("plan")
    lists: dict[str, dict[int, AppliedList]] = {key: {} for key in keys}
    for step in rows.order_by("plan__number", "position"):
        if (key := step.document["ca"]) in lists:
            # The last step of a change decides how it left the list.
            lists[key][step.plan.number] = AppliedList(step.plan, tuple(step.document["after"]))
    return [
        ListHistory(key, labels.get(key, key[:12]), tuple(list(found.values())[::-1][:most]))
        for key, found in sorted(lists.items())
    ]


def _before(change: Plan) -> _Wishes:
    """What the change did, turned round, as far as it was sent."""
    wishes = _Wishes(change.zone)
    steps = list(change.steps.filter(state=DONE).order_by("position"))
    rules = [step.document for step in steps if step.kind in RULE_WRITES]
    lists = [step.document for step in steps if step.kind == "replace_list"]
    sent = {(row["ca"], name) for row in lists for name in (*row["adds"], *row["removes"])}
    modes = _modes_before(rules)
    effects = change.document.get("effects", [])
    for effect in effects:
        ca, name = effect["ca"], effect["hostname"]
        if (ca, name) in sent:
            if effect["operation"] == "associate":
                wishes.absent(ca, name)
            elif effect["operation"] == "dissociate":
                wishes.present(ca, name, modes.get(name, effect["mode"]))
    for effect in effects:
        name = effect["hostname"]
        if effect["operation"] in {"enforce", "relax"} and name in modes and not _covers(wishes, name):
            wishes.in_mode(name, modes[name])
    return wishes


def _covers(wishes: _Wishes, name: str) -> bool:
    """Whether it is asked for in its mode from before already."""
    return any(name in names for (kind, _, _), names in wishes.asked.items() if kind == Kind.COVER)


def _modes_before(rules: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Hostname -> its mode before these rule steps, for every hostname that they reach."""
    first: dict[str, RuleState | None] = {}
    names: set[str] = set()
    for step in rules:
        before = RuleState(**step["before"]) if "before" in step else None
        ref = before.ref if before else step["rule"]["ref"]
        first.setdefault(ref, before)
        names |= set(step.get("rule", {}).get("hostnames", ()))
        names |= hostnames_in(before.expression) if before else frozenset()
    modes = edge_modes(rule for rule in first.values() if rule is not None)
    return {name: modes[name].value if name in modes else ModeChoice.VERIFY.value for name in names}


def _as_left_by(change: Plan, ca: str, other: Plan) -> _Wishes:
    """The CA's list as `other` left it, each hostname in the mode that it was read in then."""
    wishes = _Wishes(change.zone)
    step = other.steps.filter(state=DONE, kind="replace_list", document__ca=ca).order_by("position").last()
    if step is None or other.zone_id != change.zone_id:
        raise NotFound("That change did not send a list of this CA in this zone.", field="as_of")
    wanted, at = set(step.document["after"]), other.finished_at or other.created_at
    spans = RuleSpan.objects.filter(zone=change.zone, from_at__lte=at).filter(Q(until_at=None) | Q(until_at__gt=at))
    then = {span.hostname: span.action for span in spans}
    for name in wanted:
        wishes.present(ca, name, then.get(name, ModeChoice.VERIFY))
    for key, name in wishes.approved:
        if key == ca and name not in wanted:
            wishes.absent(ca, name)
    return wishes


def _cas(change: Plan, keys: set[str]) -> dict[str, CertificateAuthority]:
    rows = CertificateAuthority.objects.filter(account=change.zone.account_id, fingerprint__in=keys)
    found = {row.fingerprint: row for row in rows.exclude(state=CaState.DELETED)}
    if gone := keys - found.keys():
        words = f"The CA {', '.join(sorted(key[:12] for key in gone))} is deleted. Upload it again first."
        raise Conflict(words, code="ca_gone")
    return found
