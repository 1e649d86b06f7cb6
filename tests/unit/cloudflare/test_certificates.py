"""Certificates of an account: what is read, what is sent, what never is."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.cloudflare import errors
from apps.cloudflare.client import Client
from tests.certs import make_ca, make_leaf
from tests.unit.cloudflare.conftest import ACCOUNT, CERTIFICATE
from tests.unit.cloudflare.server import Edge, failure, html, reply, success

PATH = f"/client/v4/accounts/{ACCOUNT}/mtls_certificates"


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"00000000-0000-4000-8000-{number:012x}",
        "name": "partners",
        "ca": True,
        "type": "custom",
        "certificates": "",
        "issuer": "CN=Partner Root,O=Example,C=DE",
        "serial_number": "4711",
        "signature": "ECDSAWithSHA256",
        "expires_on": "2036-05-01T00:00:00Z",
        "uploaded_on": "2026-11-23T10:15:30.123456Z",
    } | changes


def test_a_certificate_is_read_with_every_field(edge: Edge, client: Client) -> None:
    root = make_ca("Partner Root")
    edge.script(success(row(certificates=root.pem.rstrip("\n"), updated_at="x")))
    found = client.certificates.get(ACCOUNT, CERTIFICATE)
    assert edge.requests[0].path == f"{PATH}/{CERTIFICATE}"
    assert (found.id, found.name, found.ca, found.type) == (row()["id"], "partners", True, "custom")
    assert (found.issuer, found.serial_number) == ("CN=Partner Root,O=Example,C=DE", "4711")
    assert found.signature == "ECDSAWithSHA256"
    assert found.pem == root.pem.rstrip("\n")
    assert found.fingerprints == (root.fingerprint,)
    assert found.expires_on == datetime(2036, 5, 1, tzinfo=UTC)
    assert found.uploaded_on == datetime(2026, 11, 23, 10, 15, 30, 123456, tzinfo=UTC)


def test_fingerprints_are_those_of_the_der_however_the_text_came_back(edge: Edge, client: Client) -> None:
    root = make_ca("Root")
    middle = make_ca("Middle", issuer=root)
    one_line = f"-----BEGIN CERTIFICATE-----{base64.b64encode(middle.der).decode()}-----END CERTIFICATE-----"
    pem = root.pem.replace("\n", "\r\n") + "# note\n" + one_line
    edge.script(success([row(certificates=pem)]))
    (found,) = client.certificates.list(ACCOUNT)
    assert found.fingerprints == (hashlib.sha256(root.der).hexdigest(), middle.fingerprint)


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----"])
def test_a_block_that_cannot_be_decoded_has_no_fingerprint(edge: Edge, client: Client, pem: str) -> None:
    edge.script(success([row(certificates=pem)]))
    assert client.certificates.list(ACCOUNT)[0].fingerprints == ()


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"type": None}, True),
        ({"ca": False}, False),
        ({"type": "gateway_managed"}, False),
        ({"type": "access_managed"}, False),
    ],
)
def test_only_custom_cas_use_up_slots(edge: Edge, client: Client, changes: dict[str, Any], counts: bool) -> None:
    edge.script(success([row(**changes)]))
    assert client.certificates.list(ACCOUNT)[0].counts_as_slot is counts


def test_a_missing_type_is_custom_and_a_missing_name_is_none(edge: Edge, client: Client) -> None:
    edge.script(success([{"id": CERTIFICATE, "ca": True}]))
    (found,) = client.certificates.list(ACCOUNT)
    assert (found.type, found.name, found.expires_on, found.counts_as_slot) == ("custom", None, None, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": ""},
        {"id": 7},
        {"id": "../../zones"},
        {"ca": "true"},
        {"ca": None},
        {"name": 7},
        {"name": "a\x00b"},
        {"certificates": ["x"]},
        {"expires_on": "soon"},
        {"expires_on": 7},
        {"expires_on": "2036-05-01T00:00:00"},
    ],
)
def test_a_row_of_wrong_types_fails_the_whole_read(edge: Edge, client: Client, changes: dict[str, Any]) -> None:
    edge.script(success([row(1), row(2) | changes]))
    with pytest.raises(errors.Unreadable):
        client.certificates.list(ACCOUNT)


@pytest.mark.parametrize("result", [None, {}, "x", [None], [[]], ["x"]])
def test_what_is_no_list_of_rows_is_never_an_empty_list(edge: Edge, client: Client, result: Any) -> None:
    edge.script(success(result))
    with pytest.raises(errors.Unreadable):
        client.certificates.list(ACCOUNT)


# -- upload


def test_an_upload_sends_a_ca_and_nothing_else(edge: Edge, client: Client) -> None:
    root = make_ca("Root")
    edge.script(success(row(certificates=root.pem)))
    found = client.certificates.upload(ACCOUNT, name="partners", pem=root.pem)
    (seen,) = edge.requests
    assert (seen.method, seen.path) == ("POST", PATH)
    assert seen.json == {"ca": True, "name": "partners", "certificates": root.pem}
    assert found.fingerprints == (root.fingerprint,)


@pytest.mark.parametrize("label", ["PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "ec private key"])
def test_a_private_key_never_leaves(edge: Edge, client: Client, label: str) -> None:
    root = make_ca("Root")
    pem = f"{root.pem}-----BEGIN {label}-----\nc2VjcmV0\n-----END {label}-----\n"
    with pytest.raises(ValueError, match="private key") as caught:
        client.certificates.upload(ACCOUNT, name="x", pem=pem)
    assert "c2VjcmV0" not in str(caught.value)
    assert edge.requests == []


@pytest.mark.parametrize(
    ("answer", "fault", "outcome"),
    [
        (failure(400, 1471, message="This certificate already exists"), errors.AlreadyExists, "not_applied"),
        (failure(400, 1489, message="Hit maximum CA cert allocation."), errors.SlotsExhausted, "not_applied"),
        (failure(400, 1470, message="Unable to parse certificate"), errors.Rejected, "not_applied"),
        (html(502), errors.ServerFault, "unknown"),
        (reply(200, b'{"success": true, "result": null}'), errors.Unreadable, "unknown"),
    ],
)
def test_a_failed_upload(
    edge: Edge, client: Client, answer: Any, fault: type[errors.CloudflareError], outcome: str
) -> None:
    edge.script(answer)
    with pytest.raises(fault) as caught:
        client.certificates.upload(ACCOUNT, name="x", pem=make_leaf(issuer=make_ca()).pem)
    assert caught.value.outcome == outcome
    assert len(edge.requests) == 1


# -- delete and ids


def test_a_deletion(edge: Edge, client: Client) -> None:
    edge.script(success(row()))
    client.certificates.delete(ACCOUNT, CERTIFICATE)
    assert (edge.requests[0].method, edge.requests[0].path) == ("DELETE", f"{PATH}/{CERTIFICATE}")
    edge.script(failure(400, 1499))
    with pytest.raises(errors.StillInUse):
        client.certificates.delete(ACCOUNT, CERTIFICATE)


@pytest.mark.parametrize("bad", ["", "x", "../" * 11, CERTIFICATE + "/../x", f"{CERTIFICATE}\n", None])
def test_an_id_that_is_none_never_becomes_a_path(edge: Edge, client: Client, bad: Any) -> None:
    for call in (
        lambda: client.certificates.list(bad),
        lambda: client.certificates.upload(bad, name="x", pem=""),
        lambda: client.certificates.get(ACCOUNT, bad if bad is not None else ""),
        lambda: client.certificates.delete(ACCOUNT, bad if bad is not None else ""),
        lambda: client.tokens.verify(bad),
        lambda: client.zones.list(bad),
    ):
        with pytest.raises(ValueError, match="id"):
            call()
    assert edge.requests == []


# -- paging


def test_a_list_of_one_page_takes_one_call_without_page_numbers(edge: Edge, client: Client) -> None:
    edge.script(success([row(1), row(2)], page=1, per_page=50, count=2, total_count=2, total_pages=1))
    assert len(client.certificates.list(ACCOUNT)) == 2
    assert edge.requests[0].target == PATH


def test_a_list_of_more_pages_is_read_again_with_page_numbers(edge: Edge, client: Client) -> None:
    rows = [row(n) for n in range(70)]
    edge.script(
        success(rows[:20], total_count=70, total_pages=4),
        success(rows[:50], total_count=70, total_pages=2),
        success(rows[50:], total_count=70, total_pages=2),
    )
    assert [found.id for found in client.certificates.list(ACCOUNT)] == [each["id"] for each in rows]
    assert [seen.query.get("page") for seen in edge.requests] == [None, ["1"], ["2"]]
    assert all(seen.query["per_page"] == ["50"] for seen in edge.requests[1:])
