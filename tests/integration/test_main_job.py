"""The main job, end to end, by the REST API: real worker, broker, database and stand-in, seen from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest

from tests.certs import make_ca, make_leaf
from tests.portal_process import PortalProcess, wait_for

ASSOCIATIONS = "/zones/{zone}/certificate_authorities/hostname_associations"
ENTRYPOINT = "/zones/{zone}/rulesets/phases/http_request_firewall_custom/entrypoint"


@pytest.fixture(scope="module")
def portal() -> Iterator[PortalProcess]:
    with PortalProcess() as running:
        yield running


def real_root() -> str:
    """A long-lived root of certifi."""
    text = Path(certifi.where()).read_text(encoding="ascii").partition('# Label: "ISRG Root X1"')[2]
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return begin + text.partition(begin)[2].partition(end)[0] + end + "\n"


def ok(answer: httpx.Response) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json()


def upload(portal: PortalProcess, pem: str, name: str, **more: str) -> dict[str, Any]:
    with portal.api("engineer") as api:
        ca = ok(api.post("/cas/", json={"name": name, "pem": pem, **more}))
        found: dict[str, Any] = wait_for(lambda: (row := ok(api.get(f"/cas/{ca['id']}/")))["state"] == "live" and row)
        return found


def ask(portal: PortalProcess, person: str = "owner", **body: Any) -> dict[str, Any]:
    with portal.api(person) as api:
        override = "Every client was tried in staging." if body.get("mode") == "block" else ""
        made = ok(api.post("/requests/", json={"reason": "Launch", "override": override, **body}))
        row: dict[str, Any] = wait_for(lambda: (row := ok(api.get(f"/requests/{made['id']}/")))["digest"] and row)
        return row


def approve(portal: PortalProcess, row: dict[str, Any], person: str = "engineer2") -> dict[str, Any]:
    with portal.api(person) as api:
        body = {"digest": row["digest"], "confirm": row["confirm"]}
        ok(api.post(f"/requests/{row['id']}/approve/", json=body))
        ended = ("done", "failed", "partly_done", "stale")
        found: dict[str, Any] = wait_for(
            lambda: (now := ok(api.get(f"/requests/{row['id']}/")))["state"] in ended and now, saying="the request ends"
        )
        return found


def answer(portal: PortalProcess, hostname: str) -> str:
    with portal.api("owner") as api:
        return str(ok(api.get(f"/hostnames/{hostname}/"))["answer"])


def edge_list(portal: PortalProcess, zone: str, ca: dict[str, Any]) -> list[str]:
    zone_id = portal.demo["sandbox"]["zones"][zone]
    with portal.edge() as edge:
        query = {"mtls_certificate_id": ca["cloudflare_id"]}
        return list(ok(edge.get(ASSOCIATIONS.format(zone=zone_id), params=query))["result"]["hostnames"])


def put_by_hand(portal: PortalProcess, zone: str, ca: dict[str, Any], hostnames: list[str]) -> None:
    zone_id = portal.demo["sandbox"]["zones"][zone]
    with portal.edge() as edge:
        body = {"mtls_certificate_id": ca["cloudflare_id"], "hostnames": hostnames}
        ok(edge.put(ASSOCIATIONS.format(zone=zone_id), json=body))


def mailed(portal: PortalProcess, line: str) -> str:
    """The first mail of the data folder with this in it, or nothing."""
    mails = [path.read_text(encoding="utf-8") for path in sorted((portal.folder / "mail").glob("*"))]
    return next((mail for mail in mails if line in mail), "")


def test_the_main_job(portal: PortalProcess) -> None:
    with portal.api("engineer") as api:
        inspected = ok(api.post("/cas/inspect/", json={"pem": real_root()}))
        assert inspected["verdict"] in {"accept", "caution"}
    ca = upload(portal, real_root(), "ISRG Root X1", client_issuers="self")
    names = ["api.northwind-pay.example", "settle.northwind-pay.example", "gate.northwind.example"]
    row = ask(portal, kind="cover", ca=ca["id"], hostnames=names, mode="block")
    assert {zone["zone"] for zone in row["plan"]["zones"]} == {"northwind-pay.example", "northwind.example"}

    with portal.api("owner") as api:
        assert api.post(f"/requests/{row['id']}/approve/", json={"digest": row["digest"]}).status_code == 403
    done = approve(portal, row)
    assert done["state"] == "done", done["state_reason"]
    assert sorted(edge_list(portal, "northwind-pay.example", ca)) == names[:2]
    with portal.edge() as edge:
        zone_id = portal.demo["sandbox"]["zones"]["northwind-pay.example"]
        rules = ok(edge.get(ENTRYPOINT.format(zone=zone_id)))["result"]["rules"]
        assert rules[0]["action"] == "block"
        assert 'cert_issuer_ski in {"' in rules[0]["expression"]
        others = ok(edge.get(ENTRYPOINT.format(zone=portal.demo["sandbox"]["zones"]["northwind.example"])))
        assert len(others["result"]["rules"]) == 2
    assert [answer(portal, name) for name in names] == ["protected"] * 3

    # Somebody edits the list by hand: the portal names it, and overwrites nothing.
    put_by_hand(portal, "northwind-pay.example", ca, ["settle.northwind-pay.example", "new.northwind-pay.example"])
    wait_for(lambda: answer(portal, "api.northwind-pay.example") == "locked_out", saying="the lock-out is found")
    # Without a mail server the owner's mail is a file.
    wait_for(lambda: mailed(portal, "To: owner@northwind.example"), saying="the mail is written")
    assert "Subject: [BYOCA Portal] api.northwind-pay.example refuses every client" in mailed(portal, "To: owner@")
    with portal.api("owner") as api:
        kinds = {(d["hostname"], d["kind"]) for d in ok(api.get("/drift/"))["results"]}
    assert {("api.northwind-pay.example", "missing"), ("new.northwind-pay.example", "unexpected")} <= kinds
    assert sorted(edge_list(portal, "northwind-pay.example", ca)) == [
        "new.northwind-pay.example",
        "settle.northwind-pay.example",
    ]
    put_by_hand(portal, "northwind-pay.example", ca, names[:2])
    wait_for(lambda: answer(portal, "api.northwind-pay.example") == "protected", saying="the drift is over")

    removal = ask(portal, kind="uncover", ca=ca["id"], hostnames=names)
    assert removal["plan"]["loses_check"] == sorted(names)
    assert approve(portal, removal)["state"] == "done"
    assert edge_list(portal, "northwind-pay.example", ca) == []

    with portal.api("engineer") as api:
        assert api.delete(f"/cas/{ca['id']}/", params={"reason": "Retired"}).status_code == 202
        wait_for(lambda: ok(api.get(f"/cas/{ca['id']}/"))["state"] == "deleted", saying="the CA is gone")
        actions = [event["action"] for event in ok(api.get("/audit/", params={"page_size": 100}))["results"]]
    for action in ("ca:admitted", "ca:live", "request:created", "request:approved", "plan:stored", "plan:applied",
                   "request:completed", "drift:found", "drift:resolved", "edge:list_changed_outside", "ca:deleted"):  # fmt: skip  # noqa: E501
        assert action in actions, action
    violations = [r for r in requests_at_edge(portal) if r.get("violation")]
    assert violations == []


def requests_at_edge(portal: PortalProcess) -> list[dict[str, Any]]:
    return list(ok(httpx.get(f"{portal.edge_origin}/_sandbox/requests"))["requests"])


def test_a_change_at_the_edge_between_plan_and_apply_voids_the_approval(portal: PortalProcess) -> None:
    ca = upload(portal, make_ca("Stale Root").pem, "Stale Root")
    row = ask(portal, kind="cover", ca=ca["id"], hostnames=["a.northwind.example"], mode="verify")
    put_by_hand(portal, "northwind.example", ca, ["foreign.northwind.example"])
    with portal.api("engineer2") as api:
        refused = api.post(f"/requests/{row['id']}/approve/", json={"digest": row["digest"]})
        if refused.status_code == 200:
            wait_for(lambda: ok(api.get(f"/requests/{row['id']}/"))["state"] == "stale", saying="the approval is void")
        else:
            assert refused.status_code == 409
        assert edge_list(portal, "northwind.example", ca) == ["foreign.northwind.example"]
        wait_for(lambda: ok(api.get(f"/requests/{row['id']}/"))["state"] == "stale")
        fresh = ok(api.post(f"/requests/{row['id']}/rebuild/", json={}))
    assert fresh["digest"] != row["digest"]
    assert approve(portal, fresh)["state"] == "done"
    assert sorted(edge_list(portal, "northwind.example", ca)) == ["a.northwind.example", "foreign.northwind.example"]


def test_bad_input_is_refused_with_what_to_do(portal: PortalProcess) -> None:
    made = make_ca("Bad Input Root")
    with portal.api("engineer") as api:
        for pem in (make_leaf("leaf", issuer=made).pem, made.key_pem, "garbage"):
            refused = api.post("/cas/", json={"name": "Bad", "pem": pem})
            assert refused.status_code == 400
            assert refused.json()["errors"]["pem"]
    ca = upload(portal, made.pem, "Bad Input Root")
    with portal.api("owner") as api:
        for hostname in ("api.elsewhere.test", "truck.fleet.devices.northwind.example", "*.northwind.example"):
            body = {"kind": "cover", "ca": ca["id"], "hostnames": [hostname], "reason": "x"}
            refused = api.post("/requests/", json=body)
            assert refused.status_code == 400
            assert hostname in refused.json()["errors"]["hostnames"][0]


def switch(portal: PortalProcess, **values: Any) -> None:
    ok(httpx.post(f"{portal.edge_origin}/_sandbox/switches", json=values))


def test_an_edge_that_is_down_loses_nothing(portal: PortalProcess) -> None:
    ca = upload(portal, make_ca("Patient Root").pem, "Patient Root")
    switch(portal, down=True)
    with portal.api("owner") as api:
        body = {"kind": "cover", "ca": ca["id"], "hostnames": ["late.northwind.example"], "reason": "x", "mode": "log"}
        made = ok(api.post("/requests/", json=body))
        assert made["state"] == "planning"
        switch(portal, down=False)
        row = wait_for(lambda: (row := ok(api.get(f"/requests/{made['id']}/")))["digest"] and row, within_s=60)
    assert approve(portal, row)["state"] == "done"


def test_what_nobody_approved_is_shown_adopted_by_request_and_never_touched(portal: PortalProcess) -> None:
    before = requests_at_edge(portal)
    rows = wait_for(lambda: legacy_rows(portal), saying="the seeded hostnames are seen")
    assert all(row["answer"] in {"drift", "not_enforced"} for row in rows)
    legacy = next(c for c in ok_get(portal, "/associations/")["results"][0]["cells"])
    assert legacy is not None
    puts = [r for r in before if r["method"] == "PUT" and "Legacy" in str(r)]
    assert puts == []


def legacy_rows(portal: PortalProcess) -> list[dict[str, Any]]:
    return [
        row
        for row in ok_get(portal, "/associations/")["results"]
        if any(c["state"] == "unexpected" for c in row["cells"])
    ]


def ok_get(portal: PortalProcess, path: str) -> Any:
    with portal.api("engineer") as api:
        return ok(api.get(path))
