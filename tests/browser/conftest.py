"""A real browser on a real portal. Pictures go to BYOCA_SHOTS when it names a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.portal_process import PortalProcess, wait_for

ARGUMENTS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run",
    "--disable-sync", "--disable-default-apps", "--disable-dev-shm-usage",
]  # fmt: skip


@pytest.fixture(scope="module")
def portal() -> Iterator[PortalProcess]:
    """Running, and with every zone read: a page that came earlier would rightly say that there is none."""
    with PortalProcess() as running:
        with running.api("engineer") as api:
            wait_for(lambda: (zones := api.get("/zones/").json()["results"]) and all(row["read_at"] for row in zones))
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name)))
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


class Visitor:
    """One signed-in person in a window of their own. Any CSP message, script error or 5xx fails the test."""

    def __init__(self, browser: Browser, portal: PortalProcess, name: str, **context: object) -> None:
        self.portal = portal
        self.troubles: list[str] = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **context)  # type: ignore[arg-type]
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page: Page = self.context.new_page()
        self.page.on(
            "console",
            lambda m: self.troubles.append(m.text) if m.type == "error" and "status of 4" not in m.text else None,
        )
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("response", lambda r: self.troubles.append(f"{r.status} {r.url}") if r.status >= 500 else None)
        self.go("/")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(portal.demo["people"][name]["password"])
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", name="Overview").wait_for()

    def go(self, path: str) -> Page:
        self.page.goto(self.portal.url + path)
        return self.page

    def shot(self, name: str) -> None:
        folder = os.environ.get("BYOCA_SHOTS", "")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=f"{folder}/{name}.png", full_page=True)

    def close(self) -> None:
        self.context.close()
        assert self.troubles == []


@pytest.fixture
def sign_in(browser: Browser, portal: PortalProcess) -> Iterator[object]:
    """`sign_in("owner")` opens a window of that person; closed, and judged, at the end."""
    visitors: list[Visitor] = []

    def open_window(name: str, **context: object) -> Visitor:
        visitors.append(Visitor(browser, portal, name, **context))
        return visitors[-1]

    yield open_window
    for visitor in visitors:
        visitor.close()
