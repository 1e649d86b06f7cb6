"""The audit log names who changed what: the portal's token, or a person in the dashboard."""

from __future__ import annotations

from typing import Any

import pytest

from apps.sandbox import audit_log

from .conftest import Edge

ZONE = "northwind.example"
TIMES = "since=2026-11-24&before=2026-11-25"


def write(edge: Edge, *hostnames: str) -> None:
    sent = {"mtls_certificate_id": edge.legacy_ca(), "hostnames": list(hostnames)}
    assert edge.call("PUT", edge.lists(ZONE), sent)[0] == 200


def edit(edge: Edge, *hostnames: str) -> None:
    sent = {"zone": ZONE, "mtls_certificate_id": edge.legacy_ca(), "hostnames": list(hostnames)}
    assert edge.control("POST", "edit", sent)[0] == 200


def items(edge: Edge, query: str = "", times: str = TIMES) -> list[dict[str, Any]]:
    status, document, _ = edge.call("GET", f"/accounts/{edge.seeded.account_id}/logs/audit", query=f"{times}&{query}")
    assert status == 200, document
    return list(document["result"])


def test_a_write_and_an_edit_are_told_apart(edge: Edge) -> None:
    write(edge)
    edit(edge, "dash.northwind.example")
    dash, api = items(edge)
    assert dash["actor"]["context"] == "dash"
    assert dash["actor"]["email"] == audit_log.PERSON
    assert dash["resource"]["request"]["hostnames"] == ["dash.northwind.example"]
    assert (api["actor"]["token_id"], api["actor"]["token_name"]) == (edge.seeded.token_id, "BYOCA Portal")
    assert api["raw"]["uri"] == f"/client/v4{edge.lists(ZONE)}"
    assert (api["raw"]["method"], api["action"]["type"], api["action"]["result"]) == ("PUT", "update", "success")
    assert (api["zone"]["name"], api["account"]["id"]) == (ZONE, edge.seeded.account_id)
    log = edge.control("GET", "requests", query="origin=all")[1]["requests"]
    assert [entry["ray"] for entry in log[:2]] == [api["raw"]["cf_ray_id"], dash["raw"]["cf_ray_id"]]


def test_reads_refusals_and_dry_runs_leave_no_item(edge: Edge) -> None:
    zone = edge.state()["zones"][1]
    rules = f"/zones/{zone['id']}/rulesets/{zone['ruleset']['id']}/rules"
    rule = {"action": "log", "expression": "ssl"}
    edge.call("GET", edge.lists(ZONE), query=f"mtls_certificate_id={edge.legacy_ca()}")
    edge.call("PUT", edge.lists(ZONE), {"mtls_certificate_id": edge.legacy_ca(), "hostnames": ["*"]})
    edge.call("POST", rules, rule, query="dry_run=true")
    assert items(edge) == []
    edge.call("POST", rules, rule)
    assert [item["resource"]["product"] for item in items(edge)] == ["rulesets"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("actor_token_id={token}", ["PUT"]),
        ("actor_token_id.not={token}", ["DELETE", "PATCH"]),
        ("raw_method=PATCH,DELETE", ["DELETE", "PATCH"]),
        ("raw_method=PATCH&raw_method=DELETE", ["DELETE", "PATCH"]),
        ("raw_uri=/client/v4{lists}", ["PUT"]),
        ("actor_context.not=api_token&raw_method.not=DELETE", ["PATCH"]),
        ("zone_id.not={zone}", []),
        ("direction=asc", ["PUT", "PATCH", "DELETE"]),
    ],
)
def test_filters(edge: Edge, query: str, found: list[str]) -> None:
    write(edge)
    edge.control("POST", "rules/edit", {"zone": ZONE, "rule": "appsec-wp-login", "changes": {"enabled": False}})
    edge.control("POST", "rules/delete", {"zone": ZONE, "rule": "appsec-wp-login"})
    filled = query.format(token=edge.seeded.token_id, lists=edge.lists(ZONE), zone=edge.seeded.zones[ZONE])
    assert [item["raw"]["method"] for item in items(edge, filled)] == found


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_it_is_paged_by_cursor(edge: Edge, direction: str) -> None:
    for number in range(5):
        write(edge, f"h{number}.northwind.example")
    path, cursor, seen = f"/accounts/{edge.seeded.account_id}/logs/audit", "", []
    for _ in range(3):
        query = f"{TIMES}&limit=2&direction={direction}&cursor={cursor}"
        document = edge.call("GET", path, query=query)[1]
        cursor = document["result_info"]["cursors"]["after"]
        seen += [item["resource"]["request"]["hostnames"][0][1] for item in document["result"]]
    assert (seen, cursor) == (sorted("01234", reverse=direction == "desc"), "")


def test_times_bound_it_and_items_come_late(edge: Edge) -> None:
    edge.control("POST", "switches", {"audit_lag_s": 60})
    write(edge)
    assert items(edge) == []
    edge.clock.advance(60)
    assert len(items(edge)) == 1
    assert items(edge, times="since=2026-11-24T09:00:01Z&before=2026-11-25") == []
    assert items(edge, times="since=2026-11-23&before=2026-11-24") == []


@pytest.mark.parametrize(
    "query",
    ["", "since=2026-11-24", "since=x&before=y", f"{TIMES}&colour=red", f"{TIMES}&direction=up", f"{TIMES}&limit=1001"],
)
def test_a_bad_question_is_400(edge: Edge, query: str) -> None:
    assert edge.call("GET", f"/accounts/{edge.seeded.account_id}/logs/audit", query=query)[0] == 400


def test_it_takes_its_permission(edge: Edge) -> None:
    token = edge.control("POST", "tokens", {"name": "t", "permissions": ["zone:zone:read"]})[1]["token"]
    assert edge.call("GET", f"/accounts/{edge.seeded.account_id}/logs/audit", query=TIMES, token=token)[0] == 403
