"""Every lag, limit and unknown of the far side can be chosen, for all calls or for one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from apps.sandbox.switches import CHOICES, KINDS, PROFILES
from tests.certs import make_ca, make_leaf

from .conftest import Edge

Code = Callable[[tuple[int, Any, dict[str, str]]], tuple[int, int]]
ZONE = "northwind.example"
ONE, TWO = "a.northwind.example", "b.northwind.example"


def put(edge: Edge, *hostnames: str, ca: str | None = None) -> tuple[int, Any, dict[str, str]]:
    sent = {"mtls_certificate_id": ca or edge.legacy_ca(), "hostnames": list(hostnames)}
    return edge.call("PUT", edge.lists(ZONE), sent)


def got(edge: Edge) -> list[str]:
    answer = edge.call("GET", edge.lists(ZONE), query=f"mtls_certificate_id={edge.legacy_ca()}")
    return list(answer[1]["result"]["hostnames"])


def upload(edge: Edge, pem: str, **fields: Any) -> tuple[int, Any, dict[str, str]]:
    return edge.call("POST", edge.certificates(), {"ca": True, "certificates": pem, **fields})


def listed(edge: Edge, query: str = "") -> list[str]:
    return [item["id"] for item in edge.call("GET", edge.certificates(), query=query)[1]["result"]]


def switch(edge: Edge, **switches: Any) -> None:
    status, document = edge.control("POST", "switches", switches)
    assert status == 200, document


def test_profiles_and_reset(edge: Edge) -> None:
    switch(edge, profile="realistic", quota=7)
    switches = edge.state()["switches"]
    assert {name: switches[name] for name in PROFILES["realistic"]} == PROFILES["realistic"]
    assert switches["quota"] == 7
    switch(edge, reset=True)
    assert (edge.state()["switches"]["quota"], edge.state()["switches"]["association_lag_s"]) == (5, 0)
    assert edge.control("POST", "switches", {"profile": "fast"})[0] == 400


def test_every_choice_is_checked(edge: Edge) -> None:
    assert set(CHOICES) <= set(KINDS)
    for name, choices in CHOICES.items():
        for value in choices:
            switch(edge, **{name: value})
        wrong = 7 if isinstance(choices[0], int) else "nonsense"
        assert edge.control("POST", "switches", {name: wrong})[0] == 400


def test_a_read_lags_behind_every_write(edge: Edge) -> None:
    old = got(edge)
    switch(edge, association_lag_s=30)
    assert put(edge, ONE)[1]["result"]["hostnames"] == [ONE]
    edge.clock.advance(20)
    put(edge, ONE, TWO)
    edge.clock.advance(9)
    assert got(edge) == old
    edge.clock.advance(1)
    assert got(edge) == [ONE]
    edge.clock.advance(20)
    assert got(edge) == [ONE, TWO]
    assert edge.state()["zones"][1]["lists"][edge.legacy_ca()] == [ONE, TWO]


def test_rules_are_read_as_they_were(edge: Edge) -> None:
    """A first rule of a zone without any is not there yet, and an edited one shows what it said before."""
    path = f"{edge.lists('northwind-pay.example').rpartition('/certificate')[0]}/rulesets"
    entry = f"{path}/phases/http_request_firewall_custom/entrypoint"
    rule = {"ref": "one", "action": "log", "expression": 'http.host eq "a.northwind-pay.example"'}
    switch(edge, rules_lag_s=30)
    sent = {"name": "x", "kind": "zone", "phase": "http_request_firewall_custom", "rules": [rule]}
    made = edge.call("POST", path, sent)[1]["result"]
    edge.clock.advance(20)
    changed = {**rule, "action": "block"}
    answer = edge.call("PATCH", f"{path}/{made['id']}/rules/{made['rules'][0]['id']}", changed)[1]["result"]
    assert answer["rules"][0]["action"] == "block", "the answer of a write does not lag"
    assert edge.call("GET", entry)[0] == 404
    edge.clock.advance(10)
    seen = edge.call("GET", entry)[1]["result"]
    assert (seen["version"], [row["action"] for row in seen["rules"]]) == ("1", ["log"])
    edge.clock.advance(20)
    for address in (entry, f"{path}/{made['id']}"):
        assert [row["action"] for row in edge.call("GET", address)[1]["result"]["rules"]] == ["block"]


def test_versions_nobody_can_lag_behind_are_forgotten(edge: Edge) -> None:
    for _ in range(5):
        put(edge, ONE)
        edge.clock.advance(700)
    put(edge, TWO)
    with edge.store.transaction() as db:
        assert (
            db.execute("SELECT count(*) FROM association_versions WHERE hostnames LIKE '%a.north%'").fetchone()[0] == 1
        )
    switch(edge, association_lag_s=600)
    assert got(edge) == [ONE]


def test_a_new_row_is_missing_from_the_list_for_a_while(edge: Edge) -> None:
    switch(edge, list_lag_s=20)
    made = upload(edge, make_ca("New").pem)[1]["result"]["id"]
    assert made not in listed(edge)
    assert edge.call("GET", f"{edge.certificates()}/{made}")[0] == 200
    edge.clock.advance(20)
    assert made in listed(edge)


def test_a_delete_is_refused_while_associations_drain_and_then_spreads(edge: Edge, code_of: Code) -> None:
    switch(edge, delete_refused_s=90, deleted_lag_s=10, in_use_status=409)
    path = f"{edge.certificates()}/{edge.legacy_ca()}"
    assert code_of(edge.call("DELETE", path)) == (409, 1473)
    put(edge)
    edge.control(
        "POST", "edit", {"zone": "northwind-pay.example", "mtls_certificate_id": edge.legacy_ca(), "hostnames": []}
    )
    edge.clock.advance(89)
    assert code_of(edge.call("DELETE", path)) == (409, 1473)
    edge.clock.advance(1)
    assert edge.call("DELETE", path)[0] == 200
    status, document, _ = edge.call("DELETE", path)
    assert (status, "already deleted" in document["errors"][0]["message"]) == (400, True)
    assert edge.call("GET", path)[0] == 200
    assert path.rpartition("/")[2] in listed(edge)
    edge.clock.advance(10)
    assert code_of(edge.call("GET", path)) == (404, 1472)
    assert code_of(edge.call("DELETE", path)) == (404, 1472)


def test_a_ca_that_never_had_hostnames_is_deleted_at_once(edge: Edge) -> None:
    switch(edge, delete_refused_s=90)
    made = upload(edge, make_ca("Unused").pem)[1]["result"]["id"]
    put(edge, ca=made)
    assert edge.call("DELETE", f"{edge.certificates()}/{made}")[0] == 200


def test_a_chain_comes_back_in_another_form(edge: Edge) -> None:
    root = make_ca("Root")
    middle = make_ca("Middle", issuer=root)
    switch(edge, chain_reversed=True, chain_deduplicated=True, pem_newline="added")
    document = upload(edge, middle.pem + root.pem + middle.pem)[1]["result"]
    assert document["certificates"] == root.pem + middle.pem + "\n"
    assert document["serial_number"] == str(middle.cert.serial_number)


@pytest.mark.parametrize(("switches", "used"), [({}, 1), ({"leaves_count": True}, 2), ({"managed_count": True}, 2)])
def test_what_counts_against_the_quota(edge: Edge, code_of: Code, switches: dict[str, Any], used: int) -> None:
    switch(edge, quota=used + 1, **switches)
    assert upload(edge, make_ca("Last").pem)[0] == 200
    assert code_of(upload(edge, make_ca("Too many").pem)) == (400, 1489)


def test_a_chain_may_count_for_each_of_its_blocks(edge: Edge, code_of: Code) -> None:
    root = make_ca("Root")
    chain = make_ca("Middle", issuer=root).pem + root.pem
    switch(edge, quota=2, chain_counts_each=True)
    assert code_of(upload(edge, chain)) == (400, 1489)
    switch(edge, quota=3)
    assert upload(edge, chain)[0] == 200


def test_an_expired_ca_is_taken_or_refused(edge: Edge, code_of: Code) -> None:
    expired = make_ca("Old")
    edge.clock.now = expired.cert.not_valid_after_utc + timedelta(days=1)
    switch(edge, expired_ca_refused=True)
    assert code_of(upload(edge, expired.pem)) == (400, 1477)
    switch(edge, expired_ca_refused=False)
    assert upload(edge, expired.pem)[0] == 200


def test_a_leaf_may_be_taken_for_a_ca(edge: Edge, code_of: Code) -> None:
    leaf = make_leaf("client", issuer=make_ca("Root"))
    assert code_of(upload(edge, leaf.pem)) == (400, 1474)
    switch(edge, leaf_as_ca=True)
    assert upload(edge, leaf.pem)[1]["result"]["ca"] is True


def test_an_algorithm_off_the_list_is_refused_or_taken(edge: Edge, code_of: Code) -> None:
    pss = make_ca("Pss", key="rsa2048", pss=True).pem
    assert code_of(upload(edge, pss)) == (400, 1475)
    switch(edge, any_signature=True)
    assert upload(edge, pss)[1]["result"]["ca"] is True


@pytest.mark.parametrize("code", [1400, 1406, 1470])
def test_what_is_no_usable_ca_may_have_one_code_whatever_the_reason(edge: Edge, code_of: Code, code: int) -> None:
    expired = make_ca("Old")
    edge.clock.now = expired.cert.not_valid_after_utc + timedelta(days=1)
    switch(edge, refused_ca_code=code, expired_ca_refused=True)
    leaf = make_leaf("client", issuer=make_ca("Root"))
    for pem in (leaf.pem, make_ca("Pss", key="rsa2048", pss=True).pem, expired.pem):
        answer = upload(edge, pem)
        assert code_of(answer) == (400, code)
        assert answer[1]["messages"], "the code is an assumption"


@pytest.mark.parametrize("code", CHOICES["in_use_code"])
def test_a_ca_in_use_is_refused_with_one_of_several_codes(edge: Edge, code_of: Code, code: int) -> None:
    switch(edge, in_use_code=code)
    assert code_of(edge.call("DELETE", f"{edge.certificates()}/{edge.legacy_ca()}")) == (400, code)


@pytest.mark.parametrize("code", CHOICES["bad_pem_code"])
def test_a_pem_that_cannot_be_read_has_one_of_several_codes(edge: Edge, code_of: Code, code: int) -> None:
    switch(edge, bad_pem_code=code)
    broken = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n"
    for pem in ("no pem", broken, "-----BEGIN PUBLIC KEY-----\nTUlJ\n-----END PUBLIC KEY-----\n"):
        answer = upload(edge, pem)
        assert code_of(answer) == (400, code)
        assert answer[1]["errors"][0]["message"] == "Unable to parse certificate"


def test_a_rule_is_edited_as_a_whole_or_moved(edge: Edge, code_of: Code) -> None:
    """A PATCH without the expression is no smaller edit: it is refused."""
    path = f"/zones/{edge.seeded.zones[ZONE]}/rulesets"
    ruleset = edge.call("GET", f"{path}/phases/http_request_firewall_custom/entrypoint")[1]["result"]
    rule = ruleset["rules"][0]
    one = f"{path}/{ruleset['id']}/rules/{rule['id']}"
    for body in ({"action": "block"}, {"enabled": False}, {"action": "block", "position": {"index": 1}}):
        answer = edge.call("PATCH", one, body)
        assert code_of(answer) == (400, 20125)
        assert answer[1]["errors"][0]["source"]["pointer"] == "/expression"
    assert edge.call("PATCH", one, {"position": {"index": 1}})[0] == 200
    after = edge.call("GET", f"{path}/{ruleset['id']}")[1]["result"]["rules"][0]
    assert (after["expression"], after["enabled"]) == (rule["expression"], rule["enabled"])


def test_the_list_may_be_paged_and_hide_the_type(edge: Edge) -> None:
    switch(edge, quota=20, certificates_paged=True, type_shown=False)
    for number in range(4):
        upload(edge, make_ca(f"CA {number}").pem)
    first = edge.call("GET", edge.certificates(), query="per_page=5")[1]
    assert (len(first["result"]), first["result_info"]["total_pages"]) == (5, 2)
    assert all("type" not in item for item in first["result"])
    assert len(listed(edge, "per_page=5&page=2")) == 2


@pytest.mark.parametrize(
    ("switches", "sent", "answer"),
    [
        ({"hostname_order": "sorted"}, [TWO, ONE], [ONE, TWO]),
        ({"hostname_order": "reversed"}, [ONE, TWO], [TWO, ONE]),
        ({"hostname_case": "kept"}, [ONE.upper()], [ONE.upper()]),
        ({}, [ONE.upper()], [ONE]),
        ({"trailing_dot": "stripped"}, [ONE + "."], [ONE]),
        ({"trailing_dot": "kept"}, [ONE + "."], [ONE + "."]),
        ({"wildcards": True}, ["*.northwind.example"], ["*.northwind.example"]),
        ({"foreign_hosts": True}, ["a.elsewhere.example"], ["a.elsewhere.example"]),
        ({}, [ZONE, f"xn--bcher-kva.{ZONE}"], [ZONE, f"xn--bcher-kva.{ZONE}"]),
        ({"apex_hosts": False, "wildcards": True}, [f"*.{ZONE}"], [f"*.{ZONE}"]),
    ],
)
def test_names_are_normalised_or_kept(edge: Edge, switches: dict[str, Any], sent: list[str], answer: list[str]) -> None:
    switch(edge, **switches)
    assert put(edge, *sent)[1]["result"]["hostnames"] == answer
    assert got(edge) == answer


@pytest.mark.parametrize(
    ("switches", "sent"),
    [
        ({"hostname_case": "refused"}, [ONE.upper()]),
        ({}, [ONE + "."]),
        ({}, ["*.northwind.example"]),
        ({"wildcards": True}, ["a.*.northwind.example"]),
        ({}, ["a.elsewhere.example"]),
        ({}, ["a.devices.northwind.example"]),
        ({"max_hostnames": 1}, [ONE, TWO]),
        ({"apex_hosts": False}, [ZONE]),
        ({"punycode": False}, [ONE, f"xn--bcher-kva.{ZONE}"]),
    ],
)
def test_one_bad_name_refuses_the_whole_list(edge: Edge, switches: dict[str, Any], sent: list[str]) -> None:
    before = got(edge)
    switch(edge, **switches)
    assert put(edge, *sent)[0] == 400
    assert got(edge) == before


def test_an_unknown_ca_in_a_put(edge: Edge, code_of: Code) -> None:
    unknown = "3c0f5b1e-6a5d-4a53-9d0f-6f3b2f8b7a11"
    assert code_of(put(edge, ONE, ca=unknown)) == (404, 1472)
    switch(edge, unknown_certificate="1415")
    assert code_of(put(edge, ONE, ca=unknown)) == (400, 1415)
    switch(edge, unknown_certificate="accepted")
    assert put(edge, ONE, ca=unknown)[0] == 200


def test_a_put_without_hostnames_is_refused_or_clears(edge: Edge) -> None:
    sent = {"mtls_certificate_id": edge.legacy_ca()}
    assert edge.call("PUT", edge.lists(ZONE), sent)[0] == 400
    assert got(edge)
    switch(edge, omitted_hostnames="cleared")
    assert edge.call("PUT", edge.lists(ZONE), sent)[0] == 200
    assert got(edge) == []
    assert ["without a list" in entry["violation"] for entry in edge.log() if entry["method"] == "PUT"] == [True, True]


def test_an_edge_that_stores_another_list_than_was_sent_answers_what_it_stored(edge: Edge) -> None:
    first, second = f"a.{ZONE}", f"b.{ZONE}"
    switch(edge, hostnames_stored="without_first")
    assert put(edge, first, second)[1]["result"] == {"hostnames": [second]}
    assert got(edge) == [second]
    switch(edge, hostnames_stored="with_another")
    put(edge, first)
    assert got(edge) == [first, f"stored-by-itself.{ZONE}"]


def test_a_zone_without_the_feature_is_403(edge: Edge, code_of: Code) -> None:
    switch(edge, associations_entitled=False)
    assert code_of(put(edge, ONE)) == (403, 9109)


def test_an_empty_ruleset_may_have_no_rules(edge: Edge) -> None:
    zone = edge.state()["zones"][1]
    path = f"/zones/{zone['id']}/rulesets/{zone['ruleset']['id']}"
    edge.call("PUT", path, {"rules": []})
    assert edge.call("GET", path)[1]["result"]["rules"] == []
    switch(edge, empty_rules_shown=False)
    assert "rules" not in edge.call("GET", path)[1]["result"]


@pytest.mark.parametrize(
    ("switches", "header", "body"),
    [
        ({"retry_after": "date"}, "Tue, 24 Nov 2026 09:05:00 GMT", b""),
        ({"retry_after": "absent", "rate_body": "null"}, None, b"null"),
        ({"retry_after": "garbage", "rate_body": "empty"}, "in a while", b""),
    ],
)
def test_the_429_comes_in_all_its_forms(edge: Edge, switches: dict[str, Any], header: str | None, body: bytes) -> None:
    switch(edge, rate_limit=1, rate_code=10100, **switches)
    edge.call("GET", "/zones")
    status, document, headers = edge.call("GET", "/zones")
    assert (status, headers.get("retry-after")) == (429, header)
    assert document == body or document["errors"][0]["code"] == 10100


def test_the_block_after_a_spent_budget_can_be_shortened(edge: Edge) -> None:
    switch(edge, rate_limit=1, rate_window_s=10, rate_block_s=2)
    assert [edge.call("GET", "/zones")[0] for _ in range(3)] == [200, 429, 429]
    edge.clock.advance(2)
    assert edge.call("GET", "/zones")[0] == 429
    edge.clock.advance(8)
    assert edge.call("GET", "/zones")[0] == 200


def test_the_budget_headers_can_be_left_out(edge: Edge) -> None:
    switch(edge, ratelimit_headers=False)
    assert "ratelimit" not in edge.call("GET", "/zones")[2]


def test_tokens_expire_are_disabled_and_take_time_to_spread(edge: Edge, code_of: Code) -> None:
    made = edge.control("POST", "tokens", {"name": "short", "expires_on": "2026-11-24T10:00:00Z"})[1]
    verify = f"/accounts/{edge.seeded.account_id}/tokens/verify"
    switch(edge, token_spread_s=5, bad_token_status=401)
    assert (
        edge.call("GET", "/zones", token=made["token"])[1]["errors"][0]["message"] == "Unable to authenticate request"
    )
    edge.clock.advance(5)
    assert edge.call("GET", verify, token=made["token"])[1]["result"]["status"] == "active"
    edge.clock.advance(3600)
    assert code_of(edge.call("GET", "/zones", token=made["token"])) == (401, 10000)
    assert edge.call("GET", verify, token=made["token"])[1]["result"]["status"] == "expired"
    assert edge.control("POST", "tokens", {"status": "disabled"})[0] == 200
    assert edge.call("GET", "/zones")[0] == 401
    edge.control("POST", "tokens", {"status": "active", "permissions": ["zone:zone:read"]})
    assert edge.call("GET", "/zones")[0] == 200
    assert code_of(put(edge, ONE)) == (403, 10000)
    assert edge.control("POST", "tokens", {"status": "gone"})[0] == 400
    assert edge.control("POST", "tokens", {"expires_on": "tomorrow"})[0] == 400
    assert edge.control("POST", "tokens", {"id": "nobody", "revoked": True})[0] == 404


def test_rows_and_zones_past_the_api(edge: Edge) -> None:
    gateway = {"name": "gw", "certificates": make_ca("Gateway").pem, "type": "gateway_managed"}
    made = edge.control("POST", "certificates", gateway)[1]["id"]
    assert edge.call("DELETE", f"{edge.certificates()}/{made}")[0] == 403
    assert edge.control("POST", "certificates", {**gateway, "type": "other"})[0] == 400
    leaf = make_leaf("leaf", issuer=make_ca("Issuer")).pem
    assert edge.control("POST", "certificates", {"name": "leaf", "certificates": leaf, "ca": False})[0] == 200
    legacy = edge.legacy_ca()
    assert edge.control("POST", "certificates/delete", {"id": legacy})[0] == 200
    assert edge.control("POST", "certificates/delete", {"id": legacy})[0] == 404
    assert all(legacy not in zone["lists"] for zone in edge.state()["zones"])
    assert edge.control("POST", "zones", {"name": ZONE, "remove": True})[0] == 200
    assert edge.control("POST", "zones", {"name": ZONE, "remove": True})[0] == 404
    past = edge.control("GET", "requests", query="origin=dashboard")[1]["requests"]
    assert [entry["method"] for entry in past] == ["POST", "POST", "DELETE", "DELETE"]


def test_many_zones_are_seeded_at_once_and_keep_their_ids(edge: Edge) -> None:
    names = [f"zone{number}.example" for number in range(20)]
    lists = {edge.legacy_ca(): ["a.listed.example"]}
    sent = {"zones": [*names, {"name": "listed.example", "paused": True, "lists": lists}, ZONE]}
    first = edge.control("POST", "seed", sent)[1]["zones"]
    assert first[ZONE] == edge.seeded.zones[ZONE]
    assert edge.control("POST", "seed", sent)[1]["zones"] == first
    zones = {zone["name"]: zone for zone in edge.state()["zones"]}
    assert len(zones) == 24
    assert (zones["listed.example"]["paused"], zones["listed.example"]["lists"]) == (True, lists)
    assert edge.control("POST", "seed", {"zones": [{"name": "x.example", "status": "odd"}]})[0] == 400
