"""Cloudflare's own Python SDK against a real sandbox process: if the SDK is content, so is an honest client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cloudflare
import pytest
from cloudflare.types.rulesets.ruleset_create_response import Ruleset

from tests.certs import make_ca, make_leaf
from tests.sandbox_server import SandboxProcess

PHASE = "http_request_firewall_custom"
ZONE = "northwind.example"
EXPRESSION = '(http.host in {"a.northwind.example"} and not cf.tls_client_auth.cert_verified)'
UNKNOWN_CERTIFICATE = "3c0f5b1e-6a5d-4a53-9d0f-6f3b2f8b7a11"


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxProcess]:
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def edge(server: SandboxProcess) -> SandboxProcess:
    """Every test starts with the switches as they come."""
    server.switch(quota=50, down=False, rate_limit_on=False, rules_quota=1000)
    return server


@pytest.fixture
def sdk(edge: SandboxProcess) -> Iterator[cloudflare.Cloudflare]:
    with make_sdk(edge, edge.token) as client:
        yield client


def make_sdk(edge: SandboxProcess, token: str) -> cloudflare.Cloudflare:
    return cloudflare.Cloudflare(api_token=token, base_url=edge.base_url, max_retries=0, timeout=10)


@pytest.fixture
def account(edge: SandboxProcess) -> str:
    return edge.account_id


@pytest.fixture
def zone(edge: SandboxProcess) -> str:
    return edge.zones[ZONE]


def codes(error: Any) -> list[int]:
    return [item.code for item in error.value.errors]


def upload(sdk: cloudflare.Cloudflare, account: str, pem: str, **fields: Any) -> Any:
    return sdk.mtls_certificates.create(account_id=account, ca=True, certificates=pem, **fields)


def custom_rules(sdk: cloudflare.Cloudflare, zone: str) -> Any:
    return sdk.rulesets.phases.get(PHASE, zone_id=zone)


def read(answer: Any) -> Ruleset:
    """Ruleset writes may answer null, so the SDK leaves them as plain data. Its own model must accept them."""
    return Ruleset.model_validate(answer)


def test_a_certificate_is_created_read_listed_and_deleted(sdk: cloudflare.Cloudflare, account: str) -> None:
    made = make_ca("Partner Root")
    created = upload(sdk, account, made.pem, name="partners")
    assert len(created.id) == 36
    assert created.certificates == made.pem.rstrip("\n")
    assert created.serial_number == str(made.cert.serial_number)
    assert created.signature == "ECDSAWithSHA256"
    assert created.to_dict()["type"] == "custom"
    fetched = sdk.mtls_certificates.get(created.id, account_id=account)
    assert (fetched.id, fetched.name, fetched.ca) == (created.id, "partners", True)
    assert created.id in {item.id for item in sdk.mtls_certificates.list(account_id=account)}
    assert sdk.mtls_certificates.delete(created.id, account_id=account).id == created.id
    with pytest.raises(cloudflare.NotFoundError) as gone:
        sdk.mtls_certificates.get(created.id, account_id=account)
    assert codes(gone) == [1472]


def test_the_list_can_be_filtered_by_type(sdk: cloudflare.Cloudflare, account: str) -> None:
    found = list(sdk.mtls_certificates.list(account_id=account, type=["access_managed", "gateway_managed"]))
    assert [item.name for item in found] == ["access-devices"]


def test_the_same_certificate_twice_is_1471(sdk: cloudflare.Cloudflare, account: str) -> None:
    made = make_ca("Twice")
    upload(sdk, account, made.pem, name="one")
    with pytest.raises(cloudflare.BadRequestError) as refused:
        upload(sdk, account, made.pem + "\n\n", name="another name")
    assert codes(refused) == [1471]


def test_a_full_account_is_1489(edge: SandboxProcess, sdk: cloudflare.Cloudflare, account: str) -> None:
    used = sum(1 for item in edge.state()["certificates"] if item["ca"] and item["type"] == "custom")
    edge.switch(quota=used)
    with pytest.raises(cloudflare.BadRequestError) as refused:
        upload(sdk, account, make_ca("One too many").pem)
    assert codes(refused) == [1489]


def bad_pems() -> list[Any]:
    root = make_ca("Root of bad ones")
    return [
        pytest.param("no certificate at all", id="garbage"),
        pytest.param("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", id="cut short"),
        pytest.param(make_leaf(issuer=root).pem, id="leaf"),
        pytest.param(make_ca("Edwards", key="ed25519").pem, id="ed25519"),
    ]


@pytest.mark.parametrize("pem", bad_pems())
def test_what_is_no_usable_ca_is_refused(sdk: cloudflare.Cloudflare, account: str, pem: str) -> None:
    with pytest.raises(cloudflare.BadRequestError):
        upload(sdk, account, pem)


def test_associations_are_replaced_as_a_whole(
    edge: SandboxProcess, sdk: cloudflare.Cloudflare, account: str, zone: str
) -> None:
    lists = sdk.certificate_authorities.hostname_associations
    ca = upload(sdk, account, make_ca("Lists").pem).id
    first = lists.update(zone_id=zone, mtls_certificate_id=ca, hostnames=["A.northwind.example", "b.northwind.example"])
    assert first.hostnames == ["a.northwind.example", "b.northwind.example"]
    lists.update(zone_id=zone, mtls_certificate_id=ca, hostnames=["c.northwind.example"])
    assert lists.get(zone_id=zone, mtls_certificate_id=ca).hostnames == ["c.northwind.example"]
    assert sdk.mtls_certificates.associations.get(ca, account_id=account).result[0].service
    with pytest.raises(cloudflare.BadRequestError):
        sdk.mtls_certificates.delete(ca, account_id=account)
    lists.update(zone_id=zone, mtls_certificate_id=ca, hostnames=[])
    assert sdk.mtls_certificates.delete(ca, account_id=account).id == ca
    assert edge.violations() == []


@pytest.mark.parametrize("hostname", ["a.elsewhere.example", "*.northwind.example", "x.devices.northwind.example"])
def test_one_bad_hostname_leaves_the_list_as_it_was(
    sdk: cloudflare.Cloudflare, account: str, zone: str, hostname: str
) -> None:
    lists = sdk.certificate_authorities.hostname_associations
    ca = upload(sdk, account, make_ca(f"Bad hostname {hostname}").pem).id
    lists.update(zone_id=zone, mtls_certificate_id=ca, hostnames=["good.northwind.example"])
    with pytest.raises(cloudflare.BadRequestError):
        lists.update(zone_id=zone, mtls_certificate_id=ca, hostnames=["new.northwind.example", hostname])
    assert lists.get(zone_id=zone, mtls_certificate_id=ca).hostnames == ["good.northwind.example"]


def test_an_unknown_ca_has_no_list(sdk: cloudflare.Cloudflare, zone: str) -> None:
    lists = sdk.certificate_authorities.hostname_associations
    with pytest.raises(cloudflare.NotFoundError) as refused:
        lists.get(zone_id=zone, mtls_certificate_id=UNKNOWN_CERTIFICATE)
    assert codes(refused) == [1472]
    with pytest.raises(cloudflare.NotFoundError):
        lists.update(zone_id=zone, mtls_certificate_id=UNKNOWN_CERTIFICATE, hostnames=[])


def test_a_call_without_the_ca_id_means_the_managed_ca_and_is_a_violation() -> None:
    with SandboxProcess() as edge, make_sdk(edge, edge.token) as sdk:
        zone = edge.zones[ZONE]
        before = edge.state()["zones"]
        lists = sdk.certificate_authorities.hostname_associations
        lists.update(zone_id=zone, hostnames=["m.northwind.example"])
        assert lists.get(zone_id=zone).hostnames == ["m.northwind.example"]
        assert edge.hostnames(ZONE, "managed") == ["m.northwind.example"]
        assert len(edge.violations()) == 2
        for earlier, later in zip(before, edge.state()["zones"], strict=True):
            assert earlier["lists"].items() <= later["lists"].items()


def test_a_zone_without_custom_rules_is_10003_then_gets_its_entry_point_once(
    edge: SandboxProcess, sdk: cloudflare.Cloudflare
) -> None:
    zone = edge.add_zone("fresh.example")
    with pytest.raises(cloudflare.NotFoundError) as missing:
        custom_rules(sdk, zone)
    assert codes(missing) == [10003]
    rule = {"action": "block", "expression": 'http.host eq "a.fresh.example"', "ref": "byoca-1"}
    made = read(sdk.rulesets.create(zone_id=zone, kind="zone", name="default", phase=PHASE, rules=[rule]))
    assert (made.version, made.rules[0].ref) == ("1", "byoca-1")
    with pytest.raises(cloudflare.BadRequestError) as second:
        sdk.rulesets.create(zone_id=zone, kind="zone", name="default", phase=PHASE, rules=[])
    assert codes(second) == [20217]
    assert second.value.body["errors"][0]["source"]["pointer"] == "/kind"
    assert [item.id for item in sdk.rulesets.list(zone_id=zone)] == [made.id]


def test_a_rule_is_added_edited_moved_and_deleted_beside_other_peoples_rules(
    sdk: cloudflare.Cloudflare, zone: str
) -> None:
    before = custom_rules(sdk, zone)
    others = [rule.id for rule in before.rules]
    fields: dict[str, Any] = {"action": "block", "ref": "byoca-a", "description": "ours", "enabled": True}
    added = read(
        sdk.rulesets.rules.create(before.id, zone_id=zone, expression=EXPRESSION, position={"before": ""}, **fields)
    )
    rule = added.rules[0]
    assert (rule.ref, rule.version, int(added.version)) == ("byoca-a", "1", int(before.version) + 1)
    expression = EXPRESSION.replace('"a.', '"b.')
    edited = read(sdk.rulesets.rules.edit(rule.id, ruleset_id=before.id, zone_id=zone, expression=expression, **fields))
    assert (edited.rules[0].id, edited.rules[0].version) == (rule.id, "2")
    moved = read(sdk.rulesets.rules.edit(rule.id, ruleset_id=before.id, zone_id=zone, position={"after": ""}))
    assert (moved.rules[-1].id, moved.rules[-1].version) == (rule.id, "2")
    sdk.rulesets.rules.delete(rule.id, ruleset_id=before.id, zone_id=zone)
    assert [item.id for item in custom_rules(sdk, zone).rules] == others


def test_a_dry_run_checks_everything_and_changes_nothing(sdk: cloudflare.Cloudflare, zone: str) -> None:
    before = custom_rules(sdk, zone)
    answer = sdk.rulesets.rules.create(
        before.id, zone_id=zone, action="block", expression=EXPRESSION, ref="byoca-dry", dry_run=True
    )
    assert answer is None
    assert custom_rules(sdk, zone).version == before.version
    with pytest.raises(cloudflare.BadRequestError):
        sdk.rulesets.rules.create(before.id, zone_id=zone, action="block", expression="http.host eq", dry_run=True)


@pytest.mark.parametrize(
    ("expression", "code"), [("", 20125), ("(http.host eq", 20127), (f'http.host eq "{"x" * 4096}"', 20127)]
)
def test_a_bad_expression_is_refused_with_its_place(
    sdk: cloudflare.Cloudflare, zone: str, expression: str, code: int
) -> None:
    ruleset = custom_rules(sdk, zone)
    with pytest.raises(cloudflare.BadRequestError) as refused:
        sdk.rulesets.rules.create(ruleset.id, zone_id=zone, action="block", expression=expression)
    assert codes(refused) == [code]
    assert "is not a valid value for expression because" in refused.value.errors[0].message
    assert refused.value.body["errors"][0]["source"]["pointer"] == "/expression"


def test_a_ref_is_used_once(sdk: cloudflare.Cloudflare, zone: str) -> None:
    ruleset = custom_rules(sdk, zone)
    with pytest.raises(cloudflare.BadRequestError):
        sdk.rulesets.rules.create(
            ruleset.id, zone_id=zone, action="block", expression=EXPRESSION, ref="appsec-wp-login"
        )


def test_too_many_rules_are_50001_and_none_is_kept(edge: SandboxProcess, sdk: cloudflare.Cloudflare, zone: str) -> None:
    ruleset = custom_rules(sdk, zone)
    edge.switch(rules_quota=len(ruleset.rules))
    with pytest.raises(cloudflare.BadRequestError) as refused:
        sdk.rulesets.rules.create(ruleset.id, zone_id=zone, action="block", expression=EXPRESSION)
    assert codes(refused) == [50001]
    assert custom_rules(sdk, zone).version == ruleset.version


def test_replacing_the_entry_point_keeps_ids_by_id_and_by_ref(edge: SandboxProcess, sdk: cloudflare.Cloudflare) -> None:
    zone = edge.add_zone("replaced.example")
    fields = {"action": "log", "expression": 'http.host eq "a.replaced.example"'}
    made = read(
        sdk.rulesets.phases.update(PHASE, zone_id=zone, rules=[{**fields, "ref": "one"}, {**fields, "ref": "two"}])
    )
    one, two = made.rules
    rules: Any = [{**fields, "ref": "two", "action": "block"}, {**fields, "id": one.id, "ref": "one"}]
    again = read(sdk.rulesets.phases.update(PHASE, zone_id=zone, rules=rules))
    assert [rule.id for rule in again.rules] == [two.id, one.id]
    assert [rule.version for rule in again.rules] == ["2", "1"]
    sdk.rulesets.delete(made.id, zone_id=zone)
    assert list(sdk.rulesets.list(zone_id=zone)) == []


def test_zones_are_paged_and_filtered(edge: SandboxProcess, sdk: cloudflare.Cloudflare, account: str) -> None:
    for number in range(7):
        edge.add_zone(f"page{number}.example", status="pending")
    names = [zone.name for zone in sdk.zones.list(account={"id": account}, status="pending", per_page=5)]
    assert names == [f"page{number}.example" for number in range(7)]
    assert [zone.id for zone in sdk.zones.list(name=ZONE)] == [edge.zones[ZONE]]
    assert list(sdk.zones.list(account={"id": "0" * 32})) == []
    found = sdk.zones.get(zone_id=edge.zones[ZONE])
    assert found is not None
    assert (found.name, found.account.id) == (ZONE, account)


def test_an_account_token_is_known_to_its_account_only(sdk: cloudflare.Cloudflare, account: str) -> None:
    verified = sdk.accounts.tokens.verify(account_id=account)
    assert verified is not None
    assert verified.status == "active"
    with pytest.raises(cloudflare.AuthenticationError) as refused:
        sdk.user.tokens.verify()
    assert codes(refused) == [1000]


def test_a_user_token_is_the_other_way_round(edge: SandboxProcess, account: str) -> None:
    with make_sdk(edge, edge.make_token(kind="user")) as sdk:
        verified = sdk.user.tokens.verify()
        assert verified is not None
        assert verified.status == "active"
        with pytest.raises(cloudflare.AuthenticationError):
            sdk.accounts.tokens.verify(account_id=account)


def test_a_missing_permission_is_10000(edge: SandboxProcess, account: str, zone: str) -> None:
    reader = edge.make_token(permissions=["account:ssl_and_certificates:read", "zone:ssl_and_certificates:write"])
    with make_sdk(edge, reader) as sdk:
        ca = next(iter(sdk.mtls_certificates.list(account_id=account))).id
        sdk.certificate_authorities.hostname_associations.get(zone_id=zone, mtls_certificate_id=ca)
        with pytest.raises(cloudflare.PermissionDeniedError) as refused:
            upload(sdk, account, make_ca("Not allowed").pem)
        assert codes(refused) == [10000]
        with pytest.raises(cloudflare.PermissionDeniedError):
            custom_rules(sdk, zone)
        assert list(sdk.zones.list()) == []


def test_a_token_for_one_zone_sees_no_other(edge: SandboxProcess, zone: str) -> None:
    with make_sdk(edge, edge.make_token(zones=["northwind-pay.example"])) as sdk:
        assert [item.name for item in sdk.zones.list()] == ["northwind-pay.example"]
        with pytest.raises(cloudflare.PermissionDeniedError):
            custom_rules(sdk, zone)


def test_a_revoked_token_is_refused_until_it_is_restored(
    edge: SandboxProcess, sdk: cloudflare.Cloudflare, account: str
) -> None:
    edge.revoke_token()
    try:
        with pytest.raises(cloudflare.PermissionDeniedError) as refused:
            sdk.mtls_certificates.list(account_id=account)
        with pytest.raises(cloudflare.AuthenticationError) as unknown:
            sdk.accounts.tokens.verify(account_id=account)
    finally:
        edge.revoke_token(False)
    assert (codes(refused), codes(unknown)) == ([10000], [1000])
    assert list(sdk.mtls_certificates.list(account_id=account))


def test_wrong_ids_are_not_routed(sdk: cloudflare.Cloudflare) -> None:
    with pytest.raises(cloudflare.NotFoundError) as refused:
        sdk.zones.get(zone_id="0" * 32)
    assert codes(refused) == [7003]


def test_down_means_503_for_every_call(edge: SandboxProcess, sdk: cloudflare.Cloudflare) -> None:
    edge.switch(down=True)
    with pytest.raises(cloudflare.InternalServerError) as refused:
        list(sdk.zones.list())
    edge.switch(down=False)
    assert refused.value.status_code == 503
    assert list(sdk.zones.list())


def test_the_budget_is_told_on_every_answer_and_refused_beyond(edge: SandboxProcess) -> None:
    edge.switch(rate_limit_on=True, rate_limit=2)
    try:
        with make_sdk(edge, edge.make_token()) as sdk:
            answers = [sdk.zones.with_raw_response.list() for _ in range(2)]
            left = [answer.headers["ratelimit"].split(";")[1] for answer in answers]
            assert left == ["r=1", "r=0"]
            assert all(answer.headers["ratelimit-policy"] == '"default";q=2;w=300' for answer in answers)
            assert all(answer.headers["cf-ray"] for answer in answers)
            with pytest.raises(cloudflare.RateLimitError) as refused:
                sdk.zones.list()
    finally:
        edge.switch(rate_limit_on=False, rate_limit=1200)
    assert codes(refused) == [971]
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 300


def test_the_audit_log_tells_the_portal_from_a_person(
    edge: SandboxProcess, sdk: cloudflare.Cloudflare, account: str
) -> None:
    zone = edge.add_zone("audited.example")
    ca = edge.add_certificate("audited", make_ca("Audited").pem)
    lists = sdk.certificate_authorities.hostname_associations
    for number in range(3):
        lists.update(zone_id=zone, mtls_certificate_id=ca, hostnames=[f"h{number}.audited.example"])
    edge.edit("audited.example", ca, [])
    token_id = edge.state()["tokens"][0]["id"]
    find: dict[str, Any] = {"account_id": account, "since": "2020-01-01", "before": "2100-01-01", "limit": 2}
    by_token = list(sdk.accounts.logs.audit.list(**find, zone_id={"not": ["none"]}, actor_token_id={"not": [token_id]}))
    assert {item.actor.context for item in by_token if item.actor} == {"dash"}
    everything = list(sdk.accounts.logs.audit.list(**find))
    ours = [item for item in everything if item.zone and item.zone.id == zone]
    assert [item.raw.method for item in ours if item.raw] == ["PUT"] * 4
    assert [bool(item.actor and item.actor.token_id) for item in ours] == [False, True, True, True]
