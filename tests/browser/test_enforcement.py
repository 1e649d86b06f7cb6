"""From verify to log to block to break-glass and back, and who signs the clients: by four people in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.certs import make_ca
from tests.integration.test_main_job import upload
from tests.portal_process import PortalProcess

pytestmark = pytest.mark.browser
SignIn = Callable[..., Visitor]
NAME = "api.northwind-pay.example"
ARRIVES_MS = 30_000


def test_verify_log_block_break_glass_and_back(sign_in: SignIn, portal: PortalProcess) -> None:
    root = make_ca("Ladder Root")
    ca = upload(portal, root.pem, "Ladder Root")
    owner, reviewer = sign_in("owner"), sign_in("engineer2")
    _ask(owner, ca, "verify")
    _approve(reviewer, owner.page.url)
    _says(owner, "Not enforced")
    _ask(owner, ca, "log")
    _approve(reviewer, owner.page.url)
    _says(owner, "Not enforced", "are logged, not refused")

    page = _form(owner, ca, "block")
    expect(page.locator("#verdicts")).to_contain_text("it is in log since")
    page.get_by_label("Override for block").fill("Every client was seen in log yesterday.")
    expect(page.locator("#verdicts")).to_contain_text("Goes to block by override")
    owner.shot("ladder-1-override")
    _send(page)
    expect(page.get_by_text("Override: block without a quiet period")).to_be_visible()
    _approve(reviewer, owner.page.url)
    _says(owner, "Protected", "The rule is not pinned")

    engineer = sign_in("engineer")
    _pin(engineer, reviewer, ca, make_ca("Ladder Issuing", issuer=root).pem)
    _says(owner, "Protected", "from Ladder Root are refused")
    _break_glass(engineer, owner)
    _return_and_review(engineer, reviewer, owner)


def _form(visitor: Visitor, ca: dict[str, Any], mode: str) -> Page:
    page = visitor.go(f"/requests/new/?ca={ca['id']}&hostnames={NAME}&mode={mode}")
    page.get_by_label("Why is it needed?").fill("Step by step.")
    page.get_by_label("One hostname per line").press_sequentially("\n")
    return page


def _send(page: Page) -> None:
    page.get_by_role("button", name="Send for approval").click()
    expect(page.get_by_role("heading", name="Plan", exact=True)).to_be_visible()


def _ask(visitor: Visitor, ca: dict[str, Any], mode: str) -> None:
    _send(_form(visitor, ca, mode))


def _approve(visitor: Visitor, url: str) -> None:
    page = visitor.go(url.replace(visitor.portal.url, ""))
    page.get_by_role("button", name="Submit review").click()
    expect(page.locator("#progress")).to_contain_text("Done", timeout=ARRIVES_MS)


def _says(visitor: Visitor, answer: str, words: str = "") -> None:
    page = visitor.go(f"/hostnames/{NAME}/")
    expect(page.locator("#answer")).to_contain_text(answer, timeout=2 * ARRIVES_MS)
    expect(page.locator("#answer")).to_contain_text(words)


def _pin(engineer: Visitor, reviewer: Visitor, ca: dict[str, Any], intermediate: str) -> None:
    page = engineer.go(f"/cas/{ca['id']}/")
    page.get_by_role("link", name="Change", exact=True).click()
    page.get_by_label("Ladder Root itself").check()
    page.get_by_label("Intermediates, or a sample").fill(intermediate)
    page.get_by_label("Why is it needed?").fill("They sign with an issuing CA.")
    page.get_by_role("button", name="Send for approval").click()
    expect(page.get_by_role("alert").first).to_contain_text("1 hostname is in block")
    page.get_by_label("Override").fill("Both issuers were checked against last week's log.")
    engineer.shot("issuers-1280-light")
    page.get_by_role("button", name="Send for approval").click()
    expect(page.get_by_role("heading", name="Issuers after this change")).to_be_visible()
    _approve(reviewer, page.url)
    page = engineer.go(f"/cas/{ca['id']}/")
    expect(page.get_by_text("Ladder Issuing").first).to_be_visible()
    engineer.shot("issuers-ca")


def _break_glass(engineer: Visitor, owner: Visitor) -> None:
    page = engineer.go(f"/hostnames/{NAME}/")
    page.get_by_role("link", name="Break glass").click()
    page.get_by_role("button", name="Break glass").click()
    page.get_by_label("What is broken?").fill("Partners are locked out.")
    engineer.shot("break-glass-new")
    page.get_by_role("button", name="Break glass").click()
    expect(page.get_by_role("heading", name=f"{NAME} is out of block")).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    engineer.shot("break-glass-open")
    _says(owner, "Not enforced", "are logged, not refused")
    expect(owner.page.get_by_text("Partners are locked out.").first).to_be_visible()


def _return_and_review(engineer: Visitor, reviewer: Visitor, owner: Visitor) -> None:
    page = engineer.go("/break-glass/")
    page.get_by_role("link", name=NAME).click()
    page.get_by_role("button", name="Return to block now").click()
    expect(page.get_by_text("You used it, so someone else must review it.")).to_be_visible()
    _says(owner, "Protected")
    page = reviewer.go("/break-glass/")
    page.get_by_role("link", name=NAME).click()
    page.get_by_label("What did you find?").fill("An expired intermediate at the partner.")
    page.get_by_role("button", name="Close review").click()
    expect(page.get_by_role("heading", name="Reviewed")).to_be_visible()
    reviewer.shot("break-glass-reviewed")
    page = owner.go(f"/hostnames/{NAME}/?at=2020-01-01T00:00")
    expect(page.locator("#as-of")).to_contain_text("Unknown.")
