"""The longest names that Cloudflare and the portal take, and a keyboard instead of a mouse, in a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import Visitor
from tests.certs import make_ca
from tests.integration.test_main_job import approve, ask, upload
from tests.portal_process import PortalProcess

pytestmark = pytest.mark.browser
SignIn = Callable[..., Visitor]
ZONE = "northwind.example"
HOSTNAME = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * (253 - 3 * 64 - len(ZONE) - 1), ZONE])
CA_NAME = "W" * 120
# Whether the focused element shows it: the ring, an outline, or the ring of the field that stands for it.
SHOWS_FOCUS = """() => {
  const active = document.activeElement;
  if (active === document.body) return null;
  const seen = active.type === "file" ? document.querySelector(`label[for="${active.id}"]`) : active;
  const style = getComputedStyle(seen);
  const ring = style.outlineStyle !== "none" || / 0px 0px 0px (1|2|4)px/.test(style.boxShadow);
  return [ring, `${active.tagName} ${(active.textContent || active.id).trim().slice(0, 40)}`];
}"""


def test_the_longest_names_never_scroll_a_page_sideways(sign_in: SignIn, portal: PortalProcess) -> None:
    assert len(HOSTNAME) == 253
    ca = upload(portal, make_ca("Extreme Root").pem, CA_NAME, client_issuers="self")
    done = approve(portal, ask(portal, kind="cover", ca=ca["id"], hostnames=[HOSTNAME], mode="block"))
    assert done["state"] == "done", done["state_reason"]
    visitor = sign_in("engineer")
    paths = [
        "/", "/associations/", "/associations/?view=hostname", "/associations/?view=ca", "/cas/", "/hostnames/",
        "/requests/?tab=all", "/audit/", f"/cas/{ca['id']}/", f"/cas/{ca['id']}/replace/", f"/requests/{done['id']}/",
        f"/hostnames/{HOSTNAME}/", f"/hostnames/x{HOSTNAME[2:]}/",
        f"/requests/new/?ca={ca['id']}&hostnames={HOSTNAME[:-1]}",
    ]  # fmt: skip
    wide = {}
    for path in paths:
        page = visitor.go(path)
        if path.startswith("/requests/new/"):
            page.get_by_label("Why is it needed?").fill("x")
            page.get_by_role("button", name="Send for approval").click()
            page.get_by_role("heading", name="There is a problem").wait_for()
        for width in (1280, 390, 320):
            page.set_viewport_size({"width": width, "height": 900})
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if over:
                wide[path, width] = over
        visitor.shot(f"extremes-{path.strip('/').replace('/', '-')[:30]}")
    assert wide == {}


@pytest.mark.parametrize("path", ["/associations/", "/drift/", "/cas/upload/", "/accounts/stops/"])
def test_whatever_takes_the_focus_shows_it(sign_in: SignIn, path: str) -> None:
    page = sign_in("engineer").go(path)
    unseen, count = [], 0
    for _ in range(80):
        page.keyboard.press("Tab")
        found = page.evaluate(SHOWS_FOCUS)
        if found is None:
            break
        count += 1
        if not found[0]:
            unseen.append(found[1])
    assert count > 15
    assert unseen == []
