"""Probing in a browser: switched on, agreeing, disagreeing, on a desk and on a phone, in light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.certs import make_ca
from tests.integration.test_main_job import approve, ask, upload
from tests.portal_process import PortalProcess
from tests.probe_portal import HOSTNAME, probed_portal
from tests.tls_server import OK, TlsServer

pytestmark = pytest.mark.browser
SignIn = Callable[..., Visitor]
ARRIVES_MS = 30_000
PAGE = f"/hostnames/{HOSTNAME}/"
Stage = tuple[PortalProcess, TlsServer]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with probed_portal() as both:
        yield both


@pytest.fixture(scope="module")
def portal(stage: Stage) -> PortalProcess:
    return stage[0]


def test_from_the_switch_to_red(sign_in: SignIn, portal: PortalProcess, stage: Stage) -> None:
    ca = upload(portal, make_ca("Partner Client Root").pem, "Partner Client Root", client_issuers="self")
    assert (
        approve(portal, ask(portal, kind="cover", ca=ca["id"], hostnames=[HOSTNAME], mode="block"))["state"] == "done"
    )
    _switch_on(sign_in("admin"))
    owner = sign_in("owner")
    page = owner.go(PAGE)
    page.get_by_role("button", name="Probe now").or_(page.get_by_role("button", name="Probe again")).click()
    expect(page.locator("#probe")).to_contain_text("a request without one got 403", timeout=ARRIVES_MS)
    expect(page.locator("#probe")).to_contain_text("Agrees")
    owner.shot("probe-agrees")
    stage[1].asks, stage[1].reply = "none", OK
    expect(page.locator("#answer")).to_contain_text("but the probe disagrees", timeout=60_000)
    owner.shot("probe-disagrees")
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            _judge(sign_in("admin", color_scheme=scheme), width, scheme)


def _switch_on(admin: Visitor) -> None:
    page = admin.go("/accounts/")
    page.get_by_text("Change probing").click()
    page.get_by_label("Probe hostnames with approved coverage").check()
    page.get_by_label("Test ranges").fill("127.0.0.0/8")
    page.get_by_role("button", name="Save probing").click()
    expect(page.get_by_role("alert")).to_contain_text("Say why.")
    expect(page.get_by_label("Test ranges")).to_have_value("127.0.0.0/8")
    admin.shot("probe-switch-refused")
    page.get_by_label("Why?").fill("Prove that clients without a certificate are refused.")
    page.get_by_role("button", name="Save probing").click()
    expect(page.get_by_text("On: hostnames with approved coverage")).to_be_visible()


def _judge(visitor: Visitor, width: int, scheme: str) -> None:
    """Every page that shows probes fits, and has nothing that axe objects to."""
    visitor.page.set_viewport_size({"width": width, "height": 900})
    found: dict[str, Any] = {}
    for name, path in {"hostname": PAGE, "associations": "/associations/", "accounts": "/accounts/"}.items():
        page = visitor.go(path)
        if name == "accounts":
            page.get_by_text("Change probing").click()
        else:
            expect(page.locator("main").get_by_text("probe disagrees").first).to_be_visible()
        visitor.shot(f"probe-{name}-{width}-{scheme}")
        if wide := page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"):
            found[f"{path} sideways scroll"] = wide
        if violations := Axe().run(page).response["violations"]:
            found[path] = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in violations]
    assert found == {}
