"""The stop switch and freeze windows, with real workers: what reaches the edge, and when it goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.certs import make_ca
from tests.integration.test_main_job import ask, ok, requests_at_edge, switch, upload
from tests.portal_process import PortalProcess, wait_for

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
ZONE = "northwind.example"


@pytest.fixture(scope="module")
def portal() -> Iterator[PortalProcess]:
    with PortalProcess() as running:
        yield running


@pytest.fixture(scope="module")
def ca(portal: PortalProcess) -> dict[str, Any]:
    return upload(portal, make_ca("Hold Root").pem, "Hold Root", client_issuers="self")


def writes_since(portal: PortalProcess, seq: int) -> list[dict[str, Any]]:
    return [
        row for row in requests_at_edge(portal)
        if row["seq"] > seq and row["method"] in WRITES and row["query"] != {"dry_run": ["true"]}
    ]  # fmt: skip


def last_seq(portal: PortalProcess) -> int:
    return int(requests_at_edge(portal)[-1]["seq"])


def wait_for_reads(portal: PortalProcess, seq: int, count: int = 20) -> None:
    """Sweeps go on: that many calls later, a write would have been among them."""
    wait_for(
        lambda: len([row for row in requests_at_edge(portal) if row["seq"] > seq]) >= count, saying="reading goes on"
    )


def state(portal: PortalProcess, request_id: int) -> dict[str, Any]:
    with portal.api("owner") as api:
        return dict(ok(api.get(f"/requests/{request_id}/")))


def approve_only(portal: PortalProcess, row: dict[str, Any]) -> None:
    with portal.api("engineer2") as api:
        ok(api.post(f"/requests/{row['id']}/approve/", json={"digest": row["digest"]}))


def test_a_stop_in_the_middle_of_a_change_ends_the_writes_and_outlives_a_restart(
    portal: PortalProcess, ca: dict[str, Any]
) -> None:
    row = ask(portal, kind="cover", ca=ca["id"], hostnames=[f"a{n}.{ZONE}" for n in range(5)], mode="block")
    before = last_seq(portal)
    switch(portal, latency_ms=700)
    approve_only(portal, row)
    wait_for(lambda: writes_since(portal, before), saying="the first write is at the edge")
    with portal.api("engineer") as api:
        stop = ok(api.post("/stops/", json={"scope": "everything", "reason": "Wrong lists"}))
    stopped_at = last_seq(portal)
    switch(portal, latency_ms=0)
    wait_for_reads(portal, stopped_at)
    assert len(writes_since(portal, stopped_at)) <= 1, "only a call that was on its way already"
    settled = last_seq(portal)

    portal.stop()
    portal.start()
    wait_for_reads(portal, settled)
    assert writes_since(portal, settled) == []
    waiting = state(portal, row["id"])
    assert waiting["state"] in {"approved", "applying"}
    assert "Wrong lists" in waiting["hold"]["sentence"]

    with portal.api("admin") as api:
        ok(api.post(f"/stops/{stop['id']}/lift/", json={"reason": "They were right"}))
    wait_for(lambda: state(portal, row["id"])["state"] == "done", saying="it goes on by itself")
    assert state(portal, row["id"])["hold"] is None


def test_a_change_in_a_deny_window_waits_says_until_when_and_goes_by_itself(
    portal: PortalProcess, ca: dict[str, Any]
) -> None:
    row = ask(portal, kind="cover", ca=ca["id"], hostnames=[f"frozen.{ZONE}"], mode="verify")
    ends_at = datetime.now(UTC) + timedelta(seconds=8)
    with portal.api("admin") as api:
        body = {"name": "Sale", "repeats": "once", "timezone": "UTC", "zone": ZONE}
        times = {"starts_at": (ends_at - timedelta(days=1)).isoformat(), "ends_at": ends_at.isoformat()}
        ok(api.post("/freeze-windows/", json=body | times))
    before = last_seq(portal)
    approve_only(portal, row)
    wait_for_reads(portal, before)
    waiting = state(portal, row["id"])
    if datetime.now(UTC) < ends_at:
        assert (waiting["state"], waiting["hold"]["kind"]) == ("approved", "frozen")
        assert datetime.fromisoformat(waiting["hold"]["until"]) == ends_at
    wait_for(lambda: state(portal, row["id"])["state"] == "done", saying="it goes when the window ends")
    assert all(datetime.fromisoformat(write["at"]) >= ends_at for write in writes_since(portal, before))


def test_a_stopped_account_is_read_and_not_written(portal: PortalProcess, ca: dict[str, Any]) -> None:
    with portal.api("admin") as api:
        (account,) = ok(api.get("/accounts/"))["results"]
        stop = ok(api.post("/stops/", json={"scope": "account", "account": account["id"], "reason": "Look"}))
    pem, before = make_ca("Late Root").pem, last_seq(portal)
    with portal.api("engineer") as api:
        late = ok(api.post("/cas/", json={"name": "Late Root", "pem": pem}))
    wait_for_reads(portal, before)
    assert writes_since(portal, before) == [], "no CA is uploaded either"
    with portal.api("admin") as api:
        ok(api.post(f"/stops/{stop['id']}/lift/", json={"reason": "Seen"}))
    with portal.api("engineer") as api:
        wait_for(lambda: ok(api.get(f"/cas/{late['id']}/"))["state"] == "live", saying="the upload goes")
