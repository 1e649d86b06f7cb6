"""Setting drift aside, and healing, through the REST API: the same services and refusals as on the pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.identity.services import create_token
from apps.inventory.models import Account
from apps.reconcile.models import Drift
from tests.factories import make_account, make_person

pytestmark = pytest.mark.django_db


class Caller:
    """Somebody with a token."""

    def __init__(self, role: Role) -> None:
        _, token = create_token(by=Actor.of(make_person(role), via="cli"), name="test")
        self.client, self.headers = Client(), {"Authorization": f"Bearer {token}"}

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        sent = json.dumps(body) if body is not None else ""
        return self.client.generic(method, f"/api/v1{path}", sent, "application/json", headers=self.headers)

    def listed(self, *, ignored: bool = False) -> list[str]:
        rows = self.send("GET", f"/drift/?ignored={str(ignored).lower()}").json()["results"]
        return [row["hostname"] for row in rows]


@pytest.fixture(autouse=True)
def _static_folder(settings: Any, tmp_path: Path) -> None:
    """WhiteNoise warns of a folder that only a deployment has."""
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def drift(account: Account) -> Drift:
    now = timezone.now()
    return Drift.objects.create(
        zone=account.zones.all()[0], hostname="lost.example.com", kind=Drift.Kind.MISSING, ca_cloudflare_id="c" * 32,
        first_seen_at=now, last_seen_at=now,
    )  # fmt: skip


def test_a_difference_is_set_aside_with_a_reason_and_shown_again(drift: Drift) -> None:
    engineer = Caller(Role.ENGINEER)
    made = engineer.send("POST", "/drift/ignore/", {"picks": [drift.pk, 999], "reason": "A migration"})
    assert made.status_code == 201
    (row,) = made.json()["ignored"]
    assert (row["drift"]["id"], row["drift"]["hostname"], row["reason"]) == (drift.pk, drift.hostname, "A migration")
    assert row["until"] > timezone.now().isoformat()
    assert (engineer.listed(), engineer.listed(ignored=True)) == ([], [drift.hostname])
    event = AuditEvent.objects.get(action="drift:ignored")
    assert (event.reason, event.hostnames) == ("A migration", [drift.hostname])
    shown = engineer.send("POST", "/drift/show/", {"picks": [drift.pk]})
    assert (shown.status_code, [row["id"] for row in shown.json()["shown"]]) == (200, [drift.pk])
    assert (engineer.listed(), engineer.listed(ignored=True)) == ([drift.hostname], [])
    assert engineer.send("POST", "/drift/show/", {"picks": [drift.pk]}).json() == {"shown": []}


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.APPROVER])
def test_who_may_not_set_drift_aside_on_the_page_may_not_here(drift: Drift, role: Role) -> None:
    caller = Caller(role)
    body = {"picks": [drift.pk], "reason": "x"}
    assert caller.send("POST", "/drift/ignore/", body).status_code == 403
    assert caller.send("POST", "/drift/show/", {"picks": [drift.pk]}).status_code == 403
    assert caller.listed() == [drift.hostname]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"picks": []}, "reason"),
        ({"picks": [1], "reason": " "}, "reason"),
        ({"picks": ["x"], "reason": "x"}, "picks"),
        ({"picks": [10**30], "reason": "x"}, "picks"),
        ({"picks": [987654], "reason": "x"}, "picks"),
        ({"picks": [1], "reason": "x", "until": "2030"}, "until"),
    ],
)
def test_bad_input_names_its_field(drift: Drift, body: dict[str, Any], field: str) -> None:
    engineer = Caller(Role.ENGINEER)
    refused = engineer.send("POST", "/drift/ignore/", body)
    assert (refused.status_code, list(refused.json()["errors"])) == (400, [field])
    assert engineer.listed() == [drift.hostname]


def test_an_administrator_switches_healing_with_a_reason(account: Account) -> None:
    admin, path = Caller(Role.ADMIN), f"/accounts/{account.pk}/healing/"
    for enabled in (True, False):
        answer = admin.send("PUT", path, {"enabled": enabled, "reason": "Terraform is gone"})
        assert (answer.status_code, answer.json()["heal_missing"]) == (200, enabled)
        account.refresh_from_db()
        assert account.heal_missing is enabled
    assert AuditEvent.objects.filter(action="account:healing_set", reason="Terraform is gone").count() == 2
    assert admin.send("PUT", f"/accounts/{account.cloudflare_id}/healing/", {"enabled": True}).status_code == 400
    refused = admin.send("PUT", path, {"enabled": "maybe", "reason": " "})
    assert (refused.status_code, set(refused.json()["errors"])) == (400, {"enabled", "reason"})
    assert Caller(Role.ENGINEER).send("PUT", path, {"enabled": True, "reason": "x"}).status_code == 403
    assert admin.send("PUT", "/accounts/none/healing/", {"enabled": True, "reason": "x"}).status_code == 404
    account.refresh_from_db()
    assert account.heal_missing is False


def test_the_schema_documents_them(account: Account) -> None:
    schema = Client().get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    operations = {row["operationId"] for path in schema["paths"].values() for row in path.values()}
    assert {"drift_ignore", "drift_show", "accounts_healing"} <= operations
