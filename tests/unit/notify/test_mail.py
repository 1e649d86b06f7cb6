"""A lock-out in the audit log becomes one mail per person who should know, over real SMTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.identity.models import HostnameGrant, Person
from apps.identity.permissions import Role
from apps.notify import services
from apps.notify.models import Notice
from apps.notify.services import read_events
from tests.factories import make_team
from tests.smtp_server import SmtpServer
from tests.unit.notify.desk import ENDED, LOCKED, NAME, Desk, later, person, states, work


def test_owners_and_engineers_each_get_one_mail_that_says_what_why_and_where(desk: Desk, smtp: SmtpServer) -> None:
    desk.tell(why="No CA that is valid now is tied to it.")
    work()
    assert {mail.recipients for mail in smtp.received} == {("owner@pay.example",), ("engineer@sec.example",)}
    mail = smtp.to("owner@pay.example")[0]
    assert mail.message["Subject"] == f"[BYOCA Portal] {NAME} refuses every client"
    assert mail.message["From"] == "BYOCA Portal <portal@byoca.example>" and mail.sender == "portal@byoca.example"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    text = " ".join(mail.text.split())
    assert f"Hostname: {NAME} Zone: pay.example Seen: " in text
    assert "Why: No CA that is valid now is tied to it." in text
    assert "Drift" in text and mail.text.count("https://") == 1
    assert f"https://portal.example/hostnames/{NAME}/" in mail.text
    assert f"You get this mail because your team Payments owns {NAME}." in text
    told = " ".join(smtp.to("engineer@sec.example")[0].text.split())
    assert "because you are a security engineer of the portal." in told
    assert set(states().values()) == {"sent"}


def test_the_end_is_told_without_a_promise(desk: Desk, smtp: SmtpServer) -> None:
    desk.tell(action=ENDED, why="")
    work()
    mail = smtp.to("owner@pay.example")[0]
    assert mail.message["Subject"] == f"[BYOCA Portal] {NAME} no longer refuses every client"
    assert "Why:" not in mail.text and "does not say that it is" in " ".join(mail.text.split())


def test_no_other_event_makes_a_notice(desk: Desk, smtp: SmtpServer) -> None:
    desk.tell(action="hostname:renamed")
    work()
    assert smtp.received == [] and not Notice.objects.exists()


def test_hostnames_of_one_read_come_in_one_mail(desk: Desk, smtp: SmtpServer) -> None:
    names = [f"n{number}.pay.example" for number in range(5)]
    for name in names:
        desk.cover(name)
    desk.tell(*names)
    work()
    (mail,) = smtp.to("owner@pay.example")
    assert mail.message["Subject"] == "[BYOCA Portal] 5 hostnames refuse every client"
    assert all(f"Hostname:     {name}" in mail.text for name in names)
    assert "https://portal.example/associations/?answer=locked_out" in mail.text
    assert Notice.objects.filter(state="sent").count() == 10


def test_who_reserved_the_name_is_told_and_nobody_twice(desk: Desk, smtp: SmtpServer) -> None:
    fleet = make_team("Fleet")
    HostnameGrant.objects.create(team=fleet, suffix="shop.pay.example")
    person("Fleet@Pay.example", Role.OWNER, teams=(fleet,))
    both = person("both@pay.example", Role.ENGINEER, teams=(fleet, desk.team))
    person("FLEET@pay.example", Role.ENGINEER)
    desk.tell("x.shop.pay.example")
    work()
    assert sorted(mail.recipients[0] for mail in smtp.received) == [
        "both@pay.example", "engineer@sec.example", "fleet@pay.example",
    ]  # fmt: skip
    assert both.email and "your team Fleet owns" in " ".join(smtp.to("both@pay.example")[0].text.split())


def test_people_without_an_address_and_those_who_left_get_nothing(desk: Desk, smtp: SmtpServer) -> None:
    Person.objects.filter(pk=desk.owner.pk).update(email="")
    Person.objects.filter(pk=desk.engineer.pk).update(is_active=False)
    desk.tell()
    work()
    assert smtp.received == [] and not Notice.objects.exists()


HOSTILE = "a\r\nBcc: victim@evil.example\r\n\r\nbody\x1b\u202e.pay.example"


def test_no_text_from_outside_makes_a_header_or_a_line(desk: Desk, smtp: SmtpServer) -> None:
    """Names at the edge are written by whoever may edit rules there; team and person names by others."""
    desk.cover("quiet.pay.example")
    Person.objects.filter(pk=desk.owner.pk).update(display_name="X\r\nBcc: victim@evil.example")
    type(desk.team).objects.filter(pk=desk.team.pk).update(name="T\r\n.\r\nMAIL FROM:<x@evil.example>")
    desk.cover(HOSTILE)
    desk.tell(HOSTILE, why="w\r\n.\r\nRCPT TO:<victim@evil.example>")
    work()
    assert len(smtp.received) == 2 and set(states().values()) == {"sent"}
    for mail in smtp.received:
        assert mail.message["Bcc"] is None and len(mail.recipients) == 1
        assert "\u202e" not in mail.text and "\x1b" not in mail.text
        assert not [line for line in mail.text.splitlines() if line.startswith(("Bcc:", "RCPT", "MAIL", "."))]
    assert "%0D%0ABcc" in smtp.received[0].text, "the link is one URL"


def test_an_address_with_a_line_break_is_refused_and_stops_nobody_else(desk: Desk, smtp: SmtpServer) -> None:
    """The database may be written by other hands than the portal's forms."""
    Person.objects.filter(pk=desk.owner.pk).update(email="owner@pay.example\r\nBcc: victim@evil.example")
    desk.tell()
    work()
    assert [mail.recipients for mail in smtp.received] == [("engineer@sec.example",)]
    failed = Notice.objects.get(state="not_delivered")
    assert failed.last_error.startswith("The mail cannot be written")


def test_a_refused_address_ends_at_once_with_the_servers_words(desk: Desk, smtp: SmtpServer) -> None:
    smtp.answers["RCPT"] = lambda line: "550 5.1.1 No\x1b[31m such user" if "owner@" in line else "250 fine"
    desk.tell()
    work()
    assert states() == {"owner@pay.example": "not_delivered", "engineer@sec.example": "sent"}
    failed = Notice.objects.get(state="not_delivered")
    assert failed.last_error == "The mail server refused the address: 550 5.1.1 No?[31m such user"
    event = AuditEvent.objects.get(action="notice:not_delivered")
    assert "owner@pay.example" not in str(event.__dict__), "the log that cannot forget holds no address"


def test_a_busy_mailbox_is_tried_again_and_only_that_one(desk: Desk, smtp: SmtpServer) -> None:
    smtp.answers["RCPT"] = lambda line: "452 4.2.2 Mailbox full" if "owner@" in line else "250 fine"
    desk.tell()
    work()
    assert states() == {"owner@pay.example": "waiting", "engineer@sec.example": "sent"}
    work()
    assert Notice.objects.get(state="waiting").attempts == 1, "not before its time"
    smtp.answers.clear()
    later()
    work()
    assert set(states().values()) == {"sent"} and len(smtp.received) == 2


@pytest.mark.parametrize(
    ("verb", "said", "reason"),
    [
        ("CONNECT", "421 4.3.2 Going down", "The mail server refused: 421 4.3.2 Going down"),
        ("CONNECT", "drop", "The mail server could not be used: Connection unexpectedly closed"),
        ("CONNECT", "silence", "The mail server did not answer within 1 s."),
        ("MAIL", "530 5.7.0 Sign in first", "The mail server refused: 530 5.7.0 Sign in first"),
    ],
)
def test_a_server_that_is_down_costs_each_notice_one_attempt(
    desk: Desk, smtp: SmtpServer, verb: str, said: str, reason: str
) -> None:
    smtp.answers[verb] = said
    desk.tell()
    work()
    assert set(states().values()) == {"waiting"} and smtp.received == []
    assert [(row.attempts, row.last_error) for row in Notice.objects.all()] == [(1, reason)] * 2
    smtp.answers.clear()
    later()
    work()
    assert set(states().values()) == {"sent"} and len(smtp.received) == 2


@pytest.mark.parametrize(
    ("said", "state"), [("554 5.6.0 Looks like spam", "not_delivered"), ("451 4.3.0 Try later", "waiting")]
)
def test_a_refused_mail(desk: Desk, smtp: SmtpServer, said: str, state: str) -> None:
    smtp.answers["BODY"] = said
    desk.tell()
    work()
    assert set(states().values()) == {state}
    assert Notice.objects.all()[0].last_error == f"The mail server refused the mail: {said}"


def test_nobody_listens(desk: Desk, smtp: SmtpServer, settings: object, unused: Callable[[], int]) -> None:
    settings.EMAIL_PORT = unused()  # type: ignore[attr-defined]
    desk.tell()
    work()
    assert "could not be used" in Notice.objects.all()[0].last_error
    assert set(states().values()) == {"waiting"}


def test_an_address_the_server_cannot_take(desk: Desk, smtp: SmtpServer) -> None:
    Person.objects.filter(pk=desk.owner.pk).update(email="jörg@pay.example")
    desk.tell()
    work()
    assert states()["jörg@pay.example"] == "not_delivered"
    assert states()["engineer@sec.example"] == "sent"


def test_the_message_id_is_the_same_on_every_attempt(desk: Desk, smtp: SmtpServer) -> None:
    """The server took the mail and its answer was lost: a second copy can be told by its id."""
    seen: list[str] = []
    smtp.answers["BODY"] = "250 taken"
    desk.tell()
    work()
    Notice.objects.filter(recipient="owner@pay.example").update(state="waiting")
    later()
    work()
    seen = [str(mail.message["Message-ID"]) for mail in smtp.to("owner@pay.example")]
    assert len(seen) == 2 and len(set(seen)) == 1 and seen[0].endswith("@portal.example>")


def test_a_mail_that_tells_of_more_is_no_copy(desk: Desk, smtp: SmtpServer) -> None:
    """A server that took the first, and whose yes was lost, would throw the second away as a copy of it."""
    desk.tell("one.pay.example")
    work()
    Notice.objects.filter(recipient="engineer@sec.example").update(state="waiting")
    desk.tell("two.pay.example")
    later()
    work()
    first, second = smtp.to("engineer@sec.example")
    assert "two.pay.example" in second.text
    assert first.message["Message-ID"] != second.message["Message-ID"]


def test_a_worker_without_a_mail_server_calls_nothing_sent(desk: Desk, smtp: SmtpServer, settings: Any) -> None:
    """The notice was made, or asked for again, where there was one."""
    desk.tell()
    while read_events():
        pass
    settings.BYOCA_MAIL, settings.EMAIL_BACKEND = False, "django.core.mail.backends.dummy.EmailBackend"
    work()
    assert set(states().values()) == {"not_delivered"}
    assert {"EMAIL_URL" in row.last_error for row in Notice.objects.all()} == {True}


def test_a_folder_for_mails_that_cannot_be_made(desk: Desk, settings: Any, tmp_path: Path) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    (tmp_path / "mail").write_text("a file")
    desk.tell()
    work()
    assert set(states().values()) == {"waiting"}
    assert {"could not be used" in row.last_error for row in Notice.objects.all()} == {True}


def test_what_flaps_fills_no_mailbox(desk: Desk, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MOST_AN_HOUR", 2)
    engineer, owner = "engineer@sec.example", "owner@pay.example"
    for action in (LOCKED, ENDED, LOCKED, ENDED, LOCKED):
        desk.tell("a.pay.example", "b.pay.example", action=action)
        work()
    assert len(smtp.to(engineer)) == 2
    desk.tell(NAME)
    work()
    assert [mail.message["Subject"] for mail in smtp.to(owner)] == [f"[BYOCA Portal] {NAME} refuses every client"]
    waiting = Notice.objects.filter(recipient=engineer, state="waiting")
    assert {(row.attempts, row.last_error) for row in waiting} == {(0, services.ENOUGH)} and waiting.count() == 7
    assert min(row.due_at for row in waiting) > timezone.now() + timedelta(minutes=59)
    Notice.objects.filter(state="sent").update(ended_at=timezone.now() - timedelta(hours=1))
    later()
    work()
    told = [str(mail.message["Subject"]) for mail in smtp.to(engineer)[2:]]
    assert told == [
        "[BYOCA Portal] 3 hostnames refuse every client", "[BYOCA Portal] 2 hostnames no longer refuse every client"
    ]  # fmt: skip


def test_one_hostname_that_flapped_while_the_server_was_away_is_one(desk: Desk, smtp: SmtpServer) -> None:
    desk.tell()
    desk.tell()
    work()
    (mail,) = smtp.to("owner@pay.example")
    assert mail.message["Subject"] == f"[BYOCA Portal] {NAME} refuses every client"
    assert f"https://portal.example/hostnames/{NAME}/" in mail.text and mail.text.count("Seen:") == 2
