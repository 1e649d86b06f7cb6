"""A rotation in its steps, by the services alone: two requests with their own approvals, and a word between them."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca, delete_ca, move_ca, set_replacement
from apps.authorities.states import CaState
from apps.coverage import settling
from apps.coverage.closing_services import withdraw_request
from apps.coverage.models import Association, CoverageRequest, Enforcement
from apps.coverage.progress_services import fail_requests
from apps.coverage.rotation import Rotation, Standing, Step, rotation_of
from apps.coverage.rotation_services import confirm_clients_moved, request_overlap, request_release
from apps.coverage.selectors import desired_zone
from apps.coverage.services import approve_request, create_request, store_plan
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.inventory.models import Zone
from apps.planning.rule import compile_rules
from tests.certs import make_ca as make_certificate
from tests.factories import SETUP, actor, at_edge, make_account, make_ca, make_live, make_team

pytestmark = pytest.mark.django_db
WORKER = Actor.portal("worker")
NAMES = ("a.pay.example", "b.pay.example", "c.shop.example")


class Desk:
    """An account whose old CA covers three hostnames in two zones, one of them in block mode."""

    def __init__(self) -> None:
        self.account = make_account()
        self.team = make_team("Payments")
        self.owner = actor(Role.OWNER, teams=(self.team,))
        self.engineer, self.other = actor(Role.ENGINEER, teams=(make_team("Security"),)), actor(Role.ENGINEER)
        self.old = make_ca(self.account, name="Old", client_issuers="self")
        self.zones = {zone.name: zone for zone in Zone.objects.filter(account=self.account)}
        for name, mode in zip(NAMES, ("block", "log", "verify"), strict=True):
            self.approve(
                create_request(
                    by=self.owner, kind="cover", ca=self.old, mode=mode, text=name, reason="Launch", override="x"
                )
            )
        self.see(self.old, *NAMES)

    def upload(self, *, live: bool = True, issuers: str = "self") -> CertificateAuthority:
        made = make_certificate("New")
        new = admit_ca(
            by=self.engineer, account=self.account, name="New", data=made.pem, client_issuers=issuers,
            replaces=self.old,
        )  # fmt: skip
        return make_live(new) if live else new

    def approve(self, request: CoverageRequest) -> CoverageRequest:
        digest = f"d{request.pk}"
        store_plan(by=WORKER, request_id=request.pk, document={"effects": []}, revisions={}, digest=digest)
        return approve_request(by=self.other, request_id=request.pk, digest=digest)

    def see(self, ca: CertificateAuthority, *names: str) -> None:
        """As if a complete read had shown exactly these hostnames in the CA's lists, and every mode enforced."""
        modes = dict(Enforcement.objects.values_list("hostname", "mode"))
        enforced = {name: mode for name, mode in modes.items() if mode != "verify"}
        for zone in self.zones.values():
            here = [name for name in names if name.endswith(f".{zone.name}") and name.count(".") == 2]
            at_edge(ca, zone, *here)
            lists = {ca.fingerprint: frozenset(here)}
            settling.settle_zone(by=WORKER, zone=zone, lists=lists, enforced=enforced)

    @property
    def rotation(self) -> Rotation:
        self.old.refresh_from_db()
        return rotation_of(self.old)

    def covered(self) -> CertificateAuthority:
        """Both CAs on every hostname, at the edge."""
        new = self.upload()
        self.approve(request_overlap(by=self.engineer, ca_id=self.old.pk, reason="Expires"))
        self.see(new, *NAMES)
        return new


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_all_steps_in_order(desk: Desk) -> None:
    assert (desk.rotation.step, desk.rotation.new) == (Step.UPLOAD, None)
    new = desk.upload(live=False)
    assert (desk.rotation.step, desk.rotation.moving) == (Step.UPLOAD, True)
    make_live(new)
    assert (desk.rotation.step, desk.rotation.to_cover, desk.rotation.moving) == (Step.COVER, NAMES, False)

    cover = request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="Old ends", ticket="SEC-7")
    assert (cover.kind, cover.ca, cover.mode, cover.ticket) == ("cover", new, "verify", "SEC-7")
    assert sorted(row.hostname for row in cover.hostnames.all()) == list(NAMES)
    assert {row.standing for row in desk.rotation.rows} == {Standing.PENDING}
    assert desk.rotation.moving
    desk.approve(cover)
    assert {row.standing for row in desk.rotation.rows} == {Standing.APPROVED}
    desk.see(new, *NAMES)
    assert (desk.rotation.step, desk.rotation.on_both) == (Step.CONFIRM, 3)

    confirm_clients_moved(by=desk.engineer, ca_id=desk.old.pk, reason="Logs show the new issuer only")
    assert (desk.rotation.step, desk.rotation.confirmed) == (Step.UNCOVER, True)

    release = request_release(by=desk.engineer, ca_id=desk.old.pk, reason="Clients moved")
    assert (release.kind, release.ca, release.hostnames.count()) == ("uncover", desk.old, 3)
    assert (desk.rotation.step, desk.rotation.moving) == (Step.UNCOVER, True)
    desk.approve(release)
    assert {row.standing for row in desk.rotation.rows} == {Standing.LEAVING}
    desk.see(desk.old)
    assert (desk.rotation.step, desk.rotation.rows, desk.rotation.cover) == (Step.DELETE, (), cover)

    delete_ca(by=desk.engineer, ca_id=desk.old.pk, reason="Replaced")
    assert desk.rotation.moving
    move_ca(by=SETUP, ca_id=desk.old.pk, target=CaState.DELETED, action="ca:deleted")
    assert (desk.rotation.step, desk.rotation.new) == (Step.DONE, new)
    with pytest.raises(Conflict, match="rotation is over"):
        request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x")


def test_each_step_is_in_the_audit_log_with_who_why_and_which_hostnames(desk: Desk) -> None:
    desk.covered()
    confirm_clients_moved(by=desk.engineer, ca_id=desk.old.pk, reason="Seen in the logs")
    request_release(by=desk.engineer, ca_id=desk.old.pk, reason="Clients moved")
    events = {event.action: event for event in AuditEvent.objects.order_by("seq")}
    assert events["ca:admitted"].after["replaces"] == desk.old.fingerprint  # type: ignore[index]
    assert events["ca:overlap_requested"].hostnames == list(NAMES)
    assert events["ca:overlap_requested"].details["new"]["name"] == "New"
    assert events["ca:clients_confirmed"].reason == "Seen in the logs"
    assert events["ca:release_requested"].reason == "Clients moved"


def test_the_overlap_keeps_each_mode_and_owner_and_pins_the_rule_to_both_issuers(desk: Desk) -> None:
    new = desk.covered()
    assert dict(Enforcement.objects.values_list("hostname", "mode")) == dict(
        zip(NAMES, ("block", "log", "verify"), strict=True)
    )
    assert {row.owner_team for row in Association.objects.filter(ca=new)} == {desk.team}
    rules = compile_rules(desired_zone(desk.zones["pay.example"]))
    assert {rule.action: sorted(rule.hostnames) for rule in rules} == {"block": [NAMES[0]], "log": [NAMES[1]]}
    for rule in rules:
        assert (
            f"cert_issuer_ski in {{{' '.join(sorted(f'{chr(34)}{s}{chr(34)}' for s in (desk.old.ski, new.ski)))}}}"
            in rule.expression
        )


def test_nothing_is_asked_twice_and_a_withdrawn_overlap_can_be_asked_again(desk: Desk) -> None:
    desk.upload()
    first = request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    with pytest.raises(Conflict, match=rf"{first} asks for it already"):
        request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    withdraw_request(by=desk.engineer, request_id=first.pk, has_left=lambda _: False)
    assert desk.rotation.to_cover == NAMES
    again = request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    desk.approve(again)
    fail_requests(by=WORKER, request_ids=[again.pk], why="Cloudflare refused.")
    with pytest.raises(Conflict, match="is failed"):
        request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x")


def test_what_is_under_the_new_ca_already_is_left_out_so_that_its_mode_stays(desk: Desk) -> None:
    new = desk.upload()
    desk.approve(
        create_request(by=desk.owner, kind="cover", ca=new, mode="block", text=NAMES[0], reason="Early", override="x")
    )
    desk.see(new, NAMES[0])
    request = request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    assert sorted(row.hostname for row in request.hostnames.all()) == list(NAMES[1:])
    desk.approve(request)
    assert Enforcement.objects.get(hostname=NAMES[0]).mode == "block"
    desk.see(new, *NAMES)
    with pytest.raises(Conflict, match="nothing to ask for"):
        request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x")


def test_the_release_waits_for_both_cas_everywhere_and_for_the_confirmation(desk: Desk) -> None:
    with pytest.raises(Conflict, match="Upload the CA that replaces Old first"):
        request_release(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    new = desk.upload()
    with pytest.raises(Conflict, match="3 of 3 hostnames are not at the edge under the new CA yet"):
        request_release(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    desk.approve(request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x"))
    desk.see(new, *NAMES[:2])
    with pytest.raises(Conflict, match="1 of 3"):
        confirm_clients_moved(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    desk.see(new, *NAMES)
    with pytest.raises(Conflict, match="Nobody has confirmed"):
        request_release(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    with pytest.raises(Invalid, match="how you know"):
        confirm_clients_moved(by=desk.engineer, ca_id=desk.old.pk, reason=" ")
    with pytest.raises(Forbidden):
        confirm_clients_moved(by=desk.owner, ca_id=desk.old.pk, reason="x")
    confirm_clients_moved(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    with pytest.raises(Conflict, match="done already"):
        confirm_clients_moved(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    # Somebody takes a name off the new CA at the edge: nothing may leave the old one.
    at_edge(new, desk.zones["pay.example"], NAMES[0])
    with pytest.raises(Conflict, match="1 of 3"):
        request_release(by=desk.engineer, ca_id=desk.old.pk, reason="x")


def test_a_hostname_that_comes_later_needs_the_overlap_and_the_confirmation_again(desk: Desk) -> None:
    new = desk.covered()
    confirm_clients_moved(by=desk.engineer, ca_id=desk.old.pk, reason="x")
    CertificateAuthority.objects.filter(pk=new.pk).update(clients_confirmed_at=timezone.now() - timedelta(hours=1))
    Association.objects.filter(ca=new).update(live_at=timezone.now() - timedelta(hours=2))
    late = "late.pay.example"
    desk.approve(create_request(by=desk.owner, kind="cover", ca=desk.old, mode="log", text=late, reason="x"))
    desk.see(desk.old, *NAMES, late)
    assert (desk.rotation.step, desk.rotation.to_cover) == (Step.COVER, (late,))
    desk.approve(request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x"))
    desk.see(new, *NAMES, late)
    assert desk.rotation.step is Step.CONFIRM


def test_a_ca_without_hostnames_needs_no_overlap_and_a_foreign_hostname_is_named(desk: Desk) -> None:
    empty = make_ca(desk.account, name="Empty")
    at_edge(empty, desk.zones["pay.example"], "theirs.pay.example")
    admit_ca(by=desk.engineer, account=desk.account, name="E2", data=make_certificate("E2").pem, replaces=empty)
    make_live(CertificateAuthority.objects.get(name="E2"))
    empty.refresh_from_db()
    rotation = rotation_of(empty)
    assert (rotation.step, rotation.unapproved) == (Step.DELETE, ("theirs.pay.example",))
    with pytest.raises(Conflict, match="No hostname uses Empty any more"):
        request_release(by=desk.engineer, ca_id=empty.pk, reason="x")


def test_more_hostnames_than_one_form_takes_go_into_one_request(desk: Desk) -> None:
    zone, request = desk.zones["pay.example"], CoverageRequest.objects.latest("pk")
    Association.objects.bulk_create(
        Association(zone=zone, ca=desk.old, hostname=f"n{number}.pay.example", request=request,
                    approved_at=timezone.now(), approved_by_label="x", live_at=timezone.now())
        for number in range(1200)
    )  # fmt: skip
    desk.upload()
    assert request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x").hostnames.count() == 1203


def test_who_replaces_whom_is_checked_at_the_upload(desk: Desk) -> None:
    new, elsewhere = desk.upload(), make_ca(make_account())
    for replaced, words in ((desk.old, "replaced by New already"), (elsewhere, "another account")):
        with pytest.raises(Invalid) as refused:
            admit_ca(
                by=desk.engineer, account=desk.account, name="X", data=make_certificate("X").pem, replaces=replaced
            )
        assert words in refused.value.details["replaces"][0]
    queued = make_ca(desk.account, name="Queued", live=False)
    with pytest.raises(Invalid) as refused:
        admit_ca(by=desk.engineer, account=desk.account, name="X", data=make_certificate("X").pem, replaces=queued)
    assert "Only a CA that was live" in refused.value.details["replaces"][0]
    delete_ca(by=desk.engineer, ca_id=new.pk, reason="Wrong file")
    move_ca(by=SETUP, ca_id=new.pk, target=CaState.DELETED, action="ca:deleted")
    assert desk.rotation.new is None, "a deleted replacement makes room for another"


def test_a_ca_that_is_here_already_can_take_over(desk: Desk) -> None:
    here, third = make_ca(desk.account, name="Here"), make_ca(desk.account, name="Third")
    queued = make_ca(desk.account, name="Queued", live=False)

    def link(ca: CertificateAuthority, old: CertificateAuthority, reason: str = "It is the same PKI") -> None:
        set_replacement(by=desk.engineer, ca_id=ca.pk, replaces_id=old.pk, reason=reason)

    for ca, words in ((desk.old, "cannot replace itself"), (queued, "Pick a CA that is live")):
        with pytest.raises(Invalid, match=words):
            link(ca, desk.old)
    with pytest.raises(Invalid, match="Say why"):
        link(here, desk.old, " ")
    with pytest.raises(Forbidden):
        set_replacement(by=desk.owner, ca_id=here.pk, replaces_id=desk.old.pk, reason="x")
    link(here, desk.old)
    assert desk.rotation.new == here
    for ca, old, words in (
        (third, desk.old, "replaced by Here already"),
        (here, third, "replaces another CA already"),
        (desk.old, here, "the other way round"),
    ):
        with pytest.raises(Invalid, match=words):
            link(ca, old)
    assert AuditEvent.objects.get(action="ca:replacement_set").after == {
        "replaces": desk.old.fingerprint, "name": "Old"
    }  # fmt: skip


def test_hostnames_of_a_ca_that_is_gone_can_still_leave_it(desk: Desk) -> None:
    move_ca(by=SETUP, ca_id=desk.old.pk, target=CaState.GONE, action="ca:gone")
    release = create_request(
        by=desk.owner, kind="uncover", ca=desk.old, mode="verify", text="\n".join(NAMES), reason="x"
    )
    desk.approve(release)
    for zone in desk.zones.values():
        settling.settle_zone(by=WORKER, zone=zone, lists={}, enforced={})
    release.refresh_from_db()
    assert (release.state, Association.objects.count()) == ("done", 0)


def test_an_unknown_ca_has_no_rotation(desk: Desk) -> None:
    with pytest.raises(NotFound):
        request_overlap(by=desk.engineer, ca_id=uuid.uuid4(), reason="x")
    desk.upload(live=False)
    with pytest.raises(Conflict, match="New is queued"):
        request_overlap(by=desk.engineer, ca_id=desk.old.pk, reason="x")
