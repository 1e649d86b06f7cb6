"""Uploads as the real processes take them.

No byte of an uploaded private key reaches a sink (INV-35, INV-38), in every form and by every way in. Of several
certificates the chosen one goes up.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from tests.certs import make_ca
from tests.portal_process import PortalProcess
from tests.unit.pki.raw import algorithm, armour, integer, tlv

PEM_LABELS = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY",
              "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK")  # fmt: skip
BESIDE = ("PRIVATE KEY", "behind a certificate's label", "PuTTY", "JWK")
ROOT = make_ca().pem
# Forms that have nothing to do with certificates, and a field of free text in each.
ELSEWHERE = (
    ("/requests/new/", "reason"), ("/requests/new/", "ticket"), ("/requests/new/", "hostnames"),
    ("/requests/check/", "hostnames"), ("/settings/tokens/", "name"), ("/accounts/stops/", "reason"),
    ("/break-glass/new/", "reason"), ("/drift/decide/", "reason"), ("/rehearsal/", "pem"),
)  # fmt: skip


@pytest.fixture(scope="module")
def portal() -> Iterator[PortalProcess]:
    with PortalProcess() as running:
        yield running


def keys_with(canary: str) -> dict[str, bytes]:
    """Private keys of every form that hold the canary where a key holds its secret."""
    secret = canary.encode()
    pkcs8 = tlv(0x30, integer(0), algorithm("1.2.840.113549.1.1.1", b"\5\0"), tlv(4, secret * 20))
    encrypted = tlv(0x30, algorithm("1.2.840.113549.1.5.13"), tlv(4, secret * 20))
    text = {
        **{label: armour(pkcs8, label) + canary for label in PEM_LABELS},
        "behind a certificate's label": armour(pkcs8),
        "encrypted, behind a certificate's label": armour(encrypted),
        "PuTTY": f"PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 1\n{canary}\n",
        "JWK": json.dumps({"kty": "EC", "d": canary}),
        "bare base64": base64.b64encode(pkcs8).decode(),
    }
    binary = {
        "PKCS#8": pkcs8,
        "encrypted PKCS#8": encrypted,
        "SEC1": tlv(0x30, integer(1), tlv(4, secret * 20)),
        "PKCS#12": tlv(0x30, integer(3), tlv(0x30, tlv(4, secret * 20))),
        "OpenSSH": b"openssh-key-v1\0" + secret * 9,
        "UTF-16": b"\xff\xfe" + armour(pkcs8, "PRIVATE KEY").encode("utf-16-le"),
    }
    beside = {f"{form}, beside a certificate": ROOT + key for form, key in text.items() if form in BESIDE}
    return {form: key.encode() for form, key in (text | beside).items()} | binary


def needles(canary: str) -> list[bytes]:
    """The canary as it stands in text, in UTF-16, in hex, and inside base64 at each of three alignments."""
    secret = canary.encode()
    found = [secret, canary.encode("utf-16-le"), secret.hex().encode(), secret.hex().upper().encode()]
    for shift in range(3):
        packed = base64.b64encode(b"\0" * shift + secret).decode()
        found.append(packed[-(-shift * 8 // 6) : (shift + len(secret)) * 8 // 6].encode())
    return found


def sinks_holding(portal: PortalProcess, canary: str) -> list[str]:
    """Sinks that hold it: every file of the data folder (database with its WAL, broker, log, the stand-in's store
    with its request log), and every row of a database elsewhere."""
    files = [path for path in portal.folder.rglob("*") if path.is_file()]
    assert {"up.log", "sandbox.sqlite3"} <= {path.name for path in files}
    sinks = {str(path): path.read_bytes() for path in files} | dict(rows_elsewhere(portal))
    # Line breaks, plain or escaped, must not hide base64.
    flat = {name: re.sub(rb"\\n|\\r|\s", b"", held) for name, held in sinks.items()}
    return [name for name, held in flat.items() if any(mark in held for mark in needles(canary))]


def rows_elsewhere(portal: PortalProcess) -> Iterator[tuple[str, bytes]]:
    if not portal.database:
        return
    with psycopg.connect(portal.environment["DATABASE_URL"]) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = connection.execute(f'SELECT row_to_json(t)::text FROM "{table}" t').fetchall()
            yield table, "".join(row[0] for row in rows).encode()


@contextmanager
def page_session(portal: PortalProcess) -> Iterator[httpx.Client]:
    """An engineer, signed in as a browser does. Every form of it carries the token."""
    with httpx.Client(base_url=portal.url, timeout=30, follow_redirects=True) as client:
        sign_in = client.get("/cas/upload/")
        form = {"login": "engineer", "password": portal.demo["people"]["engineer"]["password"]}
        page = client.post(sign_in.url, data={**form, **token_in(sign_in)})
        assert "Upload a CA" in page.text
        client.headers["X-CSRFToken"] = token_in(page)["csrfmiddlewaretoken"]
        yield client


def token_in(page: httpx.Response) -> dict[str, str]:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found, page.text[:500]
    return {"csrfmiddlewaretoken": found[1]}


def by_page(client: httpx.Client, key: bytes) -> Iterator[httpx.Response]:
    """Every field of the upload form, as text and as a file, to be inspected, checked and uploaded; and other forms."""
    text = key.decode("latin-1")
    good = {"name": "Canary", "client_issuers": "unknown", "pem": ROOT, "reason": ""}
    for path, more in (("/cas/inspect/", {}), ("/cas/upload/", {"check": "1"}), ("/cas/upload/", {})):
        yield client.post(path, data={**good, **more}, files={"file": ("ca.pem", key)})
        yield client.post(path, data={**good, **more, "pem": text})
        yield client.post(path, data={**good, **more, "name": text})
    for field in ("reason", "owner_team", "client_issuers", "choose"):
        yield client.post("/cas/upload/", data={**good, field: text})
    for path, field in ELSEWHERE:
        yield client.post(path, data={"target": "everything", field: text})


def by_api(api: httpx.Client, key: bytes) -> Iterator[httpx.Response]:
    """Every field, and bodies that are no JSON or only begin like it."""
    text, good = key.decode("latin-1"), {"name": "Canary", "pem": ROOT}
    for path in ("/cas/inspect/", "/cas/"):
        for field in ("pem", "name", "choose", "account", "accept_expired"):
            yield api.post(path, json={**good, field: text})
        yield api.post(path, content=key, headers={"Content-Type": "application/octet-stream"})
        yield api.post(path, content=b'{"pem": ' + key, headers={"Content-Type": "application/json"})
    for field in ("reason", "owner_team", "client_issuers"):
        yield api.post("/cas/", json={**good, field: text})
    for path, field in (("/requests/", "reason"), ("/requests/", "ticket"), ("/stops/", "reason"), ("/stops/", text)):
        yield api.post(path, json={"scope": "everything", "kind": "cover", field: text})


def test_no_byte_of_a_private_key_reaches_a_sink(portal: PortalProcess) -> None:
    canary = f"Canary{uuid.uuid4().hex}"
    with page_session(portal) as client, portal.api("engineer") as api:
        answers = [
            (form, answer)
            for form, key in keys_with(canary).items()
            for answer in (*by_page(client, key), *by_api(api, key))
        ]
    for form, answer in answers:
        assert answer.status_code < 500, (form, answer.request.url, answer.text[:300])
        assert answer.status_code != 201, (form, answer.request.url)
        assert not [mark for mark in needles(canary) if mark in answer.content], (form, answer.request.url)
    with portal.api("engineer") as api:
        assert api.get("/cas/").json()["count"] == 0
    assert sinks_holding(portal, canary) == []
    assert b"private_key_refused" in portal.log.read_bytes()


def test_the_search_would_find_what_is_stored(portal: PortalProcess) -> None:
    """The control: a name that is no key is stored, and the same search sees it."""
    canary = f"Control{uuid.uuid4().hex}"
    with portal.api("engineer") as api:
        assert api.post("/cas/", json={"name": canary, "pem": ROOT}).status_code == 201
    assert sinks_holding(portal, canary)


def test_the_api_takes_the_chosen_one_of_several(portal: PortalProcess) -> None:
    root = make_ca("Chosen Root")
    below = make_ca("Chosen Issuing", issuer=root)
    body = {"name": "Chosen", "pem": root.pem + below.pem}
    with portal.api("engineer") as api:
        seen = api.post("/cas/inspect/", json=body).json()
        rows = [(row["role"], row["signed_by"], row["chosen"], row["known_as"]) for row in seen["certificates"]]
        assert (seen["verdict"], rows) == ("caution", [("root", 1, False, None), ("intermediate", 1, False, None)])
        refused = api.post("/cas/", json=body)
        assert (refused.status_code, list(refused.json()["errors"])) == (400, ["choose"])
        made = api.post("/cas/", json={**body, "choose": below.fingerprint})
        assert (made.status_code, made.json()["fingerprint"]) == (201, below.fingerprint)
        again = api.post("/cas/inspect/", json=body).json()["certificates"]
        assert [row["known_as"] for row in again] == [None, made.json()["id"]]


def test_an_expired_ca_goes_up_only_when_asked_for(portal: PortalProcess) -> None:
    now = datetime.now(UTC)
    old = make_ca("Bygone", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    body = {"name": "Bygone", "pem": old.pem}
    with portal.api("engineer") as api:
        assert api.post("/cas/", json=body).status_code == 400
        made = api.post("/cas/", json={**body, "accept_expired": True})
        assert (made.status_code, made.json()["findings"][0]["check"]) == (201, "valid_now")


def test_no_field_takes_a_nul(portal: PortalProcess) -> None:
    with portal.api("engineer") as api:
        for body in ({"name": "a\0b", "pem": ROOT}, {"name": "a", "pem": ROOT, "owner_team": "\0"}, {"\0": [1, "a"]}):
            refused = api.post("/cas/", json=body)
            assert (refused.status_code, "NUL" in refused.json()["detail"]) == (400, True)
        assert api.post("/cas/", json=[1, {"a": ["b", None]}]).status_code == 400
