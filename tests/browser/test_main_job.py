"""The six steps of the main job, in a browser, by four people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.certs import make_ca, make_leaf
from tests.integration.test_main_job import real_root
from tests.portal_process import PortalProcess

pytestmark = pytest.mark.browser
SignIn = Callable[..., Visitor]
NAMES = ["api.northwind-pay.example", "settle.northwind-pay.example", "gate.northwind.example"]
ARRIVES_MS = 30_000


def put_by_hand(portal: PortalProcess, zone: str, ca_name: str, hostnames: list[str]) -> None:
    """As somebody would in Cloudflare's dashboard."""
    with portal.api("engineer") as api:
        ca = next(row for row in api.get("/cas/").json()["results"] if row["name"] == ca_name)
    body = {"zone": zone, "mtls_certificate_id": ca["cloudflare_id"], "hostnames": hostnames}
    httpx.post(f"{portal.edge_origin}/_sandbox/edit", json=body).raise_for_status()


def test_the_main_job(sign_in: SignIn, portal: PortalProcess, tmp_path: Path) -> None:
    engineer = sign_in("engineer")
    _upload(engineer, tmp_path)
    owner = sign_in("owner")
    number = _request(owner)
    _cannot_approve(owner)
    _approve(sign_in("engineer2"), number)
    _see(owner, portal)
    _remove(owner, sign_in("engineer2"))
    _delete(engineer)
    _audit(sign_in("auditor"))


def _upload(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.go("/cas/upload/")
    file = tmp_path / "root.pem"
    file.write_text(real_root(), encoding="ascii")
    page.locator("#file").set_input_files(str(file))
    expect(page.get_by_role("heading", name="ISRG Root X1")).to_be_visible()
    expect(page.get_by_text("Certificate is a CA")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("Partners Root X1")
    page.get_by_label("This CA itself").check()
    page.get_by_label("Why is it needed?").fill("Partners call our API with certificates of this root.")
    visitor.shot("1-upload")
    page.get_by_role("button", name="Upload CA").click()
    expect(page.get_by_role("heading", name="Partners Root X1", exact=True)).to_be_visible()
    expect(page.locator("#ca-state")).to_contain_text("Live", timeout=ARRIVES_MS)
    visitor.shot("1-live")


def _request(visitor: Visitor) -> str:
    page = visitor.go("/requests/new/")
    page.get_by_label("CA", exact=True).select_option(
        label=page.locator("#ca option", has_text="Partners").inner_text()
    )
    page.get_by_label("One hostname per line").press_sequentially("\n".join([*NAMES, "build.elsewhere.test"]))
    expect(page.locator("#verdicts")).to_contain_text("No zone in Northwind Production holds this name")
    visitor.shot("2-verdicts")
    page.get_by_role("button", name="Remove 1 line").click()
    expect(page.locator("#verdicts")).to_contain_text("3 ready")
    page.get_by_role("radio", name="Block").check()
    expect(page.locator("#verdicts")).to_contain_text("Block needs 24 h in log first")
    page.get_by_label("Override for block").fill("Every client was tried in staging.")
    expect(page.locator("#verdicts")).to_contain_text("3 to check, 0 to fix")
    page.get_by_label("Why is it needed?").fill("Launch on 1 December.")
    page.get_by_role("button", name="Send for approval").click()
    expect(page.get_by_role("heading", name="Plan", exact=True)).to_be_visible()
    for name in NAMES:
        expect(page.locator(".diff .add", has_text=name).first).to_be_visible()
    visitor.shot("2-plan")
    return page.url.rstrip("/").rpartition("/")[2]


def _cannot_approve(visitor: Visitor) -> None:
    page = visitor.page
    expect(page.get_by_text("You asked for this, so someone else must approve it")).to_be_visible()
    expect(page.get_by_role("button", name="Submit review")).to_have_count(0)


def _approve(visitor: Visitor, number: str) -> None:
    page = visitor.go("/requests/")
    page.get_by_role("link", name=f"REQ-{number}").click()
    visitor.shot("3-review")
    page.get_by_role("button", name="Submit review").click()
    expect(page.locator("#progress")).to_contain_text("Done", timeout=ARRIVES_MS)
    page.get_by_role("link", name="Change ").first.click()
    expect(page.locator("#steps")).to_contain_text("Applied")
    visitor.shot("3-change")


def _see(visitor: Visitor, portal: PortalProcess) -> None:
    page = visitor.go("/associations/?q=northwind-pay")
    row = page.locator("tr", has_text="api.northwind-pay.example")
    expect(row).to_contain_text("Protected")
    expect(row).to_contain_text("Live")
    expect(row).to_contain_text("Enforced")
    put_by_hand(portal, "northwind-pay.example", "Partners Root X1", ["settle.northwind-pay.example"])
    expect(row).to_contain_text("Locked out", timeout=ARRIVES_MS)
    refused = page.get_by_text("Every client of api.northwind-pay.example is refused")
    expect(refused).to_be_visible()
    expect(page.get_by_label("Coverage summary")).to_contain_text("Locked out1")
    visitor.go("/associations/")
    visitor.shot("4-associations-drift")
    visitor.go("/drift/")
    visitor.shot("4-drift")
    visitor.go("/associations/?view=ca")
    expect(page.get_by_text("Legacy Partners Root 2023").first).to_be_visible()
    page = visitor.go("/hostnames/api.northwind-pay.example/")
    expect(refused).to_be_visible()
    put_by_hand(portal, "northwind-pay.example", "Partners Root X1", NAMES[:2])
    # This page reads itself again every 30 s while nothing is on its way.
    expect(page.locator("#answer")).to_contain_text("Protected", timeout=2 * ARRIVES_MS)
    expect(refused).to_have_count(0)
    expect(page.get_by_role("region", name="History")).to_contain_text("saw the lock-out end")
    visitor.shot("4-hostname")


def _remove(owner: Visitor, approver: Visitor) -> None:
    page = owner.go("/requests/new/?kind=uncover")
    page.get_by_label("CA", exact=True).select_option(
        label=page.locator("#ca option", has_text="Partners").inner_text()
    )
    page.get_by_label("One hostname per line").fill("\n".join(NAMES))
    page.get_by_label("Why is it needed?").fill("The partners moved.")
    page.get_by_role("button", name="Send for approval").click()
    expect(page.get_by_role("heading", name="3 hostnames lose their check")).to_be_visible()
    review = approver.go(page.url.replace(owner.portal.url, ""))
    approver.shot("5-removal-review")
    review.get_by_role("button", name="Submit review").click()
    expect(review.get_by_role("alert")).to_contain_text("To approve it, type 3.")
    review.get_by_label("This plan removes 3 associations").fill("3")
    review.get_by_role("button", name="Submit review").click()
    expect(review.locator("#progress")).to_contain_text("Done", timeout=ARRIVES_MS)


def _delete(visitor: Visitor) -> None:
    page = visitor.go("/cas/")
    page.get_by_role("link", name="Partners Root X1").first.click()
    page.get_by_label("Why is it deleted?").fill("Retired.")
    page.get_by_label("To delete, type").fill("Partners Root X1")
    visitor.shot("5-delete")
    page.get_by_role("button", name="Delete CA").click()
    expect(page.locator("#ca-state")).to_contain_text("Deleted", timeout=ARRIVES_MS)


def _audit(visitor: Visitor) -> None:
    page = visitor.go("/audit/?verify=1")
    expect(page.get_by_text("Chain whole")).to_be_visible()
    for action in ("ca:admitted", "request:approved", "plan:stored", "request:completed", "ca:deleted"):
        page = visitor.go(f"/audit/?action={action}")
        expect(page.locator("tbody").get_by_text(action).first).to_be_visible()
    visitor.go("/audit/")
    visitor.shot("6-audit")


def test_a_private_key_never_leaves_the_browser(sign_in: SignIn) -> None:
    visitor = sign_in("engineer")
    page = visitor.go("/cas/upload/")
    sent: list[str] = []
    # The browser asks for the icon when it likes; a static file's address carries nothing of the page.
    page.on("request", lambda request: "/static/" in request.url or sent.append(f"{request.method} {request.url}"))
    page.get_by_label("CA certificate (PEM)").fill(make_ca().key_pem)
    expect(page.locator("#pem-note")).to_contain_text("That holds a private key. It was not sent.")
    expect(page.get_by_label("CA certificate (PEM)")).to_have_value("")
    assert sent == []


def test_a_refused_upload_keeps_what_was_typed_and_says_why(sign_in: SignIn) -> None:
    visitor = sign_in("engineer")
    page = visitor.go("/cas/upload/")
    leaf = make_leaf(issuer=make_ca()).pem
    page.get_by_label("CA certificate (PEM)").fill(leaf)
    page.get_by_label("Name", exact=True).fill("A leaf")
    page.get_by_label("Intermediates, or not known").check()
    page.get_by_role("button", name="Upload CA").click()
    expect(page.get_by_role("alert").first).to_contain_text("not a CA")
    expect(page.get_by_label("Name", exact=True)).to_have_value("A leaf")
    assert page.get_by_label("CA certificate (PEM)").input_value().split() == leaf.split()
    visitor.shot("7-refused")


PAGES = ["/", "/associations/", "/associations/?view=hostname", "/cas/", "/cas/upload/", "/hostnames/", "/rehearsal/",
         "/requests/new/", "/hostnames/legacy.northwind-pay.example/", "/requests/?tab=all", "/drift/", "/audit/",
         "/accounts/", "/accounts/stops/", "/notifications/", "/settings/tokens/", "/api/docs/"]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_accessible_and_fits(sign_in: SignIn, scheme: str, width: int) -> None:
    visitor = sign_in("engineer", color_scheme=scheme)
    visitor.page.set_viewport_size({"width": width, "height": 900})
    found: dict[str, Any] = {}
    for path in PAGES:
        page = visitor.go(path)
        visitor.shot(f"page-{path.strip('/').replace('/', '-').replace('?', '-') or 'overview'}-{width}-{scheme}")
        if wide := page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"):
            found[f"{path} sideways scroll"] = wide
        violations = Axe().run(page).response["violations"]
        if violations:
            found[path] = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in violations]
    assert found == {}
