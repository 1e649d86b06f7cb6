"""The one function that reads and the one that replaces hostname lists (INV-9, INV-10)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import apps
from apps.cloudflare import errors
from apps.cloudflare.client import Client
from tests.unit.cloudflare.conftest import CERTIFICATE, ZONE
from tests.unit.cloudflare.server import Edge, failure, html, raw, reply, reset, success

PATH = f"/client/v4/zones/{ZONE}/certificate_authorities/hostname_associations"


def test_a_read_names_the_certificate(edge: Edge, client: Client) -> None:
    edge.script(success({"hostnames": ["API.Example.com.", "b2b.example.com", "api.example.com"]}))
    found = client.associations.read(ZONE, mtls_certificate_id=CERTIFICATE)
    assert found == {"api.example.com", "b2b.example.com"}
    (seen,) = edge.requests
    assert (seen.method, seen.path, seen.query) == ("GET", PATH, {"mtls_certificate_id": [CERTIFICATE]})


def test_a_replacement_sends_the_whole_list_sorted_with_the_certificate(edge: Edge, client: Client) -> None:
    edge.script(success({"hostnames": ["B.example.com"]}))
    names = {"c.example.com", "a.example.com", "b.example.com"}
    assert client.associations.replace(ZONE, mtls_certificate_id=CERTIFICATE, hostnames=names) == {"b.example.com"}
    (seen,) = edge.requests
    assert (seen.method, seen.path, seen.query) == ("PUT", PATH, {})
    assert seen.json == {"mtls_certificate_id": CERTIFICATE, "hostnames": sorted(names)}


def test_an_empty_list_is_sent_as_one(edge: Edge, client: Client) -> None:
    edge.script(success({"hostnames": []}))
    assert client.associations.replace(ZONE, mtls_certificate_id=CERTIFICATE, hostnames=()) == frozenset()
    assert edge.requests[0].json == {"mtls_certificate_id": CERTIFICATE, "hostnames": []}


BAD_IDS = ["", " ", "x" * 32, "a" * 31, "a" * 37, f"{CERTIFICATE}\n", f"{CERTIFICATE}&x=y", None, 7]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_no_call_is_built_without_the_certificate_id(edge: Edge, client: Client, bad: Any) -> None:
    with pytest.raises(ValueError, match="certificate id"):
        client.associations.read(ZONE, mtls_certificate_id=bad)
    with pytest.raises(ValueError, match="certificate id"):
        client.associations.replace(ZONE, mtls_certificate_id=bad, hostnames=["a.example.com"])
    assert edge.requests == []


def test_the_certificate_id_has_no_default(client: Client) -> None:
    with pytest.raises(TypeError):
        client.associations.read(ZONE)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        client.associations.replace(ZONE, hostnames=[])  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        client.associations.replace(ZONE, mtls_certificate_id=CERTIFICATE)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "bad", ["a.example.com", b"a.example.com", None, 7, iter(["a.example.com"]), [None], [7], [""], [["a.example.com"]]]
)
def test_hostnames_must_be_a_collection_of_names(edge: Edge, client: Client, bad: Any) -> None:
    with pytest.raises(ValueError, match="hostnames"):
        client.associations.replace(ZONE, mtls_certificate_id=CERTIFICATE, hostnames=bad)
    assert edge.requests == []


@pytest.mark.parametrize("bad", ["", "x", "a/b", None])
def test_no_call_is_built_without_the_zone_id(edge: Edge, client: Client, bad: Any) -> None:
    with pytest.raises(ValueError, match="zone id"):
        client.associations.read(bad, mtls_certificate_id=CERTIFICATE)
    with pytest.raises(ValueError, match="zone id"):
        client.associations.replace(bad, mtls_certificate_id=CERTIFICATE, hostnames=[])
    assert edge.requests == []


def test_the_path_stands_in_one_function_of_one_module() -> None:
    """The sandbox serves the path, so it is left out; nothing else may spell it."""
    root = Path(apps.__file__).parent
    files = [path for path in root.rglob("*.py") if path.relative_to(root).parts[0] != "sandbox"]
    holders = [
        (path.name, line)
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if "/hostname_associations" in line and "http" not in line
    ]
    assert [name for name, _ in holders] == ["associations.py"]


# -- INV-10: whatever goes wrong, a list that was not read is never an empty one


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        "x",
        {},
        {"hostnames": None},
        {"hostnames": "a.example.com"},
        {"hostnames": {}},
        {"hostnames": [None]},
        {"hostnames": ["a.example.com", 7]},
        {"hostnames": [["a.example.com"]]},
        {"hostnames": [""]},
        {"hostnames": ["a\x00b"]},
    ],
)
def test_a_result_of_the_wrong_shape_is_unreadable(edge: Edge, client: Client, result: Any) -> None:
    edge.script(success(result), success(result))
    with pytest.raises(errors.Unreadable):
        client.associations.read(ZONE, mtls_certificate_id=CERTIFICATE)
    with pytest.raises(errors.Unreadable) as caught:
        client.associations.replace(ZONE, mtls_certificate_id=CERTIFICATE, hostnames=[])
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize(
    "answer",
    [
        failure(404, 1472),
        failure(404, 7003),
        failure(403, 10000),
        failure(429, 971),
        failure(200, 1),
        html(200),
        html(404),
        html(520),
        reply(204, b""),
        reply(200, b'{"success": false, "errors": [], "result": {"hostnames": []}}'),
        reply(206, b'{"success": true, "result": {"hostnames": ["a.example.com"'),
        raw(b'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"success": true, "result": {"hostnames": []}}'),
        reset,
    ],
)
def test_a_failed_read_raises(edge: Edge, client: Client, answer: Any) -> None:
    edge.script(answer)
    with pytest.raises(errors.CloudflareError):
        client.associations.read(ZONE, mtls_certificate_id=CERTIFICATE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["success", "result", "hostnames", "errors", "code"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_values)
def test_any_json_is_a_list_of_names_or_an_error(edge: Edge, client: Client, result: Any) -> None:
    edge.script(success(result))
    try:
        found = client.associations.read(ZONE, mtls_certificate_id=CERTIFICATE)
    except errors.Unreadable:
        return
    assert isinstance(result["hostnames"], list)
    assert {name.lower().removesuffix(".") for name in result["hostnames"]} == found
