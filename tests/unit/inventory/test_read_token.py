"""The token that only reads: stored, shown, checked and removed."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.errors import Conflict, Forbidden, Invalid
from apps.identity.models import Person
from apps.identity.permissions import Role
from apps.identity.services import create_token
from apps.inventory.credentials import CredentialUnreadable
from apps.inventory.models import Account, TokenKind
from apps.inventory.selectors import token_of
from apps.inventory.services import replace_token, store_account_failure, store_token_state
from apps.inventory.token_check import TOKEN, ScopeResult, store_scope_check
from apps.inventory.token_services import remove_read_token, store_read_token
from apps.outbox.models import OutboxEntry
from tests.factories import SETUP, actor, make_account

pytestmark = pytest.mark.django_db
READ, WRITE = TokenKind.READ, TokenKind.WRITE


@pytest.fixture(autouse=True)
def _no_collected_files(settings: Any) -> None:
    """Static files come from the tree here, so nobody is told that they were not collected."""
    settings.WHITENOISE_AUTOREFRESH = True


def page_for(role: Role) -> Client:
    client = Client()
    person = actor(role).person
    assert isinstance(person, Person)
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def two_tokens() -> Account:
    return store_read_token(by=SETUP, account_id=make_account().pk, token="reading-token")


def actions() -> list[str]:
    events = AuditEvent.objects.filter(action__startswith="account:read_token").order_by("seq")
    return [event.action for event in events]


def test_it_is_stored_replaced_and_removed_and_everything_is_read_again_each_time() -> None:
    account = make_account()
    for token in ("reading-token", "another"):
        OutboxEntry.objects.all().delete()
        account = store_read_token(by=actor(Role.ADMIN), account_id=account.pk, token=f" {token} ")
        assert (token_of(account, READ), token_of(account)) == (token, f"token-{int(account.cloudflare_id, 16)}")
        assert OutboxEntry.objects.count() == 1 + account.zones.count()
        store_token_state(account=account, kind=READ, works=False)
    OutboxEntry.objects.all().delete()
    account = remove_read_token(by=actor(Role.ADMIN), account_id=account.pk)
    assert (account.token_kinds, account.read_token_encrypted, account.read_token_state) == ((WRITE,), "", "unknown")
    assert OutboxEntry.objects.count() == 1 + account.zones.count()
    assert actions() == [
        "account:read_token_stored", "account:read_token_replaced", "account:read_token_removed",
    ]  # fmt: skip
    assert "reading-token" not in str(list(AuditEvent.objects.values()))
    with pytest.raises(Conflict, match="has no read token"):
        remove_read_token(by=SETUP, account_id=account.pk)


def test_only_administrators_touch_it() -> None:
    account = two_tokens()
    with pytest.raises(Forbidden):
        store_read_token(by=actor(Role.ENGINEER), account_id=account.pk, token="t")
    with pytest.raises(Forbidden):
        remove_read_token(by=actor(Role.ENGINEER), account_id=account.pk)


def test_one_token_is_never_both() -> None:
    account = make_account()
    with pytest.raises(Invalid, match="the token that writes"):
        store_read_token(by=SETUP, account_id=account.pk, token=token_of(account))
    with pytest.raises(Invalid, match="may only read"):
        store_read_token(by=SETUP, account_id=account.pk, token=" ")
    account = store_read_token(by=SETUP, account_id=account.pk, token="reading-token")
    with pytest.raises(Invalid, match="the read token"):
        replace_token(by=SETUP, account_id=account.pk, token="reading-token")
    Account.objects.update(read_token_encrypted="unreadable")
    replace_token(by=SETUP, account_id=account.pk, token="reading-token")


def test_neither_can_be_put_in_the_other_s_place() -> None:
    account = two_tokens()
    account.token_encrypted, account.read_token_encrypted = account.read_token_encrypted, account.token_encrypted
    for kind in TokenKind:
        with pytest.raises(CredentialUnreadable):
            token_of(account, kind)


def test_what_is_known_of_a_token_says_nothing_of_the_one_that_replaced_it() -> None:
    before = two_tokens()
    store_read_token(by=SETUP, account_id=before.pk, token="another")
    store_token_state(account=before, kind=READ, works=False)
    store_scope_check(by=SETUP, account=before, results=[ScopeResult(TOKEN, "failed", "Refused.")], kind=READ)
    account = Account.objects.get()
    assert (account.read_token_state, account.read_scope_check) == ("unknown", [])
    assert "account:read_token_checked" not in actions()


def test_a_check_tells_whether_the_token_works_unless_there_was_no_answer() -> None:
    account = two_tokens()
    for result, state in (("unknown", "unknown"), ("failed", "broken"), ("passed", "working")):
        store_scope_check(by=SETUP, account=account, results=[ScopeResult(TOKEN, result, "x")], kind=READ)
        assert (Account.objects.get().read_token_state, Account.objects.get().token_state) == (state, "unknown")
    Account.objects.update(ca_writes_refused_at=timezone.now())
    account.refresh_from_db()
    store_scope_check(by=SETUP, account=account, results=[ScopeResult(TOKEN, "passed", "x")])
    assert Account.objects.get().token_state == "broken", "it works, and may not do what it has to"


def test_reading_fails_for_the_token_that_reads() -> None:
    account = two_tokens()
    store_account_failure(account=account, error="Refused", refused=WRITE)
    assert (account.token_state, account.read_token_state, account.failing_since) == ("broken", "unknown", None)
    store_account_failure(account=account, error="Refused", refused=READ)
    assert account.read_token_state == "broken"
    assert account.failing_since


def test_the_page_shows_both_and_what_a_refusal_of_each_means() -> None:
    account, admin = two_tokens(), page_for(Role.ADMIN)
    html = admin.get("/accounts/").content.decode()
    for words in ("Write token not tried", "Read token not tried", "Read token permissions", "Replace write token"):
        assert words in html
    account.read_scope_check = [{"scope": "Zone: Zone WAF, Edit", "result": "excess", "detail": "Take it off."}]
    for states, said in (
        (("broken", "working"), "What is approved already is still sent"),
        (("working", "broken"), "Reading goes on with the read token"),
        (("broken", "broken"), "Nothing is read and nothing is sent"),
    ):
        account.read_token_state, account.token_state = states
        account.save()
        html = admin.get("/accounts/").content.decode()
        assert said in html
        assert html.count("<h3>Cloudflare refuses") == 1
    assert "Take it off." in html


def test_it_is_stored_replaced_and_removed_by_page() -> None:
    account, admin = make_account(), page_for(Role.ADMIN)
    path = f"/accounts/{account.pk}/read-token/"
    assert "Store read token" in admin.get("/accounts/").content.decode()
    refused = admin.post(path, {"token": token_of(account)})
    assert refused.status_code == 400
    assert "This is the token that writes." in refused.content.decode()
    assert token_of(account) not in refused.content.decode()
    assert 'id="read_token"' in refused.content.decode()
    assert page_for(Role.ENGINEER).post(path, {"token": "reading-token"}).status_code == 403
    assert admin.post(path, {"token": "reading-token"}).status_code == 302
    html = admin.get("/accounts/").content.decode()
    assert "reading-token" not in html
    assert "Replace read token" in html
    assert "Store read token" not in page_for(Role.VIEWER).get("/accounts/").content.decode()
    assert admin.post(f"{path}remove/").status_code == 302
    html = admin.get("/accounts/").content.decode()
    assert "Store read token" in html
    assert "Token not tried" in html


def test_it_is_stored_and_removed_by_api_and_never_answered() -> None:
    account = make_account()
    admin, engineer = (
        {"HTTP_AUTHORIZATION": f"Bearer {create_token(by=actor(role), name='test')[1]}"}
        for role in (Role.ADMIN, Role.ENGINEER)
    )
    path = f"/api/v1/accounts/{account.cloudflare_id}/read-token/"

    def put(who: dict[str, str], body: dict[str, str]) -> Any:
        return Client().put(path, body, content_type="application/json", **who)

    assert put(engineer, {"token": "reading-token"}).status_code == 403
    refused = put(admin, {"token": token_of(account)})
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["token"])
    assert put(admin, {}).status_code == 400
    stored = put(admin, {"token": "reading-token"})
    assert stored.json()["read_token"] == {"state": "unknown", "scope_check": [], "scope_checked_at": None}
    assert "reading-token" not in stored.content.decode()
    assert Client().delete(path, **engineer).status_code == 403
    assert Client().delete(path, **admin).json()["read_token"] is None
    assert Client().delete(path, **admin).status_code == 409
