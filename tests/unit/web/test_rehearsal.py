"""The rehearsal page, whole and in part, and the box on a hostname's page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.authorities.services import admit_ca
from apps.identity.permissions import Role
from apps.inventory.models import Account, Zone
from apps.web.views import rehearsal
from tests.certs import Made, make_leaf
from tests.certs import make_ca as make_certificate
from tests.factories import actor, at_edge, make_live, make_person
from tests.unit.rehearsal_desk import HOST, account_that_blocks

pytestmark = pytest.mark.django_db

LIVE = {"HX-Request": "true", "HX-Target": "rehearsal"}


@pytest.fixture(autouse=True)
def _static_files(settings: Any, tmp_path: Path) -> None:
    """WhiteNoise wants its folder, which only a collected installation has."""
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def root() -> Made:
    return make_certificate("Partners Root")


@pytest.fixture
def account(root: Made) -> Account:
    return account_that_blocks(root)


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(make_person(), backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def test_the_empty_page_asks_for_a_certificate(account: Account, viewer: Client) -> None:
    page = viewer.get("/rehearsal/?hostname=api.pay.example").content.decode()
    assert 'value="api.pay.example"' in page
    assert "never" in page.lower()
    assert "What we read" not in page


def test_without_script_the_whole_page_answers(account: Account, root: Made, viewer: Client) -> None:
    leaf = make_leaf(issuer=root)
    answer = viewer.post("/rehearsal/", {"pem": leaf.pem.replace("\n", "\r\n"), "hostname": ""})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "<html" in page
    assert leaf.pem.strip() in page
    assert "1 hostname of 1" in page
    assert "Would accept it" in page
    assert "Would not accept it" not in page
    assert root.ski in page


def test_a_chosen_file_is_read(account: Account, root: Made, viewer: Client, tmp_path: Path) -> None:
    path = tmp_path / "client.der"
    path.write_bytes(make_leaf(issuer=root).der)
    with path.open("rb") as file:
        page = viewer.post("/rehearsal/", {"pem": "", "file": file}).content.decode()
    assert "1 hostname of 1" in page


def test_htmx_gets_the_result_alone(account: Account, root: Made, viewer: Client) -> None:
    values = {"pem": make_leaf(issuer=root).pem, "hostname": HOST}
    page = viewer.post("/rehearsal/", values, headers=LIVE).content.decode()
    assert page.strip().startswith('<div id="rehearsal"')
    assert "<b>Accepted</b>" in page
    assert "pinned to its issuer" in page


def test_an_emptied_box_clears_the_result(account: Account, viewer: Client) -> None:
    answer = viewer.post("/rehearsal/", {"pem": "", "hostname": HOST}, headers=LIVE)
    assert "failed" not in answer.content.decode()
    assert viewer.post("/rehearsal/", {"pem": ""}).status_code == 400


def test_a_refusal_is_an_answer_for_htmx_and_an_error_for_the_form(account: Account, viewer: Client) -> None:
    answer = viewer.post("/rehearsal/", {"pem": "hello"}, headers=LIVE)
    assert answer.status_code == 200
    assert "No certificate was found" in answer.content.decode()
    answer = viewer.post("/rehearsal/", {"pem": "hello", "hostname": ""})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "<title>Error: " in page
    assert page.count("No certificate was found") == 2
    assert ">hello</textarea>" in page


def test_a_hostname_outside_the_account_is_named(account: Account, root: Made, viewer: Client) -> None:
    values = {"pem": make_leaf(issuer=root).pem, "hostname": "x.elsewhere.example"}
    page = viewer.post("/rehearsal/", values).content.decode()
    assert 'href="#hostname"' in page
    assert "No zone in" in page


def test_a_private_key_is_refused_and_not_shown_again(account: Account, root: Made, viewer: Client) -> None:
    leaf = make_leaf(issuer=root)
    for headers in ({}, LIVE):
        page = viewer.post("/rehearsal/", {"pem": leaf.pem + leaf.key_pem}, headers=headers).content.decode()
        assert "holds a private key" in page
        assert leaf.key_pem.splitlines()[1] not in page


def test_every_headline(account: Account, root: Made, viewer: Client) -> None:
    def headline(pem: str, hostname: str = "") -> str:
        page = viewer.post("/rehearsal/", {"pem": pem, "hostname": hostname}, headers=LIVE).content.decode()
        return page.partition("<b>")[2].partition("</b>")[0]

    stranger = make_leaf(issuer=make_certificate("Stranger")).pem
    assert headline(stranger) == "Not accepted anywhere"
    assert headline(stranger, HOST) == "Refused"
    second = make_certificate("Second")
    make_live(admit_ca(by=actor(Role.ENGINEER), account=account, name="Second", data=second.pem))
    assert headline(make_leaf(issuer=second).pem) == "Valid, but no hostname accepts it"


def test_names_in_certificates_are_escaped(account: Account, viewer: Client) -> None:
    hostile = make_leaf("<script>alert(1)</script>", issuer=make_certificate("<img src=x>"))
    page = viewer.post("/rehearsal/", {"pem": hostile.pem}, headers=LIVE).content.decode()
    assert "<script" not in page
    assert "<img" not in page


def test_long_lists_are_cut_and_say_so(
    account: Account, root: Made, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "MOST_SHOWN", 2)
    zone = Zone.objects.get(account=account, name="shop.example")
    ca = account.cas.get()
    at_edge(ca, zone, *(f"h{number}.shop.example" for number in range(4)))
    page = viewer.post("/rehearsal/", {"pem": make_leaf(issuer=root).pem}, headers=LIVE).content.decode()
    assert "5 hostnames" in page
    assert "3 more hostnames" in page
    assert "h3.shop.example" not in page


def test_a_hostname_page_has_the_box_and_its_script(account: Account, viewer: Client) -> None:
    page = viewer.get(f"/hostnames/{HOST}/").content.decode()
    assert f'<input type="hidden" name="hostname" value="{HOST}">' in page
    assert "upload.js" in page
    assert '<div id="rehearsal">' in page
    assert 'href="/rehearsal/"' in viewer.get("/hostnames/").content.decode()


def test_only_for_those_signed_in(client: Client) -> None:
    assert client.get("/rehearsal/").status_code == 302
    assert client.post("/rehearsal/", {"pem": "x"}).status_code == 302


def test_the_card_of_a_ca_is_read_from_its_pem(account: Account, viewer: Client) -> None:
    ca = account.cas.get()
    ca.facts = {"fingerprint": ca.fingerprint}
    ca.save()
    page = viewer.get(f"/cas/{ca.pk}/").content.decode()
    assert "CN=Partners Root" in page
    assert f'data-text="{ca.fingerprint}"' in page
    assert "for matching only" in page
    assert ca.cloudflare_id in page
