"""One run for one account against a real stand-in, over a line that loses, delays and spoils answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.db.models.functions import Now
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import slots_of
from apps.authorities.services import admit_ca, delete_ca, retry_ca
from apps.errors import Conflict
from apps.inventory.models import Account, EdgeCertificate, Zone
from apps.inventory.services import replace_token, set_mode
from apps.outbox.models import OutboxEntry
from apps.reconcile.accounts import run_account
from apps.reconcile.faults import PARK_AFTER_ATTEMPTS
from apps.reconcile.services import plan_waiting_requests, submit_request
from tests.certs import make_ca as make_certificate
from tests.factories import SETUP
from tests.integration.account_desk import CERTIFICATES, Desk, actions, state, without

pytestmark = pytest.mark.django_db


def test_an_admitted_ca_arrives_and_is_told_in_order(desk: Desk) -> None:
    ca = desk.arrived()
    assert actions(ca) == ["ca:admitted", "ca:push_started", "ca:upload_sent", "ca:live"]
    assert desk.at_edge(ca)[0]["id"] == ca.cloudflare_id
    assert [holder.label for holder in slots_of(desk.account).holders] == ["Legacy Partners Root 2023", "Partners"]


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_to_an_upload_is_resolved_by_reading_and_burns_one_slot(desk: Desk, applied: bool) -> None:
    ca = desk.admit()
    lose = desk.proxy.lose_answer if applied else desk.proxy.lose_request
    lose("POST", CERTIFICATES)
    desk.run()
    # The run reads again after the write, so an upload that was applied is found at once.
    assert state(ca) == ("live" if applied else "pushing")
    assert "ca:answer_lost" in actions(ca)
    desk.run()
    assert desk.proxy.count("POST", CERTIFICATES) == 1, "nothing is sent again before the list had time to show it"
    desk.run_later(ca)
    assert state(ca) == "live"
    assert (len(desk.at_edge(ca)), len(desk.uploads())) == (1, 1)


@pytest.mark.parametrize("status", [500, 502, 504, 520])
def test_a_server_fault_on_an_upload_is_unknown_and_not_failed(desk: Desk, status: int) -> None:
    ca = desk.admit()
    desk.proxy.answer("POST", CERTIFICATES, status, b"<html><script>alert(1)</script></html>")
    desk.run()
    assert state(ca) == "pushing"
    assert "script" not in ca.state_reason
    desk.run_later(ca)
    assert (state(ca), len(desk.at_edge(ca))) == ("live", 1)


def test_a_lost_answer_and_a_listing_that_lags_burn_one_slot(desk: Desk) -> None:
    ca = desk.admit()
    desk.proxy.lose_answer("POST", CERTIFICATES)
    desk.proxy.change("GET", CERTIFICATES, without(ca.name))
    for _ in range(3):
        desk.run()
    assert (state(ca), len(desk.uploads())) == ("pushing", 1)
    # The lag outlasts the wait: a second POST is answered 1471 and changes nothing.
    desk.run_later(ca)
    assert (state(ca), [r["status"] for r in desk.uploads()]) == ("pushing", [200, 400])
    assert "1471" in ca.state_reason
    desk.proxy.clear()
    desk.run()
    assert (state(ca), len(desk.at_edge(ca)), ca.state_reason) == ("live", 1, "")


def test_uploads_whose_answers_are_lost_again_and_again_end_with_a_reason_and_a_retry(desk: Desk) -> None:
    ca = desk.admit()
    desk.proxy.lose_request("POST", CERTIFICATES, times=-1)
    for _ in range(20):
        desk.run_later(ca)
    assert (state(ca), desk.proxy.count("POST", CERTIFICATES)) == ("failed", 8)
    assert "no usable answer 8 times" in ca.state_reason
    desk.proxy.clear()
    retry_ca(by=desk.engineer, ca_id=ca.pk)
    desk.run()
    assert state(ca) == "live"


def test_a_ca_given_up_is_adopted_when_it_turns_up_after_all(desk: Desk) -> None:
    ca = desk.admit()
    desk.proxy.lose_answer("POST", CERTIFICATES)
    desk.proxy.change("GET", CERTIFICATES, without(ca.name))
    for _ in range(12):
        desk.run_later(ca)
    assert (state(ca), len(desk.at_edge(ca))) == ("failed", 1)
    desk.proxy.clear()
    desk.run()
    assert (state(ca), len(desk.at_edge(ca))) == ("live", 1)


def test_a_certificate_that_somebody_else_uploaded_is_adopted_by_its_bytes_without_a_write(desk: Desk) -> None:
    made = make_certificate("Outside")
    url = f"{desk.edge.base_url}/accounts/{desk.edge.account_id}{CERTIFICATES}"
    body = {"ca": True, "name": "their name", "certificates": made.pem}
    answer = httpx.post(url, json=body, headers={"Authorization": f"Bearer {desk.edge.token}"}, trust_env=False)
    ca = admit_ca(by=desk.engineer, account=desk.account, name="Our name", data=made.der)
    desk.run()
    assert (state(ca), ca.cloudflare_id) == ("live", answer.json()["result"]["id"])
    assert desk.proxy.count("POST", CERTIFICATES) == 0


def test_1471_for_bytes_that_are_no_ca_of_the_account_ends_with_what_to_do(desk: Desk) -> None:
    ca = desk.admit()
    refused = b'{"success": false, "errors": [{"code": 1471, "message": "This certificate already exists"}]}'
    desk.proxy.answer("POST", CERTIFICATES, 400, refused, times=-1)
    for _ in range(10):
        desk.run_later(ca)
    assert state(ca) == "failed"
    assert "does not list it as a CA" in ca.state_reason


def test_a_new_row_that_the_listing_lacks_does_not_make_the_ca_gone_nor_its_slot_free(desk: Desk) -> None:
    ca = desk.arrived()
    desk.proxy.change("GET", CERTIFICATES, without(ca.name))
    CertificateAuthority.objects.filter(pk=ca.pk).update(live_at=timezone.now() - timedelta(minutes=5))
    for _ in range(3):
        desk.run()
    assert (state(ca), slots_of(desk.account).used) == ("live", 2)
    assert EdgeCertificate.objects.filter(cloudflare_id=ca.cloudflare_id).exists(), "zones keep reading its lists"
    assert len(desk.uploads()) == 1


def test_1489_becomes_plain_words_a_fresh_count_and_a_retry(desk: Desk) -> None:
    ca = desk.admit()
    desk.run()
    second = desk.admit("Second")
    desk.edge.switch(quota=2)
    reads = desk.proxy.count("GET", CERTIFICATES)
    desk.run()
    assert state(second) == "failed"
    assert "no free CA slot in this account (1489)" in second.state_reason
    assert f"It holds 2: Legacy Partners Root 2023 (uploaded outside), {ca.name}." in second.state_reason
    assert "counts with 5 slots" in second.state_reason
    assert desk.proxy.count("GET", CERTIFICATES) >= reads + 2, "the account's list is read again after the refusal"
    assert slots_of(desk.account).used == 2, "the reservation is released"
    desk.run()
    assert desk.proxy.count("POST", CERTIFICATES) == 2, "a permanent refusal is not repeated"
    desk.edge.switch(quota=5)
    retry_ca(by=desk.engineer, ca_id=second.pk)
    desk.run()
    assert state(second) == "live"


def test_1489_ends_the_upload_even_when_the_account_cannot_be_read_again(desk: Desk) -> None:
    ca = desk.admit()
    desk.edge.switch(quota=1)
    refusals = iter([False, True])
    desk.proxy.change("GET", CERTIFICATES, lambda d: d if not next(refusals, True) else {"success": True}, times=2)
    desk.run(well=False)
    assert state(ca) == "failed"


def test_a_retry_needs_a_free_slot_like_a_new_upload(desk: Desk) -> None:
    desk.edge.switch(quota=1)
    ca = desk.admit()
    desk.run()
    Account.objects.update(slot_limit=1)
    with pytest.raises(Conflict, match=r"All 1 slots are used.*Legacy Partners Root 2023 \(uploaded outside\)"):
        retry_ca(by=desk.engineer, ca_id=ca.pk)


def test_another_certificate_in_the_answer_is_never_taken_for_ours(desk: Desk) -> None:
    ca, other = desk.admit(), make_certificate("Other").pem

    def swap(document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "result": {**document["result"], "certificates": other}}

    desk.proxy.change("POST", CERTIFICATES, swap, times=1)
    desk.proxy.change("GET", CERTIFICATES, without(ca.name))
    desk.run()
    assert state(ca) == "failed"
    assert "another certificate" in ca.state_reason


def test_a_refused_certificate_fails_once_and_a_broken_token_stops_the_run(desk: Desk) -> None:
    ca = desk.admit()
    refused = b'{"success": false, "errors": [{"code": 1470, "message": "Unable to parse certificate"}]}'
    desk.proxy.answer("POST", CERTIFICATES, 400, refused)
    desk.run()
    assert (state(ca), "Unable to parse" in ca.state_reason) == ("failed", True)
    retry_ca(by=desk.engineer, ca_id=ca.pk)
    denied = b'{"success": false, "errors": [{"code": 10000, "message": "Authentication error"}]}'
    desk.proxy.answer("POST", CERTIFICATES, 403, denied)
    desk.run(well=False)
    assert (state(ca), Account.objects.get().token_state) == ("pushing", "broken")
    replace_token(by=SETUP, account_id=desk.account.pk, token=desk.edge.token)
    desk.run()
    assert (state(ca), Account.objects.get().token_state) == ("live", "working")


@pytest.mark.parametrize("deleting", [False, True])
@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_may_not_write_uses_up_no_attempt_and_is_not_tried_again_and_again(
    desk: Desk, status: int, deleting: bool
) -> None:
    ca = desk.arrived() if deleting else desk.admit()
    if deleting:
        delete_ca(by=desk.engineer, ca_id=ca.pk, reason="Replaced")
    method, path = ("DELETE" if deleting else "POST"), CERTIFICATES
    began, done = ("deleting", "deleted") if deleting else ("pushing", "live")
    denied = b'{"success": false, "errors": [{"code": 10000, "message": "Authentication error"}]}'
    desk.proxy.answer(method, path, status, denied, times=-1)
    since = desk.proxy.count(method, path)
    desk.run(well=False)
    for _ in range(12):
        desk.run()
    assert desk.proxy.count(method, path) - since == 1
    assert (state(ca), ca.write_attempts, ca.write_sent_at) == (began, 0, None)
    assert "another token, or in an hour" in ca.state_reason
    assert Account.objects.get().token_state == "broken", "although it reads"
    for hours in range(9):
        Account.objects.update(ca_writes_refused_at=timezone.now() - timedelta(hours=1))
        desk.run(well=False)
        assert (state(ca), desk.proxy.count(method, path) - since) == (began, 2 + hours)
    desk.proxy.clear()
    desk.run()
    assert state(ca) == began
    replace_token(by=SETUP, account_id=desk.account.pk, token=desk.edge.token)
    Account.objects.update(scope_checked_at=timezone.now())
    desk.run_later(ca)
    assert (state(ca), Account.objects.get().token_state) == (done, "working")


def test_a_token_that_may_write_after_all_is_found_out_within_an_hour(desk: Desk) -> None:
    ca = desk.admit()
    denied = b'{"success": false, "errors": [{"code": 10000, "message": "Authentication error"}]}'
    desk.proxy.answer("POST", CERTIFICATES, 403, denied)
    desk.run(well=False)
    Account.objects.update(ca_writes_refused_at=timezone.now() - timedelta(hours=1))
    desk.run()
    assert (state(ca), Account.objects.get().token_state) == ("live", "working")


def test_a_refused_token_is_read_with_for_ever(desk: Desk) -> None:
    desk.proxy.answer("GET", CERTIFICATES, 403, b'{"success": false, "errors": [{"code": 10000}]}', times=-1)
    for _ in range(30):
        desk.run(well=False)
        OutboxEntry.objects.update(due_at=Now())
    entry = OutboxEntry.objects.get(kind="account")
    assert (entry.attempts, entry.parked_at) == (0, None)


def test_no_connection_is_no_lost_answer_and_is_tried_again_without_a_wait(desk: Desk) -> None:
    ca = desk.admit()
    desk.proxy.close_after("GET", CERTIFICATES)
    desk.run(well=False)
    assert (state(ca), ca.write_sent_at) == ("pushing", None)
    desk.proxy.open()
    desk.run()
    assert (state(ca), len(desk.uploads())) == ("live", 1)


def test_closing_the_account_stops_the_next_write(desk: Desk) -> None:
    ca = desk.admit()
    set_mode(by=SETUP, account_id=desk.account.pk, mode="read_only")
    desk.run()
    assert (state(ca), desk.proxy.count("POST", CERTIFICATES)) == ("queued", 0)


def test_a_ca_deleted_outside_is_gone_is_not_created_again_and_comes_back_when_it_does(desk: Desk) -> None:
    ca = desk.arrived()
    url = f"{desk.edge.base_url}/accounts/{desk.edge.account_id}{CERTIFICATES}/{ca.cloudflare_id}"
    httpx.delete(url, headers={"Authorization": f"Bearer {desk.edge.token}"}, trust_env=False).raise_for_status()
    desk.run()
    assert state(ca) == "live", "just uploaded: the edge may lag"
    CertificateAuthority.objects.filter(pk=ca.pk).update(live_at=timezone.now() - timedelta(minutes=1))
    OutboxEntry.objects.filter(kind="zone").update(wanted=0)
    desk.run()
    assert state(ca) == "gone"
    assert "no longer has this CA" in ca.state_reason
    assert slots_of(desk.account).used == 1
    desk.run()
    assert len(desk.uploads()) == 1


def test_no_plan_is_built_while_the_lists_of_a_new_ca_cannot_be_read(desk: Desk) -> None:
    ca = desk.arrived()
    # As when neither the listing nor the certificate itself shows a CA that was just uploaded.
    EdgeCertificate.objects.filter(cloudflare_id=ca.cloudflare_id).delete()
    asked = {"kind": "cover", "mode": "verify", "hostnames": ["api.northwind.example"], "reason": "Launch"}
    request = submit_request(by=desk.engineer, ca=ca, **asked)
    assert (request.state, request.plans.count()) == ("planning", 0)
    desk.run()
    plan_waiting_requests(desk.account.pk)
    request.refresh_from_db()
    assert request.state == "waiting"
    (zone,) = request.plans.get().document["zones"]
    assert zone["lists"][0]["adds"] == ["api.northwind.example"]


def test_an_edge_that_is_down_for_long_is_read_again_by_itself(desk: Desk) -> None:
    ca = desk.admit()
    desk.edge.switch(down=True)
    for _ in range(PARK_AFTER_ATTEMPTS * 2 + 3):
        OutboxEntry.objects.filter(kind="account").update(due_at=timezone.now() - timedelta(minutes=1))
        run_account(desk.account.pk)
    entry = OutboxEntry.objects.get(kind="account")
    assert (entry.parked_at, Account.objects.get().failing_since is not None) == (None, True)
    desk.edge.switch(down=False)
    OutboxEntry.objects.filter(kind="account").update(due_at=timezone.now() - timedelta(minutes=1))
    run_account(desk.account.pk)
    assert (state(ca), Account.objects.get().failing_since) == ("live", None)


def test_an_account_of_more_pages_than_one_moment_allows_is_listed(desk: Desk) -> None:
    Account.objects.update(call_limit=60, call_share_percent=100)
    desk.edge.seed(*[f"page{number:03}.example" for number in range(130)])
    desk.run()
    assert Zone.objects.count() > 130
