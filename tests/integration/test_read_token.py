"""INV-44 with real workers: what only reads has a token that can only read, which the stand-in enforces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.certs import make_ca
from tests.integration.test_main_job import approve, ask, ok, requests_at_edge, upload
from tests.portal_process import PortalProcess, wait_for

READ = ["account:ssl_and_certificates:read", "zone:zone:read", "zone:ssl_and_certificates:read", "zone:waf:read"]
HOSTNAME = "read.northwind.example"


@pytest.fixture(scope="module")
def portal() -> Iterator[PortalProcess]:
    with PortalProcess() as running:
        yield running


def control(portal: PortalProcess, action: str, **body: Any) -> Any:
    return ok(httpx.post(f"{portal.edge_origin}/_sandbox/{action}", json=body))


def account(portal: PortalProcess) -> dict[str, Any]:
    with portal.api("admin") as api:
        row: dict[str, Any] = ok(api.get("/accounts/"))["results"][0]
        return row


def calls_of(portal: PortalProcess, token_id: str, since: int = 0) -> list[dict[str, Any]]:
    return [row for row in requests_at_edge(portal) if row["seq"] > since and row["token_id"] == token_id]


def test_sweeps_and_drift_read_with_one_token_and_the_other_writes(portal: PortalProcess) -> None:
    write_id = ok(httpx.get(f"{portal.edge_origin}/_sandbox/state"))["tokens"][0]["id"]
    made = control(portal, "tokens", name="Reading", permissions=READ)
    with portal.api("admin") as api:
        ok(api.put(f"/accounts/{portal.demo['sandbox']['account_id']}/read-token/", json={"token": made["token"]}))
    wait_for(lambda: account(portal)["read_token"]["state"] == "working", saying="the read token works")
    checked = {row["scope"]: row["result"] for row in account(portal)["read_token"]["scope_check"]}
    assert checked["Writing rules is refused"] == "passed"
    assert not {"failed", "excess"} & set(checked.values())

    ca = upload(portal, make_ca("Read Token Root").pem, "Read Token Root", client_issuers="self")
    row = ask(portal, kind="cover", ca=ca["id"], mode="block", hostnames=[HOSTNAME])
    assert approve(portal, row)["state"] == "done"
    written = calls_of(portal, write_id)
    assert {"POST", "PUT"} <= {call["method"] for call in written}

    since = requests_at_edge(portal)[-1]["seq"]
    control(portal, "edit", zone="northwind.example", mtls_certificate_id=ca["cloudflare_id"], hostnames=[])
    wait_for(lambda: ("missing", HOSTNAME) in drift(portal), saying="a sweep finds what is missing")
    wait_for(lambda: len(calls_of(portal, made["id"], since)) > 20, saying="sweeps go on")
    assert calls_of(portal, write_id, since) == [], "the token that can write is in no sweep"

    of_the_read_token = calls_of(portal, made["id"])
    rehearsed = [call for call in of_the_read_token if call["method"] != "GET"]
    assert all(call["query"] == {"dry_run": ["true"]} and call["status"] == 403 for call in rehearsed), rehearsed
    assert len(rehearsed) == 1, "tried once, to see that it is refused"
    assert {call["status"] for call in of_the_read_token if call["method"] == "GET"} <= {200, 403, 404}


def drift(portal: PortalProcess) -> list[tuple[str, str]]:
    with portal.api("engineer") as api:
        return [(row["kind"], row["hostname"]) for row in ok(api.get("/drift/"))["results"]]
