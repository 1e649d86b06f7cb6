"""Zones: every page or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from apps.cloudflare import errors, records
from apps.cloudflare.client import Client
from apps.cloudflare.zones import Zone
from tests.unit.cloudflare.conftest import ACCOUNT
from tests.unit.cloudflare.server import Edge, failure, reset, success


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{number:032x}",
        "name": f"Example{number}.com",
        "status": "active",
        "paused": False,
        "account": {"id": ACCOUNT, "name": "x"},
        "plan": {"id": "1", "name": "Enterprise Website"},
    } | changes


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [row(number) for number in range(first, last + 1)]


def test_a_zone_is_read_with_every_field(edge: Edge, client: Client) -> None:
    edge.script(success([row(1, paused=True, status="pending")], total_count=1, total_pages=1))
    expected = Zone(f"{1:032x}", "example1.com", "pending", True, ACCOUNT, "Enterprise Website")
    assert client.zones.list(ACCOUNT) == (expected,)
    assert edge.requests[0].path == "/client/v4/zones"
    assert edge.requests[0].query == {"account.id": [ACCOUNT], "page": ["1"], "per_page": ["50"]}


def test_a_zone_may_lack_what_the_schema_lacks(edge: Edge, client: Client) -> None:
    edge.script(success([{"id": f"{1:032x}", "name": "a.com"}, row(2, plan={"id": "x"})]))
    first, second = client.zones.list(ACCOUNT)
    assert first == Zone(f"{1:032x}", "a.com", "active", False, "", "")
    assert second.plan == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": "x/y"},
        {"name": None},
        {"paused": "no"},
        {"account": []},
        {"status": 1},
        {"plan": {"name": 1}},
    ],
)
def test_one_wrong_row_fails_the_whole_read(edge: Edge, client: Client, changes: dict[str, Any]) -> None:
    edge.script(success([row(1), row(2) | changes]))
    with pytest.raises(errors.Unreadable):
        client.zones.list(ACCOUNT)


def test_a_zone_of_another_account_fails_the_read(edge: Edge, client: Client) -> None:
    edge.script(success([row(1), row(2, account={"id": "f" * 32})]))
    with pytest.raises(errors.Unreadable, match="another account"):
        client.zones.list(ACCOUNT)


def test_every_page_is_read(edge: Edge, client: Client) -> None:
    edge.script(
        success(rows(1, 50), total_count=120, total_pages=3),
        success(rows(51, 100), total_count=120, total_pages=3),
        success(rows(101, 120), total_count=120, total_pages=3),
    )
    assert [zone.id for zone in client.zones.list(ACCOUNT)] == [f"{n:032x}" for n in range(1, 121)]
    assert [seen.query["page"] for seen in edge.requests] == [["1"], ["2"], ["3"]]


def test_no_zones_at_all(edge: Edge, client: Client) -> None:
    edge.script(success([], count=0, total_count=0, total_pages=0))
    assert client.zones.list(ACCOUNT) == ()


@pytest.mark.parametrize("second", [failure(500, 1), failure(429, 971), reset, success(None)])
def test_a_page_that_fails_fails_the_whole_read(edge: Edge, client: Client, second: Any) -> None:
    edge.script(success(rows(1, 50), total_count=60, total_pages=2), second)
    with pytest.raises(errors.CloudflareError):
        client.zones.list(ACCOUNT)


@pytest.mark.parametrize(
    "info",
    [
        {"total_count": 3, "total_pages": 1},
        {"total_count": 1, "total_pages": 1},
        {"total_count": "2", "total_pages": 1},
        {"total_count": 2, "total_pages": "1"},
        {"total_count": 2, "total_pages": None},
        {"total_count": 2, "total_pages": True},
        {"total_count": 2, "total_pages": records.MAX_PAGES + 1},
    ],
)
def test_a_count_that_does_not_add_up_fails_the_whole_read(edge: Edge, client: Client, info: dict[str, Any]) -> None:
    edge.script(success(rows(1, 2), **info))
    with pytest.raises(errors.Unreadable):
        client.zones.list(ACCOUNT)
    assert len(edge.requests) == 1


def test_a_full_page_without_a_count_may_not_be_the_last(edge: Edge, client: Client) -> None:
    edge.script(success(rows(1, 50)), success(rows(1, 49)))
    with pytest.raises(errors.Unreadable):
        client.zones.list(ACCOUNT)
    assert len(client.zones.list(ACCOUNT)) == 49


def test_a_page_that_repeats_ends_the_read_at_once(edge: Edge, client: Client) -> None:
    page = success(rows(1, 50), total_count=500, total_pages=10)
    edge.script(*[page] * 10)
    with pytest.raises(errors.Unreadable, match="twice"):
        client.zones.list(ACCOUNT)
    assert len(edge.requests) == 2


def test_pages_that_never_end_are_given_up(edge: Edge, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_PAGES", 4)
    edge.script(*[success([row(n)], total_count=99, total_pages=n + 1) for n in range(1, 10)])
    with pytest.raises(errors.Unreadable, match="total_pages"):
        client.zones.list(ACCOUNT)
    assert len(edge.requests) == 4
