"""Which permissions a token has, found out against the stand-in without writing anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client as Browser

from apps.audit.models import AuditEvent
from apps.cloudflare.client import Client
from apps.cloudflare.errors import RateLimited
from apps.identity.permissions import Role
from apps.inventory import token_check
from apps.inventory.models import Account, TokenKind
from apps.inventory.stops import stop_writes
from apps.inventory.token_check import CALLS, EXCESS, check_token, store_scope_check
from tests.factories import SETUP, actor, make_account
from tests.sandbox_server import SandboxProcess
from tests.unit.cloudflare.server import Edge, failure, success

pytestmark = pytest.mark.django_db
READ = {"account:ssl_and_certificates:read", "zone:zone:read", "zone:ssl_and_certificates:read", "zone:waf:read"}
ALL = {
    "account:ssl_and_certificates:write", "zone:zone:read", "zone:ssl_and_certificates:write", "zone:waf:write",
}  # fmt: skip


@pytest.fixture(scope="module")
def edge() -> Iterator[SandboxProcess]:
    with SandboxProcess() as running:
        yield running


@pytest.fixture
def account(edge: SandboxProcess) -> Account:
    return make_account(zones=(), cloudflare_id=edge.account_id)


def check(edge: SandboxProcess, account: Account, token: str, kind: TokenKind = TokenKind.WRITE) -> dict[str, str]:
    since = edge.last_seq()
    before = edge.state()
    with Client(base_url=edge.base_url, token=token) as client:
        results = check_token(client, account, kind)
    made = edge.requests(since)
    assert len(made) <= CALLS
    assert edge.state()["zones"] == before["zones"], "nothing was changed"
    assert all(row["method"] == "GET" or row["query"] == {"dry_run": ["true"]} for row in made)
    assert all(result.detail for result in results if result.result != "passed")
    return {result.scope: result.result for result in results}


def token_with(edge: SandboxProcess, *permissions: str, **more: Any) -> str:
    return edge.make_token(permissions=sorted(permissions), **more)


def test_a_token_with_every_permission_passes_what_can_be_proved(edge: SandboxProcess, account: Account) -> None:
    for kind in ("account", "user"):
        assert check(edge, account, token_with(edge, *ALL, kind=kind)) == {
            "API token": "passed",
            "Account: SSL and Certificates, Read": "passed",
            "Account: SSL and Certificates, Edit": "unproven",
            "Zone: Zone, Read": "passed",
            "Zone: SSL and Certificates, Read": "passed",
            "Zone: SSL and Certificates, Edit": "unproven",
            "Zone: Zone WAF, Read": "passed",
            "Zone: Zone WAF, Edit": "passed",
        }


@pytest.mark.parametrize(
    ("kept", "failed"),
    [
        (ALL - {"account:ssl_and_certificates:write"}, {"Account: SSL and Certificates, Read"}),
        (ALL - {"zone:zone:read"}, {"Zone: Zone, Read"}),
        (ALL - {"zone:ssl_and_certificates:write"}, {"Zone: SSL and Certificates, Read"}),
        (ALL - {"zone:waf:write"}, {"Zone: Zone WAF, Read"}),
        (ALL - {"zone:waf:write"} | {"zone:waf:read"}, {"Zone: Zone WAF, Edit"}),
    ],
)
def test_each_missing_permission_is_named(
    edge: SandboxProcess, account: Account, kept: set[str], failed: set[str]
) -> None:
    found = check(edge, account, token_with(edge, *kept))
    assert {scope for scope, result in found.items() if result == "failed"} == failed


def test_a_token_that_only_reads_is_all_that_a_read_token_is_to_be(edge: SandboxProcess, account: Account) -> None:
    assert check(edge, account, token_with(edge, *READ), TokenKind.READ) == {
        "API token": "passed",
        "Account: SSL and Certificates, Read": "passed",
        "Zone: Zone, Read": "passed",
        "Zone: SSL and Certificates, Read": "passed",
        "Uploading CAs and changing lists is refused": "unproven",
        "Zone: Zone WAF, Read": "passed",
        "Writing rules is refused": "passed",
    }


@pytest.mark.parametrize(
    ("lacks", "scope"),
    [
        ("account:ssl_and_certificates:read", "Account: SSL and Certificates, Read"),
        ("zone:zone:read", "Zone: Zone, Read"),
        ("zone:ssl_and_certificates:read", "Zone: SSL and Certificates, Read"),
        ("zone:waf:read", "Zone: Zone WAF, Read"),
    ],
)
def test_what_a_read_token_lacks_is_named(edge: SandboxProcess, account: Account, lacks: str, scope: str) -> None:
    found = check(edge, account, token_with(edge, *READ - {lacks}), TokenKind.READ)
    assert [name for name, result in found.items() if result == "failed"] == [scope]


def test_a_read_token_that_may_write_rules_is_told_to_lose_that_right(edge: SandboxProcess, account: Account) -> None:
    found = check(edge, account, token_with(edge, *READ, "zone:waf:write"), TokenKind.READ)
    assert found["Zone: Zone WAF, Edit"] == "excess"
    assert "Writing rules is refused" not in found


def test_a_token_that_is_refused_or_no_longer_active_is_all_there_is_to_say(
    edge: SandboxProcess, account: Account
) -> None:
    assert check(edge, account, "unknown-token") == {"API token": "failed"}


def test_nothing_is_rehearsed_while_writes_are_stopped(edge: SandboxProcess, account: Account) -> None:
    stop_writes(by=SETUP, reason="Incident")
    assert check(edge, account, token_with(edge, *ALL))["Zone: Zone WAF, Edit"] == "unknown"


def test_what_is_stored_is_told_only_when_it_changed(edge: SandboxProcess, account: Account) -> None:
    with Client(base_url=edge.base_url, token=edge.token) as client:
        for _ in range(2):
            store_scope_check(by=SETUP, account=account, results=check_token(client, account))
    account.refresh_from_db()
    assert account.scope_checked_at
    assert {"scope": "Zone: Zone WAF, Edit", "result": "passed"}.items() <= account.scope_check[-1].items()
    event = AuditEvent.objects.get(action="account:token_checked")
    assert event.after["Zone: Zone WAF, Edit"] == "passed"


@pytest.fixture
def scripted() -> Iterator[Edge]:
    server = Edge()
    yield server
    server.stop()


ZONE = {"id": "c" * 32, "name": "pay.example", "status": "active", "account": {"id": "a" * 32}}
ACTIVE = success({"id": "t" * 32, "status": "active", "expires_on": "2027-01-01T00:00:00Z"})


def script(edge: Edge, *answers: Any) -> dict[str, tuple[str, str]]:
    account = Account.objects.first() or make_account(zones=())
    edge.script(*answers)
    with Client(base_url=edge.base_url, token="x") as client:
        return {row.scope: (row.result, row.detail) for row in check_token(client, account)}


def test_a_disabled_token_has_failed(scripted: Edge) -> None:
    found = script(scripted, success({"id": "t" * 32, "status": "disabled"}))
    assert found == {"API token": ("failed", "Cloudflare says that it is disabled.")}


def test_no_answer_is_neither_passed_nor_failed(scripted: Edge) -> None:
    assert script(scripted, failure(500, 1))["API token"][0] == "unknown"
    found = script(scripted, ACTIVE, failure(500, 1), failure(401, 1000))
    assert found["Account: SSL and Certificates, Read"][0] == "unknown"
    assert found["Zone: Zone, Read"][0] == "failed"
    assert found["API token"] == ("passed", "Ends on 01 Jan 2027.")


def test_a_token_that_sees_no_zone_lacks_the_permission_or_the_zones(scripted: Edge) -> None:
    result, detail = script(scripted, ACTIVE, success([]), success([]))["Zone: Zone, Read"]
    assert (result, "in its scope" in detail) == ("failed", True)


def test_a_429_ends_the_check_without_a_result(scripted: Edge) -> None:
    with pytest.raises(RateLimited):
        script(scripted, failure(429, 971))
    with pytest.raises(RateLimited):
        script(scripted, ACTIVE, failure(429, 971))


def test_a_rule_is_rehearsed_at_the_end_of_those_there_are(scripted: Edge) -> None:
    account = make_account(zones=(), cloudflare_id="a" * 32)
    ruleset, refused = success({"id": "d" * 32, "version": "1", "rules": []}), failure(403, 10000)
    zone = ZONE | {"account": {"id": account.cloudflare_id}}
    found = script(
        scripted, ACTIVE, success([]), success([zone]), refused, ruleset, success(None), *[refused] * len(EXCESS)
    )
    assert (found["Zone: SSL and Certificates, Read"][0], found["Zone: Zone WAF, Edit"][0]) == ("failed", "passed")
    assert (scripted.requests[5].path.rpartition("/")[2], scripted.requests[5].query) == (
        "rules",
        {"dry_run": ["true"]},
    )


def test_rights_that_are_not_needed_are_named_and_a_first_rule_is_rehearsed(scripted: Edge) -> None:
    account = make_account(zones=(), cloudflare_id="a" * 32)
    zone = ZONE | {"account": {"id": account.cloudflare_id}}
    found = script(
        scripted, ACTIVE, success([]), success([zone | {"status": "pending"}]), failure(404, 1472),
        failure(404, 10003), failure(400, 20217), success([]), failure(404, 7003), failure(403, 10000), success([]),
        failure(400, 1400), success([]), success([]), failure(403, 9109),
    )  # fmt: skip
    assert found["Zone: SSL and Certificates, Read"][0] == "passed"
    assert found["Zone: Zone WAF, Edit"][0] == "passed", "the rule was refused, not the caller"
    assert found["Zone: DNS, Read"] == ("excess", "Not needed. Take it off the token.")
    named = [scope for scope, (result, _) in found.items() if result == "excess"]
    assert named == [
        "Zone: DNS, Read", "Account: Account Settings, Read", "Account: Workers KV Storage, Read",
        "Account: API Tokens, Read",
    ], "neither what is unknown, nor what lacks, nor what was asked wrongly"  # fmt: skip
    asked = [call.path.partition("/client/v4")[2] for call in scripted.requests[-len(EXCESS) :]]
    ids = {"zone": ZONE["id"], "account": account.cloudflare_id}
    assert asked == [path.format(**ids) for path in EXCESS.values()]
    assert {call.method for call in scripted.requests[-len(EXCESS) :]} == {"GET"}
    assert len(scripted.requests) <= CALLS
    rehearsed = scripted.requests[5]
    assert rehearsed.method == "POST"
    assert rehearsed.query == {"dry_run": ["true"]}
    assert rehearsed.json["rules"][0]["expression"] == token_check.REHEARSAL.expression


def test_the_page_says_what_is_looked_for_and_what_is_not(account: Account, settings: Any) -> None:
    settings.WHITENOISE_AUTOREFRESH = True
    client, admin = Browser(), actor(Role.ADMIN).person
    assert admin
    client.force_login(admin)
    shown = client.get("/accounts/").content.decode()
    assert all(scope in shown for scope in EXCESS)
    assert "Not looked for is every other right" in shown
