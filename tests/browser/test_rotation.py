"""A CA near its end is replaced, in a browser, by two people: both CAs side by side, then the old one leaves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.looks import look
from tests.certs import Made, make_ca
from tests.integration.test_main_job import ENTRYPOINT, approve, ask, edge_list, ok, upload
from tests.portal_process import PortalProcess

pytestmark = pytest.mark.browser
SignIn = Callable[..., Visitor]
NAMES = ["api.northwind-pay.example", "settle.northwind-pay.example", "gate.northwind.example"]
OLD, NEW = "Partners Root 2016", "Partners Root 2026"
ARRIVES_MS = 40_000


def both_rules(portal: PortalProcess, zone: str) -> list[str]:
    with portal.edge() as edge:
        rules = ok(edge.get(ENTRYPOINT.format(zone=portal.demo["sandbox"]["zones"][zone])))["result"]["rules"]
    return [rule["expression"] for rule in rules if rule["ref"].startswith("byoca-")]


def old_ca(portal: PortalProcess) -> tuple[Made, dict[str, Any]]:
    """Live, near its end, and in front of three hostnames in two zones."""
    made = make_ca(OLD, not_before=datetime(2016, 1, 1, tzinfo=UTC), not_after=datetime.now(UTC) + timedelta(days=28.5))
    ca = upload(portal, made.pem, OLD, client_issuers="self")
    done = approve(portal, ask(portal, kind="cover", ca=ca["id"], hostnames=NAMES, mode="block"))
    assert done["state"] == "done", done["state_reason"]
    return made, ca


def test_a_rotation_with_overlap(sign_in: SignIn, portal: PortalProcess) -> None:
    old_made, old = old_ca(portal)
    new_made = make_ca(NEW)
    engineer, reviewer = sign_in("engineer"), sign_in("engineer2")
    _begin(engineer, new_made)
    _cover(engineer, reviewer, old["id"])

    new = next(row for row in _cas(portal) if row["name"] == NEW)
    for ca in (old, new):
        assert sorted(edge_list(portal, "northwind-pay.example", ca)) == NAMES[:2]
        assert edge_list(portal, "northwind.example", ca) == NAMES[2:]
    for zone in ("northwind-pay.example", "northwind.example"):
        assert all(old_made.ski in rule and new_made.ski in rule for rule in both_rules(portal, zone))

    _confirm(engineer)
    _release(engineer, reviewer)
    assert edge_list(portal, "northwind-pay.example", old) == []
    assert sorted(edge_list(portal, "northwind-pay.example", new)) == NAMES[:2]
    for rule in both_rules(portal, "northwind-pay.example"):
        assert (new_made.ski in rule, old_made.ski in rule) == (True, False)
    _delete(engineer, old["id"])
    log = httpx.get(f"{portal.edge_origin}/_sandbox/requests").json()["requests"]
    assert [row["violation"] for row in log if row["violation"]] == []


def _cas(portal: PortalProcess) -> list[dict[str, Any]]:
    with portal.api("engineer") as api:
        return list(ok(api.get("/cas/"))["results"])


def _begin(visitor: Visitor, new: Made) -> None:
    page = visitor.go("/")
    ending = page.get_by_role("region", name="CAs near their end")
    expect(ending).to_contain_text("Expires in 28 days, noticed")
    look(visitor, "rotation-1-overview")
    ending.get_by_role("link", name="Replace").click()
    expect(page.get_by_role("heading", name=f"Replace {OLD}")).to_be_visible()
    look(visitor, "rotation-2-begin")
    page.get_by_role("link", name="Upload the new CA").click()
    expect(page.get_by_role("heading", name=f"Upload the CA that replaces {OLD}")).to_be_visible()
    page.get_by_label("CA certificate (PEM)").fill(new.pem)
    page.get_by_label("Name", exact=True).fill(NEW)
    page.get_by_label("This CA itself").check()
    page.get_by_role("button", name="Upload CA").click()
    # The page goes on by itself when the CA is live.
    expect(page.get_by_role("heading", name="Put 3 hostnames under both CAs")).to_be_visible(timeout=ARRIVES_MS)


def _cover(visitor: Visitor, reviewer: Visitor, old_id: str) -> None:
    page = visitor.page
    expect(page.get_by_text("Cloudflare gives priority to the most recently deployed CA")).to_contain_text(NEW)
    look(visitor, "rotation-3-cover")
    page.get_by_label("Why is it replaced?").fill("The old root ends in four weeks.")
    page.get_by_role("button", name="Ask for both CAs").click()
    expect(page.get_by_role("heading", name=f"{NEW} joins the hostnames")).to_be_visible()
    look(visitor, "rotation-4-waiting")
    _approve(visitor, reviewer, says=f"priority to the most recently deployed: {NEW}, then {OLD}")
    expect(page.get_by_role("heading", name="Have the clients moved?")).to_be_visible(timeout=ARRIVES_MS)


def _approve(visitor: Visitor, reviewer: Visitor, says: str = "") -> None:
    link = visitor.page.get_by_role("main").get_by_role("link", name="REQ-").first
    page = reviewer.go(str(link.get_attribute("href")))
    reviewer.shot(f"rotation-review-{'cover' if says else 'release'}")
    expect(page.get_by_role("main")).to_contain_text(says)
    # The rule before and the rule after, per zone: the bridge between them is among the steps only.
    expect(page.locator(".diff.rule")).to_have_count(4)
    if not says:
        page.get_by_label("This plan removes 3 associations").fill("3")
    page.get_by_role("button", name="Submit review").click()


def _confirm(visitor: Visitor) -> None:
    page = visitor.page
    look(visitor, "rotation-5-confirm")
    why = page.get_by_label("How do you know?")
    why.fill("A week of logs shows the new issuer only.")
    _another_page_comes_meanwhile(page)
    expect(why).to_have_value("A week of logs shows the new issuer only.")
    page.get_by_role("button", name=f"Clients use {NEW}").click()
    expect(page.get_by_role("heading", name=f"Take 3 hostnames off {OLD}")).to_be_visible()
    look(visitor, "rotation-6-release")


def _another_page_comes_meanwhile(page: Page) -> None:
    """As when the request behind the page ends while somebody types."""
    page.evaluate("""() => {
        const polled = document.getElementById("rotation");
        const url = location.pathname + "?seen=another-page";
        htmx.ajax("GET", url, { source: polled, target: polled, swap: "outerHTML" });
    }""")
    expect(page.locator("#status")).to_contain_text("This page has changed since it was opened")


def _release(visitor: Visitor, reviewer: Visitor) -> None:
    page = visitor.page
    page.get_by_label("Why now?").fill("The clients have moved.")
    page.get_by_role("button", name="Ask for the removal").click()
    expect(page.get_by_role("heading", name=f"The hostnames leave {OLD}")).to_be_visible()
    _approve(visitor, reviewer)
    expect(page.get_by_role("heading", name=f"Delete {OLD}")).to_be_visible(timeout=ARRIVES_MS)


def _delete(visitor: Visitor, old_id: str) -> None:
    page = visitor.page
    look(visitor, "rotation-7-delete")
    page.get_by_role("link", name="Go to deletion").click()
    expect(page.get_by_text(f"Replaced by {NEW}")).to_be_visible()
    look(visitor, "rotation-8-old-ca")
    page.get_by_label("Why is it deleted?").fill("Replaced.")
    page.get_by_label("To delete, type").fill(OLD)
    page.get_by_role("button", name="Delete CA").click()
    expect(page.locator("#ca-state")).to_contain_text("Deleted", timeout=ARRIVES_MS)
    page = visitor.go(f"/cas/{old_id}/replace/")
    expect(page.get_by_role("heading", name=f"{OLD} is replaced")).to_be_visible()
    look(visitor, "rotation-9-done")
    page.get_by_role("link", name=NEW).first.click()
    expect(page.get_by_text(f"Replaces {OLD}")).to_be_visible()


def test_a_rotation_without_a_free_slot_says_so_before_anything_is_pasted(
    sign_in: SignIn, portal: PortalProcess
) -> None:
    ca = upload(portal, make_ca("Crowded").pem, "Crowded")
    upload(portal, make_ca("Spare").pem, "Spare")
    used = len([row for row in _cas(portal) if row["state"] == "live"]) + 1  # and the one from outside the portal
    admin = sign_in("admin")
    page = admin.go("/accounts/")
    page.get_by_text("Change the number of CA slots").click()
    page.get_by_label("CA slots", exact=True).fill("many")
    page.locator("[id^=slot_reason]").fill("Contract")
    page.get_by_role("button", name="Set the number of slots").click()
    expect(page.get_by_role("alert")).to_contain_text("Use a number from 0 to 1000")
    look(admin, "rotation-slot-limit")
    page.get_by_label("CA slots", exact=True).fill(str(used))
    page.get_by_role("button", name="Set the number of slots").click()
    expect(page.get_by_text(f"{used} of {used} used")).to_be_visible()

    engineer = sign_in("engineer")
    page = engineer.go(f"/cas/{ca['id']}/replace/")
    expect(page.get_by_role("heading", name="No slot is free, and a rotation needs one")).to_be_visible()
    expect(page.get_by_text("Legacy Partners Root 2023 (uploaded outside)").first).to_be_visible()
    expect(page.get_by_role("link", name="Upload the new CA")).to_have_count(0)
    look(engineer, "rotation-no-slot")
    page = engineer.go(f"/cas/upload/?replaces={ca['id']}")
    expect(page.get_by_role("heading", name="No slot is free, and a rotation needs one")).to_be_visible()

    # A CA that is here already needs no slot.
    page = engineer.go(f"/cas/{ca['id']}/replace/")
    page.get_by_label("CA that takes over").select_option(
        label=page.locator("#replacement option", has_text="Spare").inner_text()
    )
    page.get_by_label("Why this one?").fill("Same PKI, uploaded last week.")
    page.get_by_role("button", name="Use this CA").click()
    expect(page.get_by_role("heading", name="Delete Crowded")).to_be_visible()
    look(engineer, "rotation-linked")
