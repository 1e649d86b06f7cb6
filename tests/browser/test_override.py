"""A big removal passes by a third person's override, and is undone, in a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.browser.looks import look
from tests.certs import make_ca
from tests.integration.test_main_job import approve, ask, edge_list, ok, upload
from tests.portal_process import PortalProcess

pytestmark = pytest.mark.browser
SignIn = Callable[..., Visitor]
ZONE = "northwind-pay.example"
NAMES = [f"{name}.{ZONE}" for name in ("api", "gate", "settle")]
ARRIVES_MS = 40_000


def test_a_big_removal_is_overridden_and_undone(sign_in: SignIn, portal: PortalProcess) -> None:
    admin = sign_in("admin")
    page = admin.go("/accounts/")
    look(admin, "override-0-accounts")
    page.get_by_role("link", name=f"Removal limits of {ZONE}").click()
    page.get_by_label("Hostnames of a list that may go whatever").fill("1")
    page.get_by_label("Reason").fill("A small zone")
    page.get_by_role("button", name="Set the limits").click()
    expect(page.get_by_text(f"The removal limits of {ZONE} are set.")).to_be_visible()
    look(admin, "override-1-limits")

    ca = upload(portal, make_ca("Override Root").pem, "Override Root", client_issuers="self")
    assert approve(portal, ask(portal, kind="cover", ca=ca["id"], hostnames=NAMES, mode="block"))["state"] == "done"
    row = ask(portal, kind="uncover", ca=ca["id"], hostnames=NAMES[:2])

    approver = sign_in("engineer2")
    page = approver.go(f"/requests/{row['id']}/")
    expect(page.get_by_role("region", name="Guards")).to_contain_text("2 of 3 hostnames of CA Override Root")
    look(approver, "override-2-review")
    page.get_by_label("This plan removes 2 associations").fill("2")
    page.get_by_role("button", name="Submit review").click()
    expect(page.get_by_text("It waits for an override now.")).to_be_visible()
    expect(page.get_by_role("region", name="Second approver")).to_contain_text("You approved this")
    expect(page.locator("#progress")).to_contain_text("Waits for an override", timeout=ARRIVES_MS)
    look(approver, "override-3-waits")
    assert edge_list(portal, ZONE, ca) == NAMES

    third = sign_in("engineer")
    page = third.go(f"/requests/{row['id']}/")
    look(third, "override-4-second-approver")
    page.get_by_label("Why may so many go at once?").fill("The partner closes both tonight.")
    page.get_by_role("button", name="Let it pass once").click()
    expect(page.locator("#progress")).to_contain_text("Done", timeout=ARRIVES_MS)
    assert edge_list(portal, ZONE, ca) == NAMES[2:]
    page.reload()
    page.get_by_role("region", name="Second approver").get_by_role("link", name="Used").click()
    expect(page.get_by_role("region", name="Passed by override")).to_contain_text("The partner closes both tonight.")
    look(third, "override-5-change")

    page.get_by_label("Why?").fill("The partner stays.")
    page.get_by_role("button", name="Undo this change").click()
    expect(page.get_by_role("heading", name="Cover 2 hostnames")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("to undo Change")
    look(third, "override-6-undo")
    undo = int(page.url.rstrip("/").rpartition("/")[2])
    with portal.api("engineer") as api:
        asked = ok(api.get(f"/requests/{undo}/"))
    done = approve(portal, asked)
    assert done["state"] == "done", done["state_reason"]
    assert edge_list(portal, ZONE, ca) == NAMES
