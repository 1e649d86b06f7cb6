"""The page shows the edge, changes it by forms, and is inert whatever names hold."""

from __future__ import annotations

from urllib.parse import urlencode

from apps.sandbox import page_forms
from apps.sandbox.page_switches import APART, LABELS, PRESETS, TARGETS
from apps.sandbox.switches import KINDS

from .conftest import Edge

ZONE = "northwind.example"


def post(edge: Edge, **fields: str) -> tuple[int, str]:
    answer = page_forms.act(edge.store, urlencode(fields).encode())
    return answer.status, answer.body.decode()


def test_it_says_what_it_is_and_shows_what_is_there(edge: Edge) -> None:
    html = page_forms.show(edge.store).body.decode()
    assert "Local stand-in for Cloudflare. Nothing here reaches the internet." in html
    for text in ("Legacy Partners Root 2023", "edi.northwind.example", "/wp-login", "1 of 5 CA slots used"):
        assert text in html
    assert "<script" not in html
    assert " style=" not in html


def test_a_list_is_saved_and_a_refused_one_keeps_the_text(edge: Edge) -> None:
    fields = {"act": "list", "zone": edge.seeded.zones[ZONE], "certificate": edge.legacy_ca()}
    assert post(edge, **fields, hostnames="One.northwind.example\r\ntwo.northwind.example")[0] == 303
    saved = ["one.northwind.example", "two.northwind.example"]
    assert edge.state()["zones"][1]["lists"][edge.legacy_ca()] == saved
    status, html = post(edge, **fields, hostnames="three.northwind.example *.northwind.example")
    assert status == 400
    assert "Not saved." in html
    assert "three.northwind.example *.northwind.example" in html
    assert edge.state()["zones"][1]["lists"][edge.legacy_ca()] == saved


def test_a_rule_is_edited_and_deleted(edge: Edge) -> None:
    zone = edge.state()["zones"][1]
    fields = {"zone": zone["id"], "rule": zone["ruleset"]["rules"][0]["id"]}
    assert post(edge, act="rule", expression="ssl", **fields)[0] == 303
    rule = edge.state()["zones"][1]["ruleset"]["rules"][0]
    assert (rule["expression"], rule["enabled"]) == ("ssl", False)
    assert post(edge, act="rule", expression="ssl and (", **fields)[0] == 400
    assert post(edge, act="delete-rule", **fields)[0] == 303
    assert edge.state()["zones"][1]["ruleset"]["rules"] == []


def test_switches_and_tokens(edge: Edge) -> None:
    assert post(edge, act="down", value="1")[0] == 303
    assert post(edge, act="latency", value="250")[0] == 303
    assert post(edge, act="latency", value="soon")[0] == 400
    assert post(edge, act="token", id=edge.seeded.token_id, value="1")[0] == 303
    state = edge.state()
    assert (state["switches"]["down"], state["switches"]["latency_ms"]) == (True, 250)
    assert state["tokens"][0]["revoked"]
    assert post(edge, act="nonsense")[0] == 400


def test_hostile_text_is_inert(edge: Edge) -> None:
    hostile = '</textarea><script>alert("x")</script>'
    edge.control("POST", "rules/add", {"zone": ZONE, "rule": {"action": "log", "expression": "ssl", "ref": hostile}})
    edge.call("GET", f"/zones/{hostile}")
    assert "<script" not in page_forms.show(edge.store).body.decode()


def test_behaviour_is_chosen_by_profile_or_switch_by_switch(edge: Edge) -> None:
    assert "The edge shows every write at once." in page_forms.show(edge.store).body.decode()
    assert post(edge, act="profile", value="realistic")[0] == 303
    html = page_forms.show(edge.store).body.decode()
    assert "The edge lags behind writes." in html
    assert "All switches (6 changed)" in html
    fields = {"act": "switches", "quota": "7", "wildcards": "true", "retry_after": "absent", "down": "true"}
    assert post(edge, **fields)[0] == 303
    switches = edge.state()["switches"]
    assert (switches["quota"], switches["wildcards"], switches["retry_after"]) == (7, True, "absent")
    assert switches["down"] is False
    status, html = post(edge, act="switches", quota="many")
    assert (status, "CA slots takes a whole number." in html) == (400, True)
    assert post(edge, act="switches", retry_after="never")[0] == 400
    assert post(edge, act="reset")[0] == 303
    assert edge.state()["switches"]["quota"] == 5


def test_every_switch_has_a_label_and_a_field(edge: Edge) -> None:
    assert set(LABELS) | set(APART) == set(KINDS)
    html = page_forms.show(edge.store).body.decode()
    assert all(f'name="{name}"' in html for name in LABELS)


def test_every_fault_of_the_page_can_be_set_seen_and_cleared(edge: Edge) -> None:
    for fault in PRESETS:
        for target in TARGETS:
            assert post(edge, act="fault", fault=fault, target=target, times="ever")[0] == 303
    html = page_forms.show(edge.store).body.decode()
    assert "<b>timeout</b>" in html
    assert "until cleared" in html
    assert post(edge, act="clear-faults")[0] == 303
    assert post(edge, act="fault", fault="500", target="zones", times="1")[0] == 303
    assert edge.call("GET", "/zones")[0] == 500
    assert "No fault waits for a call." in page_forms.show(edge.store).body.decode()
    edge.control("POST", "faults", {"random": {"probability": 0.25, "seed": 3}})
    assert "Random faults: 25% of calls, seed 3" in page_forms.show(edge.store).body.decode()
    assert post(edge, act="fault", fault="nonsense", target="any", times="1")[0] == 400
    edge.control("POST", "faults", {"rules": [{"match": {"path": "<script>", "nth": 3}, "do": {"fault": "reset"}}]})
    html = page_forms.show(edge.store).body.decode()
    assert "<script" not in html
    assert "after 2 more" in html
