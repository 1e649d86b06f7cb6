"""The upload form in a browser: no request ever carries a private key, and of several certificates one is chosen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.certs import make_ca, make_leaf
from tests.private_keys import private_keys

pytestmark = pytest.mark.browser
SignIn = Callable[..., Visitor]
DROP = """(zone, [bytes, text]) => {
  const data = new DataTransfer();
  if (text) data.setData("text/plain", text);
  else data.items.add(new File([new Uint8Array(bytes)], "file.bin"));
  zone.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def form(sign_in: SignIn) -> Visitor:
    visitor = sign_in("engineer")
    visitor.go("/cas/upload/")
    return visitor


def requests_of(page: Page) -> list[str]:
    sent: list[str] = []
    # The browser asks for the icon when it likes; a static file's address carries nothing of the page.
    page.on(
        "request",
        lambda request: (
            "/static/" in request.url or sent.append(f"{request.method} {request.url} {request.post_data or ''}")
        ),
    )
    return sent


def refused(page: Page, case: str = "") -> None:
    expect(page.locator("#pem-note"), case).to_contain_text("That holds a private key. It was not sent.")
    expect(page.locator("#pem")).to_have_value("")
    assert page.locator("#file").evaluate("field => field.files.length") == 0


def accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in found] == []


def test_a_private_key_of_any_form_causes_no_request(form: Visitor, tmp_path: Path) -> None:
    page, root = form.page, make_ca()
    sent = requests_of(page)
    for case, key in private_keys().items():
        data = key.encode() if isinstance(key, str) else key
        file = tmp_path / "upload.bin"
        for content in (data, data if case.startswith("UTF-16") else root.pem.encode() + data):
            file.write_bytes(content)
            page.locator("#pem").fill("x")
            page.locator("#file").set_input_files(str(file))
            refused(page, case)
            page.locator("#pem").fill("x")
            page.locator("#drop").evaluate(DROP, [list(content), ""])
            refused(page, case)
        if isinstance(key, str) and "\0" not in key:
            for text in (key, root.pem + key):
                page.locator("#pem").fill(text)
                refused(page, case)
            page.locator("#drop").evaluate(DROP, [[], key])
            refused(page, case)
        assert [row for row in sent if "canary" in row or len(row) > 4000] == [], case
    page.wait_for_timeout(800)  # longer than the form waits before it asks
    assert not [row for row in sent if "upload.bin" in row or "PRIVATE" in row]


def test_no_field_of_the_form_takes_a_key(form: Visitor) -> None:
    page, key = form.page, make_ca().key_pem
    sent = requests_of(page)
    for field in ("#name", "#reason"):
        page.locator(field).fill(key)
        expect(page.locator(field)).to_have_value("")
        page.locator(field).evaluate("(field, text) => { field.value = text; }", key)
    page.locator("#pem").evaluate("(field, text) => { field.value = text; }", key)
    page.locator("#upload").evaluate("form => form.requestSubmit(form.querySelector('[name=check]'))")
    refused(page)
    expect(page.locator("#reason")).to_have_value("")
    assert sent == []


def test_of_several_certificates_one_is_chosen(form: Visitor, tmp_path: Path) -> None:
    page, root = form.page, make_ca("Chain Root", organisation="Northwind")
    below = make_ca("Chain Issuing", issuer=root)
    leaf = make_leaf("device-17", issuer=below)
    page.locator("#pem").fill(leaf.pem + below.pem + root.pem)
    expect(page.get_by_text("The upload holds 3 certificates: 1 root, 1 intermediate, 1 leaf").first).to_be_visible()
    assert page.locator("#choose :checked").count() == 0
    page.get_by_label("Name", exact=True).fill("Chain Issuing")
    page.get_by_label("Intermediates, or not known").check()
    page.get_by_role("button", name="Upload CA").click()
    expect(page.locator(".banner", has_text="There is a problem")).to_contain_text("Choose the one that goes up")
    accessible(page)
    page.get_by_role("radio", name="Chain Issuing Intermediate").check()
    expect(page.locator("#inspection")).to_contain_text("Certificate 2 of 3 was chosen")
    expect(page.locator("#choose-2")).to_be_checked()
    page.get_by_label("Name", exact=True).fill("Chain Issuing 1")
    expect(page.locator("#inspection")).to_contain_text("Chain Issuing 1")
    expect(page.locator("#choose-2")).to_be_checked()
    page.get_by_role("button", name="Upload CA").click()
    expect(page.get_by_role("heading", name="Chain Issuing 1")).to_be_visible()
    expect(page.locator("#main")).to_contain_text("Chain Root")
    page = form.go("/cas/upload/")
    page.locator("#pem").fill(below.pem)
    expect(page.get_by_role("link", name="Open that CA")).to_have_attribute("href", re.compile(r"^/cas/[0-9a-f-]+/$"))


def test_a_binary_container_is_unpacked_into_choices(form: Visitor, tmp_path: Path) -> None:
    page, one, two = form.page, make_ca("Container One"), make_ca("Container Two")
    file = tmp_path / "cas.p7b"
    file.write_bytes(pkcs7.serialize_certificates([one.cert, two.cert], serialization.Encoding.DER))
    page.locator("#file").set_input_files(str(file))
    expect(page.get_by_label("Container One")).to_be_visible()
    expect(page.get_by_label("Container Two")).to_be_visible()


def test_an_expired_ca_goes_up_only_when_asked_for(form: Visitor) -> None:
    now, page = datetime.now(UTC), form.page
    page.locator("#pem").fill(
        make_ca("Bygone", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)).pem
    )
    expect(page.locator("#inspection")).to_contain_text("1 fail")
    page.get_by_label("Upload it although it has expired").check()
    expect(page.locator("#inspection")).to_contain_text("0 fail")
    expect(page.locator("#accept_expired")).to_be_checked()
    accessible(page)


def test_without_script_the_check_button_does_the_same(sign_in: SignIn, tmp_path: Path) -> None:
    page = sign_in("engineer", java_script_enabled=False).go("/cas/upload/")
    root = make_ca("Plain Root")
    file = tmp_path / "both.pem"
    file.write_text(root.pem + make_ca("Other Root").pem)
    page.locator("#file").set_input_files(str(file))
    page.get_by_role("button", name="Check").click()
    page.get_by_label("Plain Root").check()
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#inspection")).to_contain_text("Certificate 1 of 2 was chosen")
    file.write_text(root.pem + root.key_pem)
    page.locator("#file").set_input_files(str(file))
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#inspection")).to_contain_text("That holds a private key")
    expect(page.locator("#pem")).to_have_value("")


def test_the_script_and_the_gate_know_the_same_marks(form: Visitor) -> None:
    """Texts at the border, both ways: what only looks like a key must still go up."""
    harmless: dict[str, Any] = {
        "dump": "X509v3 Private Key Usage Period:\n" + make_ca().pem,
        "public JWK": json.dumps({"kty": "EC", "x": "AA", "y": "AA"}),
        "RSA root": make_ca(key="rsa2048").pem,
    }
    for case, text in harmless.items():
        assert form.page.evaluate("text => window.privateKeys.inText(text)", text) is False, case
    for der in (make_ca().der, make_ca(key="rsa2048").der):
        assert form.page.evaluate("bytes => window.privateKeys.inBytes(new Uint8Array(bytes))", list(der)) is False


def test_no_text_field_of_any_page_takes_a_key(sign_in: SignIn) -> None:
    """Pages with no upload: a pasted key leaves its field before any request, and the other fields keep their text."""
    visitor = sign_in("engineer")
    page, key = visitor.page, make_ca().key_pem
    sent = requests_of(page)
    for path in ("/requests/new/", "/settings/tokens/", "/accounts/stops/", "/audit/", "/hostnames/"):
        visitor.go(path)
        fields = page.locator("#main :is(textarea, input[type=text], input[type=search]):visible")
        assert fields.count(), path
        for field in fields.all():
            field.fill(key)
            expect(field, path).to_have_value("")
            expect(page.get_by_role("alert").last).to_contain_text("That holds a private key. It was not sent.")
            field.evaluate(
                "(field, text) => { field.value = text; field.form.noValidate = true; field.form.requestSubmit(); }",
                key,
            )
            expect(field, path).to_have_value("")
    page.wait_for_timeout(800)  # longer than a form waits before it asks
    assert not [row for row in sent if "PRIVATE" in row or row.startswith("POST")]
    visitor.go("/requests/new/")
    page.get_by_label("Why is it needed?").fill("Launch")
    page.get_by_label("Ticket").fill(key)
    expect(page.get_by_label("Why is it needed?")).to_have_value("Launch")
    accessible(page)


def test_the_slots_are_shown_beside_the_form(sign_in: SignIn) -> None:
    for scheme in ("light", "dark"):
        visitor = sign_in("engineer", color_scheme=scheme)
        page = visitor.go("/cas/upload/")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            meter = page.locator("#slot-meter")
            expect(meter).to_contain_text(re.compile(r"\d of 5 used"))
            box = meter.locator(".mini").bounding_box()
            assert box is not None
            assert box["width"] <= width
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            accessible(page)
            visitor.shot(f"upload-{width}-{scheme}")
