"""Faults are played on the calls they name, are used up by them, and apply a write only when they say so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.sandbox.fault_kinds import FIELDS, INSTEAD

from .conftest import Edge

ZONE = "northwind.example"
NEW = ["new.northwind.example"]


def arm(edge: Edge, do: dict[str, Any], **match: Any) -> None:
    status, document = edge.control("POST", "faults", {"rules": [{"match": match, "do": do}]})
    assert status == 200, document


def put(edge: Edge, hostnames: list[str] | None = None) -> tuple[int, Any, dict[str, str]]:
    sent = {"mtls_certificate_id": edge.legacy_ca(), "hostnames": NEW if hostnames is None else hostnames}
    return edge.call("PUT", edge.lists(ZONE), sent)


def get(edge: Edge) -> tuple[int, Any, dict[str, str]]:
    return edge.call("GET", edge.lists(ZONE), query=f"mtls_certificate_id={edge.legacy_ca()}")


def at_edge(edge: Edge) -> list[str]:
    return list(edge.state()["zones"][1]["lists"][edge.legacy_ca()])


@pytest.mark.parametrize("kind", sorted(INSTEAD))
@pytest.mark.parametrize("applied", [True, False])
def test_an_answer_is_replaced_with_the_write_applied_or_not(edge: Edge, kind: str, applied: bool) -> None:
    before = at_edge(edge)
    arm(edge, {"fault": kind, "applied": applied})
    status, _, headers = put(edge)
    entry = edge.log()[-1]
    assert at_edge(edge) == (NEW if applied else before)
    assert (entry["applied"], entry["fault"], entry["status"]) == (applied, kind, status)
    assert (entry["before"], entry["after"]) == ((before, NEW) if applied else (None, None))
    assert "cf-ray" in headers
    assert put(edge)[0] == 200


def test_a_fault_without_applied_has_no_effect(edge: Edge) -> None:
    before = at_edge(edge)
    arm(edge, {"fault": "status"})
    assert put(edge)[0] == 500
    assert at_edge(edge) == before


@pytest.mark.parametrize(
    ("do", "status", "body"),
    [
        ({}, 500, b'{"result": null, "success": false'),
        ({"status": 502}, 502, b"<!DOCTYPE html>"),
        ({"status": 520}, 520, b"<!DOCTYPE html>"),
        ({"status": 530}, 530, b"<!DOCTYPE html>"),
        ({"status": 503, "body": "null"}, 503, b"null"),
        ({"status": 504, "body": "empty"}, 504, b""),
        (
            {"status": 403, "code": 9109, "message": "no"},
            403,
            b'{"result": null, "success": false, "errors": [{"code": 9109',
        ),
    ],
)
def test_statuses_have_the_body_that_belongs_to_them(edge: Edge, do: dict[str, Any], status: int, body: bytes) -> None:
    arm(edge, {"fault": "status", **do})
    found, document, _ = get(edge)
    sent = document if isinstance(document, bytes) else json.dumps(document).encode()
    assert found == status
    assert sent.startswith(body)
    assert status < 520 or b"<script>" in sent


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("truncated_json", b'{"result": {"hostnames": ["edi.'),
        ("malformed_json", b"{'result'"),
        ("empty_array", b"[]"),
        ("null_body", b"null"),
        ("missing_result", b'{"success": true'),
        ("null_result", b'{"result": null, "success": true'),
        ("not_a_number", b'{"result": NaN, "success": true'),
        ("wrong_types", b'{"result": {"hostnames": [1, null'),
        ("altered", b'{"result": {"hostnames": ["old-api.northwind.example"]}'),
    ],
)
def test_the_real_answer_is_spoiled(edge: Edge, kind: str, body: bytes) -> None:
    arm(edge, {"fault": kind})
    query = f"mtls_certificate_id={edge.legacy_ca()}"
    assert raw(edge, "GET", edge.lists(ZONE), query).startswith(body)
    assert raw(edge, "GET", edge.lists(ZONE), query).startswith(b'{"result": {"hostnames": ["edi.northwind.example"')


def raw(edge: Edge, method: str, path: str, query: str) -> bytes:
    from apps.sandbox.incoming import Incoming

    headers = {"authorization": f"Bearer {edge.seeded.token}"}
    return edge.gateway.answer(Incoming(method, path, query, headers, b"")).body


def test_equal_keys_hide_the_list_behind_an_empty_one(edge: Edge) -> None:
    arm(edge, {"fault": "duplicate_keys"})
    body = raw(edge, "GET", edge.lists(ZONE), f"mtls_certificate_id={edge.legacy_ca()}")
    assert body.count(b'"result"') == 2
    assert json.loads(body)["result"] == {"hostnames": []}


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ("added", [*NEW, "nobody-asked.example"]),
        ("upper_case", ["NEW.NORTHWIND.EXAMPLE"]),
        ("dropped", []),
        ("reordered", NEW),
    ],
)
def test_an_altered_answer_differs_from_what_is_stored(edge: Edge, how: str, names: list[str]) -> None:
    arm(edge, {"fault": "altered", "how": how})
    assert put(edge)[1]["result"]["hostnames"] == names
    assert at_edge(edge) == NEW


def test_a_spoiled_answer_can_be_of_a_write_that_was_not_kept(edge: Edge) -> None:
    before = at_edge(edge)
    arm(edge, {"fault": "null_result", "applied": False})
    assert put(edge)[1]["result"] is None
    assert at_edge(edge) == before
    assert (edge.log()[-1]["applied"], edge.log()[-1]["after"]) == (False, before)


def test_a_million_hostnames(edge: Edge) -> None:
    arm(edge, {"fault": "many_hostnames", "count": 1000})
    assert len(get(edge)[1]["result"]["hostnames"]) == 1000


def test_pages_of_zones_lie(edge: Edge) -> None:
    for number in range(4):
        edge.control("POST", "zones", {"name": f"z{number}.example"})
    arm(edge, {"fault": "page_repeats"}, path="^/zones$", times=None)
    for page in ("1", "2", "3"):
        document = edge.call("GET", "/zones", query=f"per_page=5&page={page}")[1]
        assert document["result_info"]["page"] == int(page)
        assert (document["result"][0]["name"], document["result_info"]["total_pages"]) == (
            "devices.northwind.example",
            10**6,
        )
    edge.control("POST", "faults", {"replace": True})
    arm(edge, {"fault": "total_count_lies", "by": -2})
    assert edge.call("GET", "/zones")[1]["result_info"]["total_count"] == 5
    arm(edge, {"fault": "status", "status": 502}, query="page=2")
    assert [edge.call("GET", "/zones", query=f"page={page}&per_page=5")[0] for page in (1, 2, 2)] == [200, 502, 200]


def test_headers_can_be_set_and_taken_away(edge: Edge) -> None:
    arm(edge, {"fault": "headers", "set": {"Ratelimit": '"default";r=0;t=30'}, "remove": ["cf-ray"]})
    status, _, headers = get(edge)
    assert (status, headers["ratelimit"], "cf-ray" in headers) == (200, '"default";r=0;t=30', False)


def test_a_429_can_say_when_in_any_words(edge: Edge) -> None:
    for words, told in (("seconds", "7"), ("date", "Tue, 24 Nov 2026 09:00:07 GMT"), ("absent", None), ("-5", "-5")):
        arm(edge, {"fault": "rate_limited", "retry_after": words, "seconds": 7, "body": "null"})
        status, body, headers = get(edge)
        assert (status, headers.get("retry-after"), body) == (429, told, b"null")


def test_a_switch_can_be_set_for_one_call(edge: Edge) -> None:
    old = at_edge(edge)
    put(edge)
    arm(edge, {"fault": "switches", "set": {"association_lag_s": 60}})
    assert get(edge)[1]["result"]["hostnames"] == old
    assert get(edge)[1]["result"]["hostnames"] == NEW
    assert edge.state()["switches"]["association_lag_s"] == 0


@pytest.mark.parametrize(
    ("switches", "status"),
    [
        ({"down": True}, 503),
        ({"associations_entitled": False}, 403),
        ({"max_hostnames": 1}, 400),
        ({"hostname_case": "refused"}, 400),
        ({"token_spread_s": 10**6}, 403),
        ({"ratelimit_headers": False}, 200),
    ],
)
def test_switches_of_every_group_hold_for_one_call_and_leave_the_others(
    edge: Edge, switches: dict[str, Any], status: int
) -> None:
    names = ["a.northwind.example", "B.northwind.example"]
    get(edge)
    arm(edge, {"fault": "switches", "set": switches})
    found, _, headers = put(edge, names)
    assert (found, "ratelimit" in headers) == (status, "ratelimit_headers" not in switches)
    assert (put(edge, names)[0], "ratelimit" in get(edge)[2]) == (200, True)


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({"method": "put"}, True),
        ({"method": "GET"}, False),
        ({"path": "hostname_associations$"}, True),
        ({"path": "^/accounts"}, False),
        ({"zone": ZONE}, True),
        ({"zone": "northwind-pay.example"}, False),
        ({"ca": "Legacy Partners Root 2023"}, True),
        ({"ca": "access-devices"}, False),
        ({"token": "BYOCA Portal"}, True),
        ({"token": "somebody"}, False),
        ({"query": "dry_run"}, False),
    ],
)
def test_a_rule_names_its_calls(edge: Edge, match: dict[str, Any], hit: bool) -> None:
    arm(edge, {"fault": "status"}, **match)
    assert (put(edge)[0] == 500) is hit
    assert edge.control("GET", "faults")[1]["left"] == (0 if hit else 1)


def test_a_ca_is_named_by_the_path_or_the_query_too(edge: Edge) -> None:
    arm(edge, {"fault": "status"}, ca=edge.legacy_ca(), times=2)
    assert get(edge)[0] == 500
    assert edge.call("GET", f"{edge.certificates()}/{edge.legacy_ca()}")[0] == 500
    assert get(edge)[0] == 200


def test_nth_and_times_count_the_matching_calls(edge: Edge) -> None:
    arm(edge, {"fault": "status"}, method="PUT", nth=2, times=2)
    assert [put(edge)[0] if number != 1 else get(edge)[0] for number in range(5)] == [200, 200, 500, 500, 200]


def test_rules_are_taken_in_their_order_and_outlive_a_restart(edge: Edge) -> None:
    for status in (500, 502, 504):
        arm(edge, {"fault": "status", "status": status})
    assert [get(edge)[0] for _ in range(4)] == [500, 502, 504, 200]
    script = edge.control("GET", "faults")[1]
    assert [(rule["left"], rule["played"]) for rule in script["rules"]] == [(0, 1)] * 3
    assert edge.control("POST", "faults", {"replace": True})[1]["rules"] == []


def play(edge: Edge, seed: int) -> list[int]:
    mode = {
        "probability": 0.5,
        "seed": seed,
        "kinds": ["reset", {"fault": "status", "status": 502}],
        "match": {"method": "PUT"},
    }
    edge.control("POST", "faults", {"replace": True, "random": mode})
    return [put(edge, [])[0] for _ in range(20)]


def test_the_random_mode_repeats_with_its_seed(edge: Edge) -> None:
    first = play(edge, 1)
    assert play(edge, 1) == first
    assert play(edge, 2) != first
    assert set(first) == {0, 200, 502}
    assert get(edge)[0] == 200
    mode = edge.control("GET", "faults")[1]["random"]
    assert (mode["calls"], mode["played"] > 0) == (20, True)
    applied = {entry["applied"] for entry in edge.log() if entry["fault"]}
    assert applied == {True, False}
    edge.control("POST", "faults", {"random": None})
    assert {put(edge)[0] for _ in range(10)} == {200}


@pytest.mark.parametrize(
    ("kind", "applied"),
    [("delay", {True}), ("trickle", {True}), ("rate_limited", {False}), ("reset", {True, False})],
)
def test_at_random_only_open_answers_leave_the_effect_open(edge: Edge, kind: str, applied: set[bool]) -> None:
    do = {"delay": {"fault": "delay", "ms": 0}}.get(kind, {"fault": kind})
    edge.control("POST", "faults", {"random": {"probability": 1, "seed": 5, "kinds": [do]}})
    for _ in range(12):
        put(edge)
    assert {(entry["fault"], entry["applied"]) for entry in edge.log()} == {(kind, each) for each in applied}


def test_every_fault_and_field_is_known_by_name(edge: Edge) -> None:
    for kind, fields in FIELDS.items():
        arm(edge, {"fault": kind, **fields})
    assert len(edge.state()["faults"]["rules"]) == len(FIELDS)


@pytest.mark.parametrize(
    "sent",
    [
        {"rules": [{"do": {"fault": "nonsense"}}]},
        {"rules": [{"do": {"fault": "status", "colour": 1}}]},
        {"rules": [{"do": {"fault": "status", "status": "500"}}]},
        {"rules": [{"do": {"fault": "status", "status": 600}}]},
        {"rules": [{"do": {"fault": "status", "applied": 1}}]},
        {"rules": [{"do": {"fault": "hold", "at": "lunch"}}]},
        {"rules": [{"do": {"fault": "delay", "applied": False}}]},
        {"rules": [{"do": {"fault": "switches", "set": {"nonsense": 1}}}]},
        {"rules": [{"do": {"fault": "hold", "at": "mid_request_body"}, "match": {"ca": "x"}}]},
        {"rules": [{"do": {"fault": "reset"}, "match": {"path": "("}}]},
        {"rules": [{"do": {"fault": "reset"}, "match": {"path": 1}}]},
        {"rules": [{"do": {"fault": "reset"}, "match": {"colour": "red"}}]},
        {"rules": [{"do": {"fault": "reset"}, "match": {"nth": 0}}]},
        {"rules": [{"do": {"fault": "reset"}, "match": {"times": 0}}]},
        {"rules": [{"do": {"fault": "reset"}, "when": "now"}]},
        {"rules": [{"do": {"fault": "reset"}}, {"do": {}}]},
        {"rules": [{"do": {"fault": "reset"}}] * 1001},
        {"random": {"probability": 2}},
        {"random": {"probability": 0.5, "seed": "x"}},
        {"random": {"probability": 0.5, "kinds": ["nonsense"]}},
        {"random": [1]},
        {"colour": 1},
    ],
)
def test_a_wrong_script_is_refused_whole(edge: Edge, sent: dict[str, Any]) -> None:
    assert edge.control("POST", "faults", sent)[0] == 400
    script = edge.control("GET", "faults")[1]
    assert (script["rules"], script["random"]) == ([], None)
