"""The example account: what a fresh portal meets."""

from __future__ import annotations

import re

from apps.sandbox.seed import seed

from .conftest import Edge


def test_zones_hostnames_and_rules_are_there_at_once(edge: Edge) -> None:
    zones = {zone["name"]: zone for zone in edge.state()["zones"]}
    legacy = edge.legacy_ca()
    assert {name: zone["lists"].get(legacy, []) for name, zone in zones.items()} == {
        "northwind-pay.example": ["legacy.northwind-pay.example"],
        "northwind.example": ["edi.northwind.example", "old-api.northwind.example"],
        "devices.northwind.example": [],
    }
    assert [name for name, zone in zones.items() if zone["ruleset"]] == ["northwind.example"]
    kinds = [(item["type"], item["ca"]) for item in edge.state()["certificates"]]
    assert kinds == [("custom", True), ("custom", False), ("access_managed", True)]


def test_ids_have_the_shapes_of_cloudflares(edge: Edge) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", edge.seeded.account_id)
    assert all(re.fullmatch(r"[0-9a-f]{32}", zone_id) for zone_id in edge.seeded.zones.values())
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", edge.legacy_ca())


def test_a_store_that_holds_anything_is_left_alone(edge: Edge) -> None:
    before = edge.state()
    assert seed(edge.store) is None
    assert edge.state() == before
