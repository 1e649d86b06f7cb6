"""Who is told when a change, a CA or the portal itself cannot go on, and what stays untold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import transaction

from apps.audit.models import AuditEvent
from apps.audit.services import record
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.notify.cloudevent import body_of
from apps.notify.kinds import KINDS
from apps.notify.models import Notice
from apps.web.words import ACTS
from tests.smtp_server import SmtpServer
from tests.unit.notify.desk import ZONE, Desk, person, work

WORKER = Actor.portal("worker")
CHANGE = "7c0f9a52-0000-4000-8000-000000000001"


def tell(desk: Desk, action: str, subject: tuple[str, object, str], by: Actor = WORKER, **more: Any) -> AuditEvent:
    with transaction.atomic():
        return record(by=by, action=action, subject=subject, account=desk.account.pk, zone=ZONE, **more)


def heard(smtp: SmtpServer, *addresses: str) -> set[str]:
    return {address for address in addresses if smtp.to(address)}


EVERYBODY = ("owner@pay.example", "engineer@sec.example", "stranger@pay.example")


@pytest.mark.parametrize("team", [True, False])
def test_a_request_that_failed_is_told_to_those_who_asked_and_to_engineers(
    desk: Desk, smtp: SmtpServer, team: bool
) -> None:
    person("colleague@pay.example", Role.OWNER, teams=(desk.team,))
    if team:
        desk.request.team = desk.team
        desk.request.save()
    after = {"state": "partly_done", "why": "Cloudflare refused the rule."}
    tell(desk, "request:failed", ("request", desk.request.pk, str(desk.request)), after=after)
    work()
    told = heard(smtp, *EVERYBODY, "colleague@pay.example")
    assert told == {"owner@pay.example", "engineer@sec.example"} | ({"colleague@pay.example"} if team else set())
    mail = smtp.to("owner@pay.example")[0]
    assert mail.message["Subject"] == f"[BYOCA Portal] {desk.request} could not be finished"
    assert f"Request:      {desk.request}" in mail.text and "Cloudflare refused the rule." in mail.text
    assert f"/requests/{desk.request.pk}/" in mail.text and "because you asked for it" in mail.text


def test_a_request_that_nobody_has_is_told_to_engineers(desk: Desk, smtp: SmtpServer) -> None:
    tell(desk, "request:failed", ("request", 4242, "REQ-4242"), after={"why": "x"})
    work()
    assert heard(smtp, *EVERYBODY) == {"engineer@sec.example"}


@pytest.mark.parametrize(
    ("action", "subject", "more", "words", "path"),
    [
        ("plan:diverged", ("change", CHANGE, "CHG-1"), {"after": {"error": "Not shown."}, "details": {"requests": [1]}},
         "CHG-1 was sent, and the edge shows something else", f"/changes/{CHANGE}/"),
        ("plan:failed", ("change", CHANGE, "CHG-1"), {"after": {"error": "No."}, "details": {"requests": []}},
         "CHG-1 could not put back what was approved", f"/changes/{CHANGE}/"),
        ("healing:stopped", ("zone", "z", ZONE), {"reason": "Somebody else keeps changing this list."},
         f"{ZONE}: what is put back is taken away again", "/drift/"),
        ("zone:parked", ("zone", "z", ZONE), {"details": {"why": "Too often."}},
         f"{ZONE} is no longer read or changed", "/accounts/"),
        ("account:parked", ("account", "a", "Main"), {"details": {"why": "Too often."}},
         "The account Main is no longer read", "/accounts/"),
        ("ca:push_failed", ("ca", CHANGE, "Root"), {"after": {"why": "Not a CA."}},
         "The CA Root could not be sent to Cloudflare", f"/cas/{CHANGE}/"),
        ("ca:deletion_parked", ("ca", CHANGE, "Root"), {"after": {"why": "In use."}},
         "The CA Root could not be deleted at Cloudflare", f"/cas/{CHANGE}/"),
    ],
)  # fmt: skip
def test_what_stops_is_told_to_engineers_alone(
    desk: Desk, smtp: SmtpServer, action: str, subject: tuple[str, object, str], more: dict[str, Any], words: str,
    path: str,
) -> None:  # fmt: skip
    event = tell(desk, action, subject, **more)
    work()
    assert heard(smtp, *EVERYBODY) == {"engineer@sec.example"}
    (mail,) = smtp.to("engineer@sec.example")
    assert mail.message["Subject"] == f"[BYOCA Portal] {words}"
    assert f"https://portal.example{path}" in mail.text.splitlines()
    sent = json.loads(body_of(event))
    assert (sent["type"], sent["data"]["headline"]) == (f"byoca.{action.replace(':', '.')}", words)
    assert sent["data"]["why"] and f"Why:          {sent['data']['why']}" in mail.text


def test_writes_that_the_portal_stopped_are_told_and_those_a_person_stopped_are_not(
    desk: Desk, smtp: SmtpServer
) -> None:
    tell(desk, "writes:stopped", ("stop", 1, "everything"), by=Actor.of(desk.engineer, via="page"), reason="Planned")
    work()
    assert not Notice.objects.exists()
    tell(desk, "writes:stopped", ("stop", 2, "everything"), by=Actor.portal("alarm"), reason="The log is shorter.")
    work()
    assert heard(smtp, *EVERYBODY) == {"engineer@sec.example"}
    mail = smtp.to("engineer@sec.example")[0]
    assert "The portal stopped its own writes: everything" in mail.message["Subject"]
    assert "The log is shorter." in mail.text and "About:        everything" in mail.text


def test_a_change_of_a_request_that_failed_is_told_once_with_the_request(desk: Desk, smtp: SmtpServer) -> None:
    tell(desk, "plan:failed", ("change", CHANGE, "CHG-1"), after={"error": "No."}, details={"requests": [7]})
    work()
    assert smtp.received == []


def test_several_of_a_kind_come_in_one_mail_that_leads_to_all(desk: Desk, smtp: SmtpServer) -> None:
    for number in range(3):
        tell(desk, "ca:push_failed", ("ca", number, f"Root {number}"), after={"why": "Refused."})
    work()
    (mail,) = smtp.to("engineer@sec.example")
    assert "3 CAs could not be sent to Cloudflare" in mail.message["Subject"] and "/cas/\r\n" in mail.text


@pytest.mark.parametrize("action", KINDS)
def test_every_kind_has_words_for_one_and_for_many(action: str) -> None:
    kind = KINDS[action]
    assert "3" in kind.headline_many.format(count=3) and kind.todo and kind.audience and action in ACTS
