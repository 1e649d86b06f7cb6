"""The notifications page in a browser: an address, a webhook whose secret is shown once, notices sent and not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.browser.looks import look
from tests.browser.test_main_job import put_by_hand
from tests.certs import make_ca
from tests.integration.test_main_job import approve, ask, upload
from tests.portal_process import PortalProcess, wait_for
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.browser
SignIn = Callable[..., Visitor]
ZONE = "northwind-pay.example"
NAME = f"api.{ZONE}"


@pytest.fixture(scope="module")
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        server.answers["RCPT"] = lambda line: "550 5.1.1 No such mailbox" if "owner@" in line else "250 fine"
        yield server


@pytest.fixture(scope="module")
def portal(smtp: SmtpServer) -> Iterator[PortalProcess]:
    with PortalProcess(EMAIL_URL=smtp.url, BYOCA_MAIL_FROM="portal@byoca.example") as running:
        yield running


def test_notifications(sign_in: SignIn, portal: PortalProcess, smtp: SmtpServer) -> None:
    admin, owner = sign_in("admin"), sign_in("owner")
    page = admin.go("/notifications/")
    expect(page.get_by_text("Nothing had to be told yet.")).to_be_visible()
    look(admin, "notifications-empty")
    page.get_by_label("Name", exact=True).fill("Pager")
    page.get_by_label("Address", exact=True).fill("http://pager.example/in")
    page.get_by_role("button", name="Add webhook").click()
    expect(page.get_by_role("heading", name="There is a problem")).to_be_visible()
    look(admin, "notifications-refused")
    page.get_by_label("Address", exact=True).fill("https://127.0.0.1:9/in")
    page.get_by_role("button", name="Add webhook").click()
    expect(page.get_by_text("127.0.0.1 is a loopback address").first).to_be_visible()
    page.get_by_label("Address", exact=True).fill("https://pager.invalid/in")
    page.get_by_role("button", name="Add webhook").click()
    expect(page.get_by_text("copy the secret now")).to_be_visible()
    look(admin, "notifications-secret")

    _lock_out(portal)
    _see_them(admin, smtp)
    page = owner.go("/notifications/")
    expect(page.get_by_label("Mail address")).to_have_value("owner@northwind.example")
    page.get_by_label("Mail address").fill("jonas@northwind.example")
    page.get_by_role("button", name="Save address").click()
    expect(page.get_by_text("Mails go to jonas@northwind.example.")).to_be_visible()
    look(owner, "notifications-owner")


def _lock_out(portal: PortalProcess) -> None:
    ca: dict[str, Any] = upload(portal, make_ca("Noticed").pem, "Noticed", client_issuers="self")
    done = approve(portal, ask(portal, kind="cover", ca=ca["id"], hostnames=[NAME], mode="block"))
    assert done["state"] == "done", done["state_reason"]
    put_by_hand(portal, ZONE, "Noticed", [])


def _see_them(admin: Visitor, smtp: SmtpServer) -> None:
    wait_for(lambda: smtp.to("engineer@northwind.example"), within_s=60, saying="the mail arrives")
    wait_for(
        lambda: admin.go("/notifications/?state=not_delivered").get_by_text("No such mailbox").is_visible(),
        within_s=60, every_s=1, saying="the page says what was not delivered",
    )  # fmt: skip
    wait_for(
        lambda: admin.go("/notifications/?channel=webhook").get_by_text("Tried 1 time, again").is_visible(),
        within_s=60, every_s=1, saying="the page says that the webhook is tried again",
    )  # fmt: skip
    page = admin.go("/notifications/")
    look(admin, "notifications-notices")
    smtp.answers.clear()
    page.get_by_role("button", name=f"Send again to Jonas Weber: {NAME} refuses every client").click()
    expect(page.get_by_text("It is sent to Jonas Weber once more.")).to_be_visible()
    wait_for(lambda: smtp.to("owner@northwind.example"), within_s=60, saying="the mail arrives after all")
