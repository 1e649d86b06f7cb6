"""An account that somebody filled by hand: its CA is adopted, its hostnames in bulk, and drift is empty."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from apps.sandbox.seed import LEGACY_CA
from tests.browser.conftest import Visitor
from tests.browser.test_rotation import look
from tests.portal_process import PortalProcess, wait_for

pytestmark = pytest.mark.browser
SignIn = Callable[..., Visitor]
ARRIVES_MS = 40_000


def test_adopting_a_populated_account(sign_in: SignIn, portal: PortalProcess) -> None:
    engineer, reviewer = sign_in("engineer"), sign_in("engineer2")
    page = engineer.go("/drift/")
    expect(page.get_by_role("heading", name="3 differences")).to_be_visible(timeout=ARRIVES_MS)
    look(engineer, "drift-1-populated")
    page = engineer.go("/cas/")
    look(engineer, "drift-2-cas")
    page.get_by_role("link", name="Adopt this CA").click()
    expect(page.get_by_role("heading", name=f"Adopt {LEGACY_CA}")).to_be_visible()
    look(engineer, "drift-3-adopt-ca")
    page.get_by_label("Intermediates, or not known").check()
    page.get_by_label("Why is it adopted?").fill("The partners of 2023 still use it.")
    page.get_by_role("button", name="Adopt CA").click()

    expect(page.get_by_text("Nothing changed at Cloudflare")).to_be_visible()
    page.get_by_label("Select this page").check()
    assert [box.is_checked() for box in page.locator("[name=picks]").all()] == [True] * 3
    look(engineer, "drift-4-chosen")
    page.get_by_label("Select this page").uncheck()
    page.get_by_label("Select all 3 that match").check()
    page.get_by_role("button", name="Accept edge", exact=True).click()
    expect(page.get_by_role("heading", name="Accept the edge for 3 hostnames")).to_be_visible()
    page.get_by_label("Why is it needed?").fill("They are in use.")
    page.get_by_label("Owner team").select_option(index=1)
    look(engineer, "drift-5-accept")
    page.get_by_role("button", name="Send for approval").click()
    expect(page.get_by_role("heading", name="Adopt 3 hostnames")).to_be_visible()

    page = reviewer.go(page.url.removeprefix(portal.url))
    look(reviewer, "drift-6-review")
    page.get_by_role("button", name="Submit review").click()
    wait_for(
        lambda: engineer.go("/drift/").get_by_text("Edge equals approved in all 3 zones").is_visible(),
        every_s=1,
        saying="every zone is read again and nothing differs",
    )
    look(engineer, "drift-7-empty")
    log = httpx.get(f"{portal.edge_origin}/_sandbox/requests").json()["requests"]
    assert [row["path"] for row in log if row["method"] != "GET" and row["applied"]] == []
