"""POST /api/v1/rehearsals/: a stable answer that the schema describes, with nothing kept."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from apps.identity.actors import Actor
from apps.identity.services import create_token
from apps.inventory.models import Account
from tests.certs import Made, make_leaf
from tests.certs import make_ca as make_certificate
from tests.factories import make_person
from tests.unit.rehearsal_desk import HOST, account_that_blocks

pytestmark = pytest.mark.django_db

Post = Callable[..., Any]


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
def post(client: Client) -> Post:
    """As a viewer, who may do no more than read."""
    _, secret = create_token(by=Actor.of(make_person(), via="page"), name="test")

    def send(**body: Any) -> Any:
        headers = {"authorization": f"Bearer {secret}"}
        return client.post("/api/v1/rehearsals/", body, content_type="application/json", headers=headers)

    return send


def test_an_accepted_client(account: Account, root: Made, post: Post) -> None:
    leaf = make_leaf(issuer=root)
    answer = post(certificate=leaf.pem, account=str(account.pk))
    assert answer.status_code == 200
    found = answer.json()
    assert set(found) == {"certificate", "reason", "accepted", "refused", "cas", "hostnames", "unjudged"}
    assert (found["reason"], found["accepted"], found["refused"], found["unjudged"]) == (None, 1, 0, [])
    assert (found["certificate"]["fingerprint"], found["certificate"]["aki"]) == (leaf.fingerprint, root.ski)
    (ca,) = found["cas"]
    assert (ca["label"], ca["at_edge"], ca["accepted"], ca["issuer_ski"]) == ("Partners", True, True, root.ski)
    assert [one["subject"] for one in ca["path"]] == ["CN=client", "CN=Partners Root"]
    assert ca["until"] == found["certificate"]["not_after"]
    (row,) = found["hostnames"]
    assert (row["hostname"], row["zone"]["name"], row["status"], row["accepted"]) == (
        *(HOST, "pay.example"),
        *("accepted", True),
    )
    assert (row["rule"], row["pins"], row["issuer_ski"], row["until"]) == (
        *("enforced", [root.ski]),
        *(root.ski, ca["until"]),
    )
    assert (row["ca"]["name"], row["ca_label"], row["reasons"], row["caution"]) == ("Partners", "Partners", [], "")
    assert "BEGIN CERTIFICATE" not in answer.content.decode()


def test_a_refused_client_and_one_hostname(account: Account, post: Post) -> None:
    stranger = make_certificate("Stranger")
    found = post(certificate=make_leaf(issuer=stranger).pem, hostname=HOST).json()
    assert (found["reason"]["code"], found["reason"]["needed_ski"]) == ("unknown_issuer", stranger.ski)
    assert (found["cas"][0]["accepted"], found["cas"][0]["until"], found["cas"][0]["path"]) == (False, None, [])
    (row,) = found["hostnames"]
    assert (row["status"], row["ca"], row["ca_label"], row["until"]) == ("refused_certificate", None, "", None)
    assert [reason["code"] for reason in row["reasons"]] == ["unknown_issuer"]


def test_refusals_name_the_field(account: Account, root: Made, post: Post) -> None:
    leaf = make_leaf(issuer=root)
    for body, field, code in (
        ({"certificate": "hello"}, "certificate", "no_certificate"),
        ({"certificate": leaf.pem + leaf.key_pem}, "certificate", "private_key"),
        ({"certificate": leaf.pem, "hostname": "x.elsewhere.example"}, "hostname", "outside_zones"),
        ({"certificate": leaf.pem, "pem": leaf.pem}, "pem", "invalid"),
        ({}, "certificate", "invalid"),
    ):
        answer = post(**body)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert list(answer.json()["errors"]) == [field]
    assert post(certificate=leaf.pem, account="nobody").status_code == 404


def test_nothing_is_stored_or_logged(
    account: Account, root: Made, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    leaf = make_leaf("canary-client", issuer=root)
    before = dumped()
    caplog.set_level(logging.DEBUG)
    for certificate in (leaf.pem, leaf.pem + leaf.key_pem, leaf.pem.replace("A", "B")):
        answer = post(certificate=certificate).content.decode()
        for line in leaf.key_pem.splitlines()[1:-1]:
            assert line not in answer
            assert line not in caplog.text
    assert dumped() == before
    for text in ("canary-client", *leaf.pem.splitlines()[1:-1]):
        assert text not in caplog.text


def dumped() -> str:
    """The whole database as JSON, but for when the token was last used."""
    out = io.StringIO()
    call_command("dumpdata", exclude=["identity.apitoken"], stdout=out)
    return out.getvalue()


def test_a_token_is_needed(client: Client) -> None:
    assert client.post("/api/v1/rehearsals/", {}, content_type="application/json").status_code == 401


def test_the_schema_describes_it() -> None:
    schema: Any = SchemaGenerator().get_schema(request=None, public=True)
    operation = schema["paths"]["/api/v1/rehearsals/"]["post"]
    assert operation["operationId"] == "rehearsals_create"
    row = schema["components"]["schemas"]["HostnameVerdict"]["properties"]
    statuses = (
        schema["components"]["schemas"][row["status"]["$ref"].rpartition("/")[2]]
        if "$ref" in row["status"]
        else row["status"]
    )
    assert set(statuses["enum"]) == {
        *("accepted", "accepted_not_pinned", "accepted_not_enforced"),
        *("refused_issuer_not_pinned", "refused_no_association", "refused_certificate"),
    }


def test_the_schema_names_every_choice_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """A clash of names is warned of in the log on every look at the reference, and settled by a hash."""
    schema: Any = SchemaGenerator().get_schema(request=None, public=True)
    assert {"ModeEnum", "RequestKindEnum", "RequestStateEnum", "ChangeStateEnum"} <= set(
        schema["components"]["schemas"]
    )
    assert "ENUM_NAME_OVERRIDES" not in capsys.readouterr().err
