"""Accounts, their tokens at rest, and what a complete listing changes."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import pytest
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.cloudflare.certificates import Certificate
from apps.cloudflare.zones import Zone as ZoneRecord
from apps.errors import Forbidden, Invalid, NotFound
from apps.identity.permissions import Role
from apps.inventory.credentials import CredentialUnreadable, decrypt, encrypt
from apps.inventory.models import Account, EdgeCertificate, TokenKind, Zone
from apps.inventory.selectors import account_by_id, accounts, base_url_of, token_of, zones_of
from apps.inventory.services import (
    add_account,
    replace_token,
    set_mode,
    set_slot_limit,
    store_account_failure,
    store_account_read,
    store_ca_write_refusal,
    store_token_state,
    store_zone_failure,
    store_zone_write_refusal,
)
from apps.outbox.models import OutboxEntry
from tests.factories import SETUP, actor, make_account

pytestmark = pytest.mark.django_db
ID = "a" * 32


def key(name: str) -> str:
    return f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def test_a_token_decrypts_for_its_own_row_only() -> None:
    sealed = encrypt("secret-token", bound_to="account:1")
    assert "secret-token" not in sealed
    assert decrypt(sealed, bound_to="account:1") == "secret-token"
    with pytest.raises(CredentialUnreadable):
        decrypt(sealed, bound_to="account:2")


@pytest.mark.parametrize("stored", ["", "v1:k1:x", "v2:k1:AAAA:AAAA", "v1:other:AAAA:AAAA", "v1:k1:A:A"])
def test_a_damaged_value_is_refused_with_what_to_do(stored: str) -> None:
    with pytest.raises(CredentialUnreadable, match="BYOCA_ENCRYPTION_KEYS"):
        decrypt(stored, bound_to="account:1")


def test_a_rotated_key_still_opens_what_the_old_one_sealed(settings: Any) -> None:
    old, new = key("k1"), key("k2")
    settings.BYOCA_ENCRYPTION_KEYS = [old]
    sealed = encrypt("secret-token", bound_to="account:1")
    settings.BYOCA_ENCRYPTION_KEYS = [new, old]
    assert decrypt(sealed, bound_to="account:1") == "secret-token"
    assert encrypt("x", bound_to="account:1").startswith("v1:k2:")
    settings.BYOCA_ENCRYPTION_KEYS = [new]
    with pytest.raises(CredentialUnreadable):
        decrypt(sealed, bound_to="account:1")


def test_adding_an_account_names_every_problem_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        add_account(by=SETUP, name=" ", cloudflare_id="xyz", token="", mode="wild")
    assert set(refused.value.details) == {"name", "cloudflare_id", "token", "mode"}
    account = add_account(by=actor(Role.ADMIN), name="Main", cloudflare_id=ID, token="secret-token")
    assert (account.mode, token_of(account)) == ("read_only", "secret-token")
    assert OutboxEntry.objects.get().subject_id == account.pk
    assert "secret-token" not in str(AuditEvent.objects.values_list("after", flat=True))
    with pytest.raises(Invalid, match="not added"):
        add_account(by=SETUP, name="Again", cloudflare_id=ID, token="t")


def test_only_administrators_touch_accounts() -> None:
    account = make_account()
    engineer = actor(Role.ENGINEER)
    with pytest.raises(Forbidden):
        add_account(by=engineer, name="x", cloudflare_id=ID, token="t")
    with pytest.raises(Forbidden):
        replace_token(by=engineer, account_id=account.pk, token="t")
    with pytest.raises(Forbidden):
        set_mode(by=engineer, account_id=account.pk, mode="read_only")


def test_another_token_makes_everything_due_again() -> None:
    account = make_account()
    store_account_failure(account=account, error="refused", refused=TokenKind.WRITE)
    OutboxEntry.objects.all().delete()
    with pytest.raises(Invalid):
        replace_token(by=SETUP, account_id=account.pk, token=" ")
    account = replace_token(by=actor(Role.ADMIN), account_id=account.pk, token="fresh")
    assert (account.token_state, token_of(account)) == ("unknown", "fresh")
    assert OutboxEntry.objects.count() == 1 + account.zones.count()


def test_a_refusal_of_the_token_before_says_nothing_of_the_one_that_replaced_it() -> None:
    account = make_account()
    replace_token(by=SETUP, account_id=account.pk, token="fresh")
    store_ca_write_refusal(account=account, at=timezone.now())
    assert account.ca_writes_refused_at is None
    account = Account.objects.get()
    assert account.ca_writes_refused_at is None
    store_ca_write_refusal(account=account, at=timezone.now())
    assert Account.objects.get().ca_writes_refused_at == account.ca_writes_refused_at
    assert account.ca_writes_refused_at is not None


def test_a_refusal_in_a_zone_is_the_tokens_until_it_is_replaced_or_the_zone_is_gone() -> None:
    account = make_account()
    zone, gone = account.zones.order_by("name")[:2]

    def state() -> str:
        account = Account.objects.get()
        store_token_state(account=account, kind=TokenKind.WRITE, works=True)
        return account.token_state

    store_zone_write_refusal(zone=gone, at=timezone.now())
    assert state() == "broken", "that it reads says nothing"
    Zone.objects.filter(pk=gone.pk).update(vanished_at=timezone.now())
    assert state() == "working"
    store_zone_write_refusal(zone=zone, at=timezone.now())
    assert state() == "broken"
    replace_token(by=SETUP, account_id=account.pk, token="fresh")
    assert state() == "working"
    store_zone_write_refusal(zone=zone, at=timezone.now())
    zone.refresh_from_db()
    assert zone.writes_refused_at is None, "it was the token before"


def test_the_mode_is_set_and_told() -> None:
    account = make_account()
    with pytest.raises(Invalid):
        set_mode(by=SETUP, account_id=account.pk, mode="wild")
    set_mode(by=actor(Role.ADMIN), account_id=account.pk, mode="read_only")
    event = AuditEvent.objects.get(action="account:mode_set")
    assert (event.before, event.after) == ({"mode": "read_write"}, {"mode": "read_only"})


def zone_record(number: int, name: str) -> ZoneRecord:
    return ZoneRecord(id=f"{number:032x}", name=name, status="active", paused=False, account_id=ID, plan="")


def certificate_record(number: int) -> Certificate:
    return Certificate(
        id=f"00000000-0000-4000-8000-{number:012x}", name=None, ca=True, type="custom", pem="", issuer="",
        serial_number="1", signature="", expires_on=None, uploaded_on=None, fingerprints=(),
    )  # fmt: skip


def read(account: Account, zones: list[ZoneRecord], certificates: list[Certificate]) -> list[Zone]:
    return store_account_read(by=SETUP, account=account, zones=zones, certificates=certificates)


def test_a_listing_adds_marks_and_brings_back_zones() -> None:
    account = make_account(zones=())
    one, two = zone_record(901, "one.example"), zone_record(902, "two.example")
    assert [zone.name for zone in read(account, [one, two], [])] == ["one.example", "two.example"]
    assert read(account, [one, two], []) == []
    read(account, [one], [])
    assert [zone.name for zone in zones_of(account)] == ["one.example"]
    assert AuditEvent.objects.get(action="zone:vanished").zone == "two.example"
    read(account, [one], [])
    assert AuditEvent.objects.filter(action="zone:vanished").count() == 1
    assert [zone.name for zone in read(account, [one, two], [])] == ["two.example"]


def test_an_empty_listing_proves_of_no_zone_that_it_is_gone() -> None:
    """It is also how Cloudflare answers a token that lost Zone Read."""
    account = make_account(zones=())
    read(account, [zone_record(901, "one.example")], [])
    assert read(account, [], []) == []
    assert [zone.name for zone in zones_of(account)] == ["one.example"]
    assert not AuditEvent.objects.filter(action="zone:vanished").exists()


def test_certificates_follow_the_listing_and_a_failure_keeps_the_last_read() -> None:
    account = make_account(zones=())
    read(account, [], [certificate_record(1), certificate_record(2)])
    read(account, [], [certificate_record(2)])
    row = EdgeCertificate.objects.get()
    assert str(row) == row.cloudflare_id
    assert row.takes_slot
    store_account_failure(account=account, error="no answer", refused=None)
    since = account.failing_since
    store_account_failure(account=account, error="no answer still", refused=None)
    assert account.failing_since == since
    assert (account.token_state, EdgeCertificate.objects.count()) == ("working", 1)


def test_a_zone_keeps_when_its_failure_began() -> None:
    zone = make_account().zones.first()
    assert zone
    store_zone_failure(zone=zone, error="one")
    zone.refresh_from_db()
    since = zone.failing_since
    store_zone_failure(zone=zone, error="two")
    zone.refresh_from_db()
    assert (zone.failing_since, zone.last_error) == (since, "two")


def test_an_account_is_found_by_either_id() -> None:
    account = make_account()
    assert account_by_id(account.pk) == account == account_by_id(account.cloudflare_id) == accounts().get()
    for unknown in ("nonsense", "0" * 32):
        with pytest.raises(NotFound):
            account_by_id(unknown)
    assert base_url_of(account).startswith("http")
    account.base_url = "https://edge.example/v4"
    assert base_url_of(account) == "https://edge.example/v4"


def test_an_admin_sets_the_slot_limit_with_a_reason() -> None:
    account, admin = make_account(), actor(Role.ADMIN)
    with pytest.raises(Forbidden):
        set_slot_limit(by=actor(Role.ENGINEER), account_id=account.pk, slot_limit=20, reason="Contract")
    for number in (-1, 1001):
        with pytest.raises(Invalid) as refused:
            set_slot_limit(by=admin, account_id=account.pk, slot_limit=number, reason=" ")
        assert set(refused.value.details) == {"slot_limit", "reason"}
    assert set_slot_limit(by=admin, account_id=account.pk, slot_limit=20, reason=" Contract 7 ").slot_limit == 20
    event = AuditEvent.objects.get(action="account:slot_limit_set")
    assert (event.reason, event.before, event.after) == ("Contract 7", {"slot_limit": 5}, {"slot_limit": 20})
