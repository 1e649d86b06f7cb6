"""A CA is admitted once, into a free slot, and leaves when nothing needs it."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from structlog.testing import capture_logs

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import ca_by_id, inspect_upload, slots_of
from apps.authorities.services import admit_ca, begin_write, delete_ca, end_write, move_ca, retry_ca
from apps.authorities.states import CaState
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.permissions import Role
from apps.inventory.models import EdgeCertificate
from apps.outbox.models import OutboxEntry
from tests.certs import make_ca as make_certificate
from tests.certs import make_leaf
from tests.factories import SETUP, actor, at_edge, make_account, make_ca, make_live

pytestmark = pytest.mark.django_db


def admit(account, data, *, name="Partners", by=None, **more):  # type: ignore[no-untyped-def]
    return admit_ca(by=by or actor(Role.ENGINEER), account=account, name=name, data=data, **more)


def problems(refused: pytest.ExceptionInfo[Invalid]) -> dict[str, list[str]]:
    return refused.value.details


def test_a_good_root_is_stored_and_made_due() -> None:
    account, made = make_account(), make_certificate("Partners Root")
    OutboxEntry.objects.all().delete()
    ca = admit(account, made.pem, client_issuers="self", reason="Partners")
    assert (ca.state, ca.fingerprint, ca.pem) == ("queued", made.fingerprint, made.pem)
    assert ca.issuer_skis == frozenset({ca.ski})
    assert OutboxEntry.objects.get().subject_id == account.pk
    event = AuditEvent.objects.get(action="ca:admitted")
    assert event.after and event.after["client_issuers"] == "self"


def test_unknown_issuers_pin_nothing() -> None:
    ca = admit(make_account(), make_certificate("Root").pem)
    assert ca.issuer_skis is None
    event = AuditEvent.objects.get(action="ca:admitted")
    assert event.after and event.after["client_issuers"] == "not known"


def test_only_engineers_upload() -> None:
    with pytest.raises(Forbidden):
        admit(make_account(), make_certificate("Root").pem, by=actor(Role.OWNER))


def test_leaf_key_and_garbage_are_refused_and_nothing_is_stored() -> None:
    account, made = make_account(), make_certificate("Root")
    leaf = make_leaf("client", issuer=made)
    key = "-----BEGIN PRIVATE KEY-----\nMIIEcanary\n-----END PRIVATE KEY-----\n"
    for data in (leaf.pem, made.pem + key, "nothing like a certificate"):
        with pytest.raises(Invalid) as refused:
            admit(account, data)
        assert problems(refused)["pem"]
        assert "canary" not in str(problems(refused))
    assert not CertificateAuthority.objects.exists()
    assert not AuditEvent.objects.filter(action__startswith="ca:").exists()


def test_of_several_certificates_only_the_chosen_one_goes_up() -> None:
    account, made = make_account(), make_certificate("Root")
    below = make_certificate("Issuing", issuer=made)
    with pytest.raises(Invalid) as refused:
        admit(account, made.pem + below.pem)
    assert problems(refused)["choose"] == [
        "The upload holds 2 certificates: 1 root, 1 intermediate. Choose the one that goes up."
    ]
    with pytest.raises(Invalid) as refused:
        admit(account, made.pem + below.pem, choose="0" * 64)
    assert "not in the upload" in problems(refused)["choose"][0]
    assert not CertificateAuthority.objects.exists()
    ca = admit(account, made.pem + below.pem, choose=below.fingerprint)
    assert (ca.fingerprint, ca.pem) == (below.fingerprint, below.pem)
    event = AuditEvent.objects.get(action="ca:admitted")
    assert event.after and event.after["chosen_among"] == 2


def test_each_of_several_is_held_against_the_cas_that_are_here() -> None:
    account, made = make_account(), make_certificate("Root")
    ca = admit(account, made.pem)
    seen = inspect_upload(account=account, data=made.pem + make_certificate("Other").pem, name="", now=timezone.now())
    assert seen.waits_for_choice
    assert (seen.known, len(seen.certificates), seen.certificate) == ({made.fingerprint: ca}, 2, None)
    none = inspect_upload(account=account, data=made.pem * 2, name="", now=timezone.now())
    assert not none.waits_for_choice


def test_an_expired_ca_needs_an_explicit_option_and_is_recorded_as_such() -> None:
    account, now = make_account(), timezone.now()
    old = make_certificate("Old", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    with pytest.raises(Invalid) as refused:
        admit(account, old.pem)
    assert "It expired on" in problems(refused)["pem"][0]
    ca = admit(account, old.pem, accept_expired=True)
    assert "valid_now" in [finding["check"] for finding in ca.findings]
    event = AuditEvent.objects.get(action="ca:admitted")
    assert event.after and (event.after["expired_accepted"], event.after["chosen_among"]) == (True, 1)


def test_the_arrival_of_a_private_key_is_logged_without_a_byte_of_it() -> None:
    account, made = make_account(), make_certificate("Root")
    with capture_logs() as logs:
        seen = inspect_upload(account=account, data=made.pem + made.key_pem, name="", now=timezone.now())
    assert seen.holds_private_key
    assert [(row["event"], row["account"]) for row in logs] == [("private_key_refused", str(account.pk))]
    assert made.key_pem.splitlines()[1] not in str(logs)


def test_a_private_key_in_the_name_or_the_reason_is_refused_too() -> None:
    account, made = make_account(), make_certificate("Root")
    with pytest.raises(Invalid) as refused:
        admit(account, made.pem, name=made.key_pem[:100], reason=made.key_pem)
    assert {field: words[0].split(".")[0] for field, words in problems(refused).items()} == {
        "name": "That holds a private key",
        "reason": "That holds a private key",
    }
    assert made.key_pem.splitlines()[1] not in str(problems(refused))


def test_text_that_no_database_stores_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        admit(make_account(), make_certificate("Root").pem, name="a\0b", reason="c\0d")
    assert set(problems(refused)) == {"name", "reason"}


def test_the_name_and_the_issuers_are_checked_together_with_the_certificate() -> None:
    account, made = make_account(), make_certificate("Root")
    with pytest.raises(Invalid) as refused:
        admit(account, "garbage", name=" ", client_issuers="sub")
    assert set(problems(refused)) == {"pem", "name", "client_issuers"}
    with pytest.raises(Invalid) as refused:
        admit(account, made.pem, name="n" * 121)
    assert "120" in problems(refused)["name"][0]
    with pytest.raises(Invalid) as refused:
        admit(account, make_certificate("No SKI", ski=False).pem, client_issuers="self")
    assert "Subject Key Identifier" in problems(refused)["client_issuers"][0]


def test_the_same_certificate_or_name_is_refused_a_second_time() -> None:
    account, made = make_account(), make_certificate("Root")
    admit(account, made.pem, name="Partners")
    with pytest.raises(Invalid) as refused:
        admit(account, made.der, name="Partners")
    assert "Already uploaded as Partners" in problems(refused)["pem"][0]
    assert "taken" in problems(refused)["name"][0]


def test_the_sixth_ca_is_refused_before_any_call_and_names_the_holders() -> None:
    account = make_account()
    for number in range(5):
        make_ca(account, name=f"Root {number}", live=number < 3)
    assert (slots_of(account).used, slots_of(account).free) == (5, 0)
    with pytest.raises(Invalid) as refused:
        admit(account, make_certificate("Sixth").pem)
    assert "All 5 slots are used" in problems(refused)["pem"][0]
    assert "Root 0" in problems(refused)["pem"][0]


def test_slots_count_what_others_uploaded_but_no_leaf_and_no_managed_row() -> None:
    account = make_account()
    rows = [("custom", True), ("custom", False), ("access_managed", True)]
    for number, (kind, is_ca) in enumerate(rows):
        EdgeCertificate.objects.create(account=account, cloudflare_id=f"id-{number}", kind=kind, is_ca=is_ca)
    ledger = slots_of(account)
    assert [(holder.label, holder.state) for holder in ledger.holders] == [("id-0", "unexpected")]


def test_an_upload_that_the_account_holds_already_takes_over_its_slot() -> None:
    account, made = make_account(slot_limit=1), make_certificate("Root")
    EdgeCertificate.objects.create(account=account, cloudflare_id="id-1", fingerprint=made.fingerprint)
    assert admit(account, made.pem).state == "queued"
    assert slots_of(account).used == 1


def test_a_certificate_with_the_same_key_is_a_caution_that_travels_with_it() -> None:
    account, made = make_account(), make_certificate("Root")
    admit(account, made.pem, name="First")
    again = make_certificate("Root", key=made.key)
    ca = admit(account, again.pem, name="Second")
    assert "same_key" in [finding["check"] for finding in ca.findings]


def test_a_stored_certificate_that_cannot_be_read_keeps_nobody_from_uploading() -> None:
    account = make_account()
    first = admit(account, make_certificate("Old").pem, name="Old")
    CertificateAuthority.objects.filter(pk=first.pk).update(pem="")
    assert inspect_upload(account=account, data=make_certificate("New").pem, name="", now=timezone.now()).chosen


def test_hostnames_are_counted_over_all_zones() -> None:
    account = make_account()
    ca = make_ca(account)
    for zone in account.zones.all():
        at_edge(ca, zone, f"a.{zone.name}", f"b.{zone.name}")
    assert slots_of(account).holders[0].hostnames == 6


def test_inspecting_stores_nothing_and_says_which_slot_it_would_take() -> None:
    from django.utils import timezone

    account, made = make_account(), make_certificate("Root")
    seen = inspect_upload(account=account, data=made.pem, name="", now=timezone.now())
    assert seen.verdict in {"accept", "caution"}
    assert seen.certificate and seen.certificate.fingerprint == made.fingerprint
    assert any("slot 1 of 5" in finding.detail for finding in seen.findings)
    assert not CertificateAuthority.objects.exists()


def test_a_ca_is_found_by_either_id() -> None:
    ca = make_ca(make_account())
    assert ca_by_id(ca.pk) == ca == ca_by_id(ca.cloudflare_id)
    for unknown in ("", "nonsense", uuid.uuid4()):
        with pytest.raises(NotFound):
            ca_by_id(unknown)


def test_a_failed_upload_is_retried_and_an_illegal_move_is_refused() -> None:
    ca = make_ca(make_account(), live=False)
    engineer = actor(Role.ENGINEER)
    with pytest.raises(Conflict):
        retry_ca(by=engineer, ca_id=ca.pk)
    move_ca(by=SETUP, ca_id=ca.pk, target=CaState.FAILED, action="ca:push_failed", why="no slot")
    assert retry_ca(by=engineer, ca_id=ca.pk).state == "queued"
    with pytest.raises(NotFound):
        retry_ca(by=engineer, ca_id=uuid.uuid4())


def test_deleting_needs_the_name_a_reason_and_the_right() -> None:
    ca = make_live(make_ca(make_account(), name="Partners", live=False))
    engineer = actor(Role.ENGINEER)
    with pytest.raises(Forbidden):
        delete_ca(by=actor(Role.OWNER), ca_id=ca.pk, reason="x")
    with pytest.raises(Invalid, match="Type Partners"):
        delete_ca(by=engineer, ca_id=ca.pk, reason="x", confirm_name="partners")
    with pytest.raises(Invalid, match="Say why"):
        delete_ca(by=engineer, ca_id=ca.pk, reason=" ", confirm_name="Partners")
    assert delete_ca(by=engineer, ca_id=ca.pk, reason="Retired", confirm_name="Partners").state == "deleting"
    assert AuditEvent.objects.get(action="ca:deletion_requested").reason == "Retired"


def test_a_ca_that_never_reached_the_edge_ends_at_once() -> None:
    ca = make_ca(make_account(), live=False)
    gone = delete_ca(by=actor(Role.ENGINEER), ca_id=ca.pk, reason="Wrong file")
    assert (gone.state, gone.deleted_at is not None) == ("deleted", True)
    assert CertificateAuthority.objects.filter(pk=ca.pk).exists()


def test_a_retry_takes_a_slot_only_when_one_is_free() -> None:
    account = make_account(slot_limit=1)
    ca = make_ca(account, live=False)
    move_ca(by=SETUP, ca_id=ca.pk, target=CaState.FAILED, action="ca:push_failed", why="no slot")
    make_ca(account, name="Taken")
    with pytest.raises(Conflict, match=r"All 1 slots are used.*Held by: Taken"):
        retry_ca(by=actor(Role.ENGINEER), ca_id=ca.pk)


def test_a_ca_that_the_listing_does_not_show_keeps_its_slot() -> None:
    account = make_account(slot_limit=1)
    ca = make_ca(account, name="Just arrived")
    EdgeCertificate.objects.all().delete()
    assert [(holder.label, holder.edge) for holder in slots_of(account).holders] == [("Just arrived", None)]
    delete_ca(by=actor(Role.ENGINEER), ca_id=ca.pk, reason="x")
    assert slots_of(account).free == 0
    move_ca(by=SETUP, ca_id=ca.pk, target=CaState.DELETED, action="ca:deleted")
    assert (slots_of(account).free, slots_of(account).labels) == (1, "nobody")


def test_what_is_known_of_a_write_is_kept_until_the_state_moves() -> None:
    ca = make_ca(make_account(), live=False)
    move_ca(by=SETUP, ca_id=ca.pk, target=CaState.PUSHING, action="ca:push_started")
    begin_write(by=SETUP, ca_id=ca.pk)
    end_write(by=SETUP, ca_id=ca.pk, why="lost", unknown=True)
    ca.refresh_from_db()
    assert (ca.write_attempts, ca.write_sent_at is not None, ca.state_reason) == (1, True, "lost")
    begin_write(by=SETUP, ca_id=ca.pk)
    end_write(by=SETUP, ca_id=ca.pk, why="refused", unknown=False)
    ca.refresh_from_db()
    assert (ca.write_attempts, ca.write_sent_at) == (2, None)
    events = AuditEvent.objects.filter(subject_id=str(ca.pk)).order_by("seq").values_list("action", flat=True)
    assert list(events)[2:] == ["ca:upload_sent", "ca:answer_lost", "ca:upload_sent", "ca:write_refused"]
    begin_write(by=SETUP, ca_id=ca.pk)
    end_write(by=SETUP, ca_id=ca.pk, why="later", unknown=False, attempted=False, held_back=True)
    ca.refresh_from_db()
    assert (ca.write_attempts, ca.write_sent_at, ca.state_reason) == (2, None, "later"), "held back is no attempt"
    assert AuditEvent.objects.filter(subject_id=str(ca.pk)).latest("seq").action == "ca:write_held_back"
    ca = move_ca(by=SETUP, ca_id=ca.pk, target=CaState.FAILED, action="ca:push_failed", why="no")
    assert ca.write_attempts == 0
