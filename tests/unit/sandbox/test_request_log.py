"""The log keeps what checkers need, in bounds, and a store of an earlier version is read on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from apps.sandbox import request_log, ruleset_store
from apps.sandbox.store import Store
from apps.sandbox.tokens import create_token

from .conftest import Edge

ZONE = "northwind.example"
EARLIER = """
CREATE TABLE tokens (
    id TEXT PRIMARY KEY, account_id TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE, permissions TEXT NOT NULL, zones TEXT,
    revoked INTEGER NOT NULL DEFAULT 0, created_on TEXT NOT NULL);
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, origin TEXT NOT NULL, method TEXT NOT NULL,
    path TEXT NOT NULL, query TEXT NOT NULL, body TEXT, status INTEGER NOT NULL, token_id TEXT,
    violation TEXT, ray TEXT NOT NULL);
INSERT INTO requests VALUES (1, '2026-01-01T00:00:00Z', 'api', 'GET', '/client/v4/zones', '', NULL, 200, NULL, NULL, 'r'
);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO settings VALUES ('switches', '{"quota": 9, "gone": true}');
"""


def test_a_write_tells_what_it_changed_and_a_read_does_not(edge: Edge) -> None:
    ca, zone = edge.legacy_ca(), edge.state()["zones"][1]
    edge.call("GET", edge.lists(ZONE), query=f"mtls_certificate_id={ca}")
    edge.call("PUT", edge.lists(ZONE), {"mtls_certificate_id": ca, "hostnames": ["a.northwind.example"]})
    rules = f"/zones/{zone['id']}/rulesets/{zone['ruleset']['id']}/rules"
    edge.call("POST", rules, {"action": "log", "expression": "ssl", "ref": "new"})
    edge.call("POST", rules, {"action": "log", "expression": "ssl", "ref": "dry"}, query="dry_run=true")
    edge.call("PUT", edge.lists(ZONE), {"mtls_certificate_id": ca, "hostnames": ["*"]})
    read, put, added, dry, refused = edge.log()
    assert [entry["applied"] for entry in (read, put, added, dry, refused)] == [False, True, True, False, False]
    assert (read["before"], read["after"]) == (None, None)
    assert (put["before"], put["after"]) == (zone["lists"][ca], ["a.northwind.example"])
    assert [rule["ref"] for rule in added["before"]] == ["appsec-wp-login"]
    assert [rule["ref"] for rule in added["after"]] == ["appsec-wp-login", "new"]
    assert dry["after"] == dry["before"] == added["after"]
    assert refused["after"] is None


def test_it_is_read_in_pages(edge: Edge) -> None:
    for _ in range(5):
        edge.call("GET", "/zones")
    first = edge.control("GET", "requests", query="limit=3")[1]
    assert ([entry["seq"] for entry in first["requests"]], first["more"], first["last_seq"]) == ([1, 2, 3], True, 5)
    rest = edge.control("GET", "requests", query="limit=3&since=3")[1]
    assert ([entry["seq"] for entry in rest["requests"]], rest["more"]) == ([4, 5], False)
    assert edge.control("GET", "requests", query="limit=0")[0] == 400


def test_the_oldest_lines_go_beyond_either_bound(edge: Edge) -> None:
    for _ in range(6):
        edge.call("PUT", "/nowhere", b"x" * 100)
    with edge.store.transaction() as db:
        request_log.tidy(db, 6, kept=4)
    assert [entry["seq"] for entry in edge.log()] == [3, 4, 5, 6]
    with edge.store.transaction() as db:
        request_log.tidy(db, 6, kept_bytes=250)
    assert [entry["seq"] for entry in edge.log()] == [5, 6]


def test_a_store_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.sqlite3"
    with sqlite3.connect(path) as old:
        old.executescript(EARLIER)
    old.close()
    for _ in range(2):
        store = Store(path)
        with store.transaction() as db:
            (entry,) = request_log.entries_since(db, 0)
            create_token(db, account_id="a", name="t", now=store.clock())
        assert (entry["applied"], entry["fault"]) == (False, None)
        store.close()


def test_old_versions_of_a_ruleset_are_dropped(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ruleset_store, "KEPT_VERSIONS", 3)
    zone = edge.state()["zones"][1]
    path = f"/zones/{zone['id']}/rulesets/{zone['ruleset']['id']}"
    for number in range(5):
        edge.call("PUT", path, {"rules": [{"action": "log", "expression": "ssl", "ref": f"r{number}"}]})
    versions = edge.call("GET", f"/zones/{zone['id']}/rulesets/phases/http_request_firewall_custom/entrypoint/versions")
    assert [item["version"] for item in versions[1]["result"]] == ["4", "5", "6"]
