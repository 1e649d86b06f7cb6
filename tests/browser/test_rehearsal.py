"""Rehearsing a client certificate in a real browser: live, without script, and never with a key."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Visitor
from tests.certs import make_ca, make_leaf
from tests.portal_process import PortalProcess

pytestmark = pytest.mark.browser


def test_the_answer_comes_while_pasting_and_a_key_never_leaves(sign_in: Callable[..., Visitor]) -> None:
    leaf = make_leaf("stranger", issuer=make_ca("Stranger Root"))
    visitor = sign_in("owner")
    page = visitor.go("/rehearsal/")
    page.get_by_label("Client certificate (PEM)").fill(leaf.pem)
    expect(page.get_by_text("Not accepted anywhere", exact=True)).to_be_visible()
    visitor.shot("rehearsal")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    page.get_by_label("Client certificate (PEM)").fill(leaf.pem + leaf.key_pem)
    expect(page.get_by_text("That holds a private key. It was not sent.")).to_be_visible()
    expect(page.get_by_label("Client certificate (PEM)")).to_have_value("")
    page.get_by_role("button", name="Rehearse").click()
    expect(page.get_by_role("alert").get_by_text("There is nothing to read")).to_be_visible()
    assert sent
    assert not any(line in body for body in sent for line in leaf.key_pem.splitlines()[1:-1])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_an_answer_is_accessible_and_fits(sign_in: Callable[..., Visitor], scheme: str, width: int) -> None:
    leaf = make_leaf("stranger", issuer=make_ca("Stranger Root"))
    visitor = sign_in("engineer", color_scheme=scheme)
    visitor.page.set_viewport_size({"width": width, "height": 900})
    for path, said in (
        ("/rehearsal/", "Not accepted anywhere"),
        ("/hostnames/legacy.northwind-pay.example/", "Refused"),
    ):
        page = visitor.go(path)
        page.get_by_label("Client certificate (PEM)").fill(leaf.pem)
        expect(page.locator("#rehearsal .answer b")).to_have_text(said)
        visitor.shot(f"rehearsal-{said.split()[0]}-{width}-{scheme}")
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        violations = Axe().run(page).response["violations"]
        assert [(found["id"], [node["target"] for node in found["nodes"]]) for found in violations] == []


def test_it_works_without_script(browser: Browser, portal: PortalProcess, sign_in: Callable[..., Visitor]) -> None:
    leaf = make_leaf("stranger", issuer=make_ca("Stranger Root"))
    visitor = sign_in("owner", java_script_enabled=False)
    hostname = visitor.go("/hostnames/").locator(".checks a").first.inner_text()
    page = visitor.go(f"/hostnames/{hostname}/")
    page.get_by_label("Client certificate (PEM)").fill(leaf.pem)
    page.get_by_role("button", name="Rehearse").click()
    expect(page).to_have_title("Rehearse a client certificate · BYOCA Portal")
    expect(page.get_by_label("Hostname (optional)")).to_have_value(hostname)
    expect(page.locator(".answer b")).to_have_text("Refused")
