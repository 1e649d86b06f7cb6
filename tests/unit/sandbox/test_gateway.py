"""What every call has in common: tokens, budget, outage, dry run and the request log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.sandbox import certificates

from .conftest import Edge

Code = Callable[[tuple[int, Any, dict[str, str]]], tuple[int, int]]
ZONE = "northwind.example"


def test_the_log_has_the_call_and_never_the_token(edge: Edge) -> None:
    edge.call("PUT", edge.lists(ZONE), {"mtls_certificate_id": edge.legacy_ca(), "hostnames": []}, query="a=1&a=2")
    (entry,) = edge.log()
    assert (entry["seq"], entry["method"], entry["status"]) == (1, "PUT", 200)
    assert entry["path"].endswith("/hostname_associations")
    assert entry["query"] == {"a": ["1", "2"]}
    assert entry["token_id"] == edge.seeded.token_id
    assert entry["violation"] is None
    assert edge.seeded.token not in str(entry)


def test_a_private_key_is_a_violation_and_is_not_kept(edge: Edge) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    status, document, _ = edge.call("POST", edge.certificates(), {"ca": True, "certificates": pem})
    assert (status, document["errors"][0]["code"]) == (400, 1470)
    assert document["messages"]
    (entry,) = edge.log()
    assert "private key" in entry["violation"]
    assert "c2VjcmV0" not in str(entry)


def test_a_call_without_a_ca_id_is_a_violation(edge: Edge) -> None:
    assert edge.call("GET", edge.lists(ZONE))[0] == 200
    assert (
        edge.call("PUT", edge.lists(ZONE), {"hostnames": []}, query=f"mtls_certificate_id={edge.legacy_ca()}")[0] == 200
    )
    assert [bool(entry["violation"]) for entry in edge.log()] == [True, True]
    assert len(edge.state()["zones"][1]["lists"][edge.legacy_ca()]) == 2


def test_the_budget_refuses_for_a_whole_window_after_it_is_spent(edge: Edge, code_of: Code) -> None:
    edge.control("POST", "switches", {"rate_limit": 2, "rate_window_s": 300})
    assert edge.call("GET", "/zones")[2]["ratelimit"] == '"default";r=1;t=300'
    edge.clock.advance(290)
    assert edge.call("GET", "/zones")[2]["ratelimit"] == '"default";r=0;t=10'
    refused = edge.call("GET", "/zones")
    assert code_of(refused) == (429, 971)
    assert refused[2]["retry-after"] == "300"
    edge.clock.advance(299)
    assert edge.call("GET", "/zones")[0] == 429
    edge.clock.advance(1)
    assert edge.call("GET", "/zones")[0] == 200


def test_every_answer_carries_its_ray_and_budget(edge: Edge) -> None:
    for answer in (
        edge.call("GET", "/zones"),
        edge.call("GET", "/zones", token="wrong"),
        edge.call("GET", "/nowhere"),
        edge.call("PATCH", "/zones"),
    ):
        assert {"cf-ray", "ratelimit", "ratelimit-policy"} <= set(answer[2])


def test_errors_before_any_handler(edge: Edge, code_of: Code) -> None:
    assert code_of(edge.call("GET", "/zones", token="wrong")) == (403, 10000)
    assert code_of(edge.call("GET", "/user/tokens/verify", token="wrong")) == (401, 1000)
    assert code_of(edge.call("GET", "/zones", token="")) == (400, 6003)
    assert code_of(edge.call("GET", "/nowhere")) == (404, 7003)
    assert code_of(edge.call("PATCH", "/zones")) == (405, 7001)
    assert code_of(edge.call("PUT", edge.lists(ZONE), b"{")) == (400, 6007)
    assert code_of(edge.call("PUT", edge.lists(ZONE), b"[" * 100_000)) == (400, 6007)


def test_down_answers_html_and_changes_nothing(edge: Edge) -> None:
    before = edge.state()["zones"]
    edge.control("POST", "switches", {"down": True})
    ca = edge.legacy_ca()
    status, body, _ = edge.call("PUT", edge.lists(ZONE), {"mtls_certificate_id": ca, "hostnames": []})
    assert status == 503
    assert body.startswith(b"<!DOCTYPE html>")
    assert edge.state()["zones"] == before
    assert edge.log()[-1]["status"] == 503


def test_a_fault_of_the_sandbox_is_a_500_that_leaves_nothing(
    edge: Edge, code_of: Code, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(certificates, "document_of", lambda _row: 1 / 0)
    before = edge.state()["certificates"]
    assert code_of(edge.call("DELETE", f"{edge.certificates()}/{before[1]['id']}")) == (500, 10009)
    assert edge.state()["certificates"] == before
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_dry_run_of_a_delete_stays_204_and_keeps_the_ruleset(edge: Edge) -> None:
    zone = edge.state()["zones"][1]
    path = f"/zones/{zone['id']}/rulesets/{zone['ruleset']['id']}"
    assert edge.call("DELETE", path, query="dry_run=true")[0] == 204
    assert edge.call("GET", path)[0] == 200
    assert edge.call("DELETE", path, query="dry_run=yes")[0] == 400
    assert edge.call("DELETE", path)[0] == 204
    assert edge.call("GET", path)[0] == 404


def test_a_refused_rule_write_keeps_the_version(edge: Edge) -> None:
    zone = edge.state()["zones"][1]
    path = f"/zones/{zone['id']}/rulesets/{zone['ruleset']['id']}/rules"
    rule = {"action": "log", "expression": "ssl", "position": {"index": 9}}
    assert edge.call("POST", path, rule)[0] == 400
    assert edge.call("POST", path, {**rule, "position": {"before": "", "index": 1}})[0] == 400
    assert edge.state()["zones"][1]["ruleset"] == zone["ruleset"]
    status, document, _ = edge.call("POST", path, {**rule, "position": {"index": 1}})
    assert status == 200
    assert document["result"]["rules"][0]["expression"] == "ssl"
    versions = edge.call("GET", f"/zones/{zone['id']}/rulesets/phases/http_request_firewall_custom/entrypoint/versions")
    assert [item["version"] for item in versions[1]["result"]] == ["1", "2"]


def test_a_managed_row_cannot_be_deleted(edge: Edge, code_of: Code) -> None:
    managed = edge.state()["certificates"][2]["id"]
    assert code_of(edge.call("DELETE", f"{edge.certificates()}/{managed}")) == (403, 10000)


@pytest.mark.parametrize(
    "switches", [{"nonsense": 1}, {"down": 1}, {"latency_ms": -1}, {"quota": "5"}, {"rate_limit": 0}]
)
def test_a_wrong_switch_is_refused_and_changes_nothing(edge: Edge, switches: dict[str, Any]) -> None:
    before = edge.state()["switches"]
    assert edge.control("POST", "switches", switches)[0] == 400
    assert edge.state()["switches"] == before


def test_edits_past_the_api_are_logged_apart(edge: Edge) -> None:
    sent = {"zone": ZONE, "mtls_certificate_id": edge.legacy_ca(), "hostnames": ["New.northwind.example"]}
    assert edge.control("POST", "edit", sent) == (200, {"hostnames": ["new.northwind.example"]})
    changes = {"zone": ZONE, "rule": "appsec-wp-login", "changes": {"enabled": False}}
    status, ruleset = edge.control("POST", "rules/edit", changes)
    assert (status, ruleset["version"], ruleset["rules"][0]["enabled"]) == (200, "2", False)
    assert edge.log() == []
    everything = edge.control("GET", "requests", query="origin=all")[1]["requests"]
    assert [entry["origin"] for entry in everything] == ["dashboard", "dashboard"]


def test_a_bad_control_call_is_a_refusal(edge: Edge) -> None:
    assert edge.control("POST", "edit", {"zone": "nowhere.example"})[0] == 400
    assert edge.control("POST", "nothing", {})[0] == 404
    assert edge.control("GET", "requests", query="since=x")[0] == 400
