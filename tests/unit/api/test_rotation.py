"""A rotation through the REST API: the same services and refusals as on the pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.authorities.models import CertificateAuthority
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.identity.services import create_token
from apps.inventory.models import Account
from tests.certs import make_ca as make_certificate
from tests.factories import make_account, make_ca, make_live, make_person

pytestmark = pytest.mark.django_db


class Caller:
    """Somebody with a token."""

    def __init__(self, role: Role) -> None:
        _, token = create_token(by=Actor.of(make_person(role), via="cli"), name="test")
        self.client, self.headers = Client(), {"Authorization": f"Bearer {token}"}

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self.client.generic(
            method, f"/api/v1{path}", json.dumps(body or {}), "application/json", headers=self.headers
        )


@pytest.fixture(autouse=True)
def _static_folder(settings: Any, tmp_path: Path) -> None:
    """WhiteNoise warns of a folder that only a deployment has."""
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def engineer() -> Caller:
    return Caller(Role.ENGINEER)


@pytest.fixture
def account() -> Account:
    # Nothing listens there: a request is stored and waits for a plan, as during an outage.
    return make_account(base_url="http://127.0.0.1:9/client/v4")


def test_an_upload_says_which_ca_it_replaces(engineer: Caller, account: Account) -> None:
    old = make_ca(account, name="Old")
    body = {"name": "New", "pem": make_certificate("New").pem, "replaces": str(old.pk)}
    made = engineer.send("POST", "/cas/", body)
    assert (made.status_code, made.json()["replaces"]["name"]) == (201, "Old")
    seen = engineer.send("GET", f"/cas/{old.pk}/").json()
    assert (seen["replaced_by"]["name"], seen["replaces"], seen["expiry_threshold_days"]) == ("New", None, None)
    again = engineer.send("POST", "/cas/", {**body, "name": "Other", "pem": make_certificate("Other").pem})
    assert (again.status_code, "replaced by New already" in again.json()["errors"]["replaces"][0]) == (400, True)


def test_the_steps_are_read_and_refused_in_order(engineer: Caller, account: Account) -> None:
    old = make_ca(account, name="Old")
    path = f"/cas/{old.pk}/rotation/"
    seen = engineer.send("GET", path).json()
    assert (seen["step"], seen["new"], seen["hostnames"], seen["cover_request"]) == ("upload", None, [], None)
    asked = {
        "kind": "cover",
        "ca": str(old.pk),
        "hostnames": ["api.pay.example"],
        "reason": "x",
        "mode": "block",
        "override": "x",
    }
    assert engineer.send("POST", "/requests/", asked).status_code == 201
    for part in ("", "confirm/", "release/"):
        refused = engineer.send("POST", path + part, {"reason": "x"})
        assert (refused.status_code, "Upload the CA that replaces Old first" in refused.json()["detail"]) == (409, True)
    body = {"name": "New", "pem": make_certificate("New").pem, "replaces": str(old.pk)}
    made = engineer.send("POST", "/cas/", body)
    make_live(CertificateAuthority.objects.get(pk=made.json()["id"]))
    assert engineer.send("GET", path).json()["step"] == "delete", "no approved hostname yet"
    assert engineer.send("POST", path, {"reasons": "x"}).status_code == 400


def test_the_overlap_becomes_a_request_that_waits_for_its_plan(engineer: Caller, account: Account) -> None:
    from tests.unit.coverage.test_rotation import NAMES, Desk

    desk = Desk()
    Account.objects.filter(pk=desk.account.pk).update(base_url="http://127.0.0.1:9/client/v4")
    desk.upload()
    path = f"/cas/{desk.old.pk}/rotation/"
    made = engineer.send("POST", path, {"reason": "Ends soon", "ticket": "SEC-7"})
    assert (made.status_code, made.json()["state"]) == (201, "planning")
    assert sorted(row["hostname"] for row in made.json()["hostnames"]) == list(NAMES)
    seen = engineer.send("GET", path).json()
    assert (seen["step"], seen["cover_request"]) == ("cover", made.json()["id"])
    assert {row["standing"] for row in seen["hostnames"]} == {"pending"}
    assert engineer.send("POST", path, {"reason": "x"}).status_code == 409


def test_a_confirmation_and_a_release(engineer: Caller) -> None:
    from tests.unit.coverage.test_rotation import Desk

    desk = Desk()
    desk.covered()
    Account.objects.filter(pk=desk.account.pk).update(base_url="http://127.0.0.1:9/client/v4")
    path = f"/cas/{desk.old.pk}/rotation/"
    confirmed = engineer.send("POST", path + "confirm/", {"reason": "Logs"})
    assert (confirmed.status_code, confirmed.json()["step"]) == (200, "uncover")
    released = engineer.send("POST", path + "release/", {"reason": "Moved"})
    assert (released.status_code, released.json()["kind"]) == (201, "uncover")


def test_only_an_admin_sets_the_slot_limit(engineer: Caller, account: Account) -> None:
    path, body = f"/accounts/{account.pk}/slot-limit/", {"slot_limit": 12, "reason": "Contract"}
    assert engineer.send("PUT", path, body).status_code == 403
    admin = Caller(Role.ADMIN)
    assert admin.send("PUT", path, {"slot_limit": 5000, "reason": "x"}).json()["errors"]["slot_limit"]
    assert admin.send("PUT", path, body).json()["slot_limit"] == 12
