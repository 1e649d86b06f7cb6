"""No free text takes a private key, in no form and in no body of the API: refused in words, at its field, not repeated,
and not a byte of it in any table or log line (INV-35, INV-38)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, get_resolver
from django.utils import timezone
from structlog.testing import capture_logs

from apps.coverage.break_glass import end_break_glass, use_break_glass
from apps.identity.models import Person, RoleGrant
from apps.identity.permissions import Role
from apps.inventory.stops import lift_stop, stop_writes
from apps.pki.free_text import KEY_FAULT, NUL_FAULT, REMOVED, free_text, text_faults
from apps.pki.private_keys import holds_private_key
from apps.reconcile.models import Drift, Plan
from tests.certs import make_ca as make_certificate
from tests.factories import actor, at_edge, make_ca
from tests.private_keys import private_keys
from tests.unit.authorities.test_adoption import outside
from tests.unit.coverage.test_requests import Desk
from tests.unit.inventory.test_hold_pages import WINDOW, api_for, page_for, send

pytestmark = pytest.mark.django_db
CANARY = "MIIEcanaryOfAKey"
KEY = f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"
SEEN = "That holds a private key"


@dataclass(frozen=True)
class Form:
    """One form or body that stores free text: what fills it well, and which of its fields are free."""

    role: Role
    path: str
    good: dict[str, Any]
    free: tuple[str, ...]


class Stage(Desk):
    """Something to write about at every form."""

    def __init__(self) -> None:
        super().__init__()
        self.live("old.pay.example")
        self.waiting = self.planned("new.pay.example")
        responder = actor(Role.RESPONDER, Role.ENGINEER)
        self.glass = use_break_glass(by=responder, account=self.account, hostname="old.pay.example", reason="x")
        end_break_glass(by=responder, break_glass_id=self.glass.pk)
        self.live("two.pay.example")
        self.stop = stop_writes(by=actor(Role.ENGINEER), reason="x", zone_id=self.zone.pk)
        self.stray = outside(self.account, make_certificate("Legacy"))
        self.next_ca = make_ca(self.account, name="Next", live=False)
        now = timezone.now()
        at_edge(self.ca, self.zone, "old.pay.example", "two.pay.example", "d.pay.example")
        self.drift = Drift.objects.create(
            zone=self.zone, ca=self.ca, ca_cloudflare_id=self.ca.cloudflare_id, hostname="d.pay.example",
            kind="unexpected", first_seen_at=now, last_seen_at=now,
        )  # fmt: skip

    def forms(self) -> Iterator[Form]:
        account, ca, zone = self.account.pk, self.ca.pk, self.zone.pk
        ask = {"ca": str(ca), "kind": "cover", "mode": "block", "hostnames": "n.pay.example", "reason": "x"}
        upload = {"name": "Fresh", "client_issuers": "unknown", "pem": make_certificate("Fresh").pem, "reason": "x"}
        yield Form(Role.ENGINEER, "/cas/upload/", upload, ("name", "reason", "pem"))
        adopt = {"name": "Legacy", "client_issuers": "unknown", "reason": "x"}
        yield Form(Role.ENGINEER, f"/cas/adopt/{self.stray.cloudflare_id}/", adopt, ("name", "reason"))
        yield Form(Role.ENGINEER, f"/cas/{ca}/issuers/", {"reason": "x", "pem": ""}, ("reason", "pem", "override"))
        yield Form(Role.ENGINEER, f"/cas/{self.next_ca.pk}/delete/", {"confirm": "Next"}, ("reason",))
        yield Form(Role.ENGINEER, "/requests/new/", ask, ("reason", "ticket", "override"))
        yield Form(Role.APPROVER, f"/requests/{self.waiting.pk}/review/", {"decision": "reject"}, ("comment",))
        approve = {"decision": "approve", "digest": "d1"}
        yield Form(Role.APPROVER, f"/requests/{self.waiting.pk}/review/", approve, ("comment",))
        glass = {"hostname": "two.pay.example", "minutes": "60"}
        yield Form(Role.RESPONDER, "/break-glass/new/", glass, ("reason",))
        yield Form(Role.APPROVER, f"/break-glass/{self.glass.pk}/review/", {}, ("comment",))
        decide = {"send": "1", "act": "ignore", "picks": str(self.drift.pk)}
        yield Form(Role.ENGINEER, "/drift/decide/", decide, ("reason",))
        accept = {"send": "1", "act": "accept", "picks": str(self.drift.pk), "reason": "x", "team": self.team.slug}
        yield Form(Role.ENGINEER, "/drift/decide/", accept, ("reason", "ticket"))
        yield Form(Role.ADMIN, "/accounts/stops/", {"target": "everything"}, ("reason",))
        yield Form(Role.ADMIN, f"/accounts/stops/{self.stop.pk}/lift/", {}, ("reason",))
        yield Form(Role.ADMIN, f"/accounts/{account}/windows/", WINDOW, ("name",))
        new = {"name": "Other", "cloudflare_id": "f" * 32, "token": "t"}
        yield Form(Role.ADMIN, "/accounts/", new, ("name", "token"))
        yield Form(Role.ADMIN, f"/accounts/{account}/token/", {}, ("token",))
        yield Form(Role.ADMIN, f"/accounts/{account}/slots/", {"slot_limit": "9"}, ("reason",))
        yield Form(Role.ADMIN, f"/accounts/{account}/healing/", {"enabled": "on"}, ("reason",))
        yield Form(Role.ADMIN, f"/accounts/{account}/probing/", {"enabled": "on"}, ("reason",))
        yield Form(Role.ADMIN, f"/zones/{zone}/limits/", {}, ("reason",))
        yield Form(Role.ENGINEER, "/settings/tokens/", {}, ("name",))
        yield Form(Role.VIEWER, "/notifications/address/", {}, ("email",))
        hook = {"name": "Partner", "url": "https://partner.example/in"}
        yield Form(Role.ADMIN, "/notifications/webhooks/", hook, ("name", "url", "secret"))

    def bodies(self) -> Iterator[Form]:
        account, ca, zone = str(self.account.pk), str(self.ca.pk), self.zone.pk
        ask = {"ca": ca, "kind": "cover", "mode": "block", "hostnames": ["n.pay.example"], "reason": "x"}
        upload = {"account": account, "name": "Fresh", "pem": make_certificate("Fresh").pem}
        yield Form(Role.ENGINEER, "post /cas/", upload, ("name", "reason", "pem"))
        adopt = {"account": account, "cloudflare_id": self.stray.cloudflare_id, "name": "Legacy", "reason": "x"}
        yield Form(Role.ENGINEER, "post /cas/adopt/", adopt, ("name", "reason"))
        yield Form(Role.ENGINEER, f"delete /cas/{self.next_ca.pk}/", {}, ("reason",))
        yield Form(Role.ENGINEER, "post /requests/", ask, ("reason", "ticket", "override"))
        yield Form(Role.APPROVER, f"post /requests/{self.waiting.pk}/reject/", {}, ("comment",))
        yield Form(Role.APPROVER, f"post /requests/{self.waiting.pk}/approve/", {"digest": "d1"}, ("comment",))
        yield Form(Role.RESPONDER, "post /break-glass/", {"hostname": "two.pay.example"}, ("reason",))
        yield Form(Role.APPROVER, f"post /break-glass/{self.glass.pk}/review/", {}, ("comment",))
        yield Form(Role.ADMIN, "post /stops/", {"scope": "everything"}, ("reason",))
        yield Form(Role.ADMIN, f"post /stops/{self.stop.pk}/lift/", {}, ("reason",))
        window = {**WINDOW, "account": account, "weekdays": [0]}
        yield Form(Role.ADMIN, "post /freeze-windows/", window, ("name",))
        yield Form(Role.ADMIN, f"put /accounts/{account}/slot-limit/", {"slot_limit": 9}, ("reason",))
        yield Form(Role.ADMIN, f"put /zones/{zone}/limits/", {}, ("reason",))
        yield Form(Role.ADMIN, f"put /accounts/{account}/healing/", {"enabled": True}, ("reason",))
        picks = {"account": account, "picks": [self.drift.pk]}
        yield Form(Role.ENGINEER, "post /drift/ignore/", picks, ("reason",))


def rows() -> str:
    """Every value of every table."""
    return "".join(str(list(model._default_manager.values())) for model in apps.get_models())


def clean(answer: HttpResponse, logs: list[Any]) -> None:
    assert CANARY not in answer.content.decode()
    assert CANARY not in str(logs)
    assert CANARY not in rows()


def test_every_form_refuses_it_in_words() -> None:
    stage = Stage()
    for form in stage.forms():
        client = page_for(form.role)
        for field in form.free:
            with capture_logs() as logs:
                answer = client.post(form.path, {**form.good, field: KEY})
            assert (answer.status_code, SEEN in answer.content.decode()) == (400, True), (form.path, field)
            assert "private_key_refused" in {line["event"] for line in logs}
            clean(answer, logs)
    assert REMOVED not in rows()


def test_every_body_of_the_api_refuses_it_in_words() -> None:
    stage = Stage()
    for form in stage.bodies():
        who, (method, path) = api_for(form.role), form.path.split()
        for field in form.free:
            with capture_logs() as logs:
                answer = send(method, path, who, {**form.good, field: KEY})
            assert (answer.status_code, SEEN in answer.content.decode()) == (400, True), (path, field, answer.content)
            assert field in answer.json()["errors"], (path, answer.content)
            assert "private_key_refused" in {line["event"] for line in logs}
            clean(answer, logs)
    assert REMOVED not in rows()


def test_no_address_stores_or_repeats_one_whatever_the_field() -> None:
    """Every address that takes a form, the ones that are made after this test too, with a key in every field."""
    stage = Stage()
    person = Person.objects.get(pk=actor(*Role).person.pk)  # type: ignore[union-attr]
    client = Client()
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    change = Plan.objects.create(
        zone=stage.zone, state="done", number=1, digest="d", document={}, refusals=[], request_ids=[]
    )  # fmt: skip
    ids = {
        "ca_id": stage.ca.pk, "account_id": stage.account.pk, "zone_id": stage.zone.pk, "change_id": change.pk,
        "request_id": stage.waiting.pk, "break_glass_id": stage.glass.pk, "stop_id": stage.stop.pk, "window_id": 1,
        "token_id": 1, "fqdn": "old.pay.example", "cloudflare_id": stage.stray.cloudflare_id, "seq": 1, "kind": "csv",
        "webhook_id": uuid.uuid4(), "notice_id": uuid.uuid4(),
    }  # fmt: skip
    names = [
        "name", "reason", "comment", "ticket", "override", "pem", "token", "hostname", "hostnames", "confirm",
        "test_ranges", "choose", "timezone", "target", "guard", "replacement", "list", "q", "next", "mode", "team",
        "email", "url", "secret",
    ]  # fmt: skip
    with capture_logs() as logs:
        for pattern in get_resolver("apps.web.urls").url_patterns:
            assert isinstance(pattern, URLPattern)
            if pattern.name is not None:
                path = get_resolver("apps.web.urls").reverse(
                    pattern.name, **{name: ids[name] for name in pattern.pattern.converters}
                )
                clean(client.post("/" + path, dict.fromkeys(names, KEY)), logs)
    clean(Client().post("/accounts/login/", {"login": KEY, "password": KEY}), logs)
    assert RoleGrant.objects.filter(person=person).count() == len(Role)


def test_the_api_repeats_no_name_of_a_field_that_is_a_key() -> None:
    answer = send("post", "/cas/", api_for(Role.ENGINEER), {KEY: {"a": [KEY, 1]}})
    assert answer.status_code == 400
    assert REMOVED in answer.json()["errors"]
    clean(answer, [])
    twice = f'{{"{CANARY} PRIVATE KEY": 1, "{CANARY} PRIVATE KEY": 2}}'
    answer = Client().post(
        "/api/v1/cas/", twice, content_type="application/json", headers={"Authorization": f"Bearer {token()}"}
    )
    assert answer.status_code == 400
    clean(answer, [])


def token() -> str:
    return api_for(Role.ENGINEER)["HTTP_AUTHORIZATION"].removeprefix("Bearer ")


def test_what_a_form_keeps_beside_it() -> None:
    stage = Stage()
    form = {"ca": str(stage.ca.pk), "mode": "verify", "hostnames": "n.pay.example", "reason": "Launch", "ticket": KEY}
    page = page_for(Role.ENGINEER).post("/requests/new/", form).content.decode()
    assert "n.pay.example" in page
    assert ">Launch</textarea>" in page
    assert f'value="{REMOVED}"' in page


def test_the_service_refuses_it_by_itself() -> None:
    """A caller that comes through no door."""
    for form, key in private_keys().items():
        if isinstance(key, str):
            assert text_faults(reason=key) == {"reason": [KEY_FAULT]}, form
    with pytest.raises(Exception, match="NUL") as refused:
        free_text("a\0", "reason")
    assert refused.value.details == {"reason": [NUL_FAULT]}  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="private key"):
        lift_stop(by=actor(Role.ADMIN), stop_id=1, reason=KEY)
    assert holds_private_key(REMOVED)


@pytest.mark.parametrize(
    "words",
    [
        "Rotated the private key of Partners",
        "We begin to use a new private key in March",
        "Beginning next week, clients use private keys of the HSM",
        "X509v3 Private Key Usage Period: Not Before: begin of May",
    ],
)
def test_words_about_keys_are_no_key(words: str) -> None:
    assert free_text(f" {words} ", "reason") == words
