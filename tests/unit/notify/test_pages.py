"""The notifications page, by role; what was typed stays, what is secret is shown once."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.identity.models import Person
from apps.identity.permissions import Role
from apps.notify import services
from apps.notify.models import Notice, Webhook
from apps.outbox.services import beat
from tests.factories import make_person
from tests.smtp_server import SmtpServer
from tests.unit.notify.desk import NAME, Desk, work

PAGE = "/notifications/"


@pytest.fixture(autouse=True)
def _static_folder(settings: Any) -> None:
    """WhiteNoise warns when the folder that `up` makes is not there."""
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)


def browser(person: Person) -> Client:
    client = Client()
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def html(person: Person, path: str = PAGE) -> str:
    answer = browser(person).get(path)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_notices_are_listed_with_their_state_and_reason(desk: Desk, smtp: SmtpServer) -> None:
    smtp.answers["RCPT"] = lambda line: "550 No <b>such</b> user" if "owner@" in line else "250 fine"
    desk.tell()
    work()
    shown = html(make_person(Role.AUDITOR))
    assert "engineer@sec<wbr>.example" in shown and ">Sent</span>" in shown
    assert "The mail server refused the address: 550 No &lt;b&gt;such&lt;/b&gt; user</span>" in shown
    assert "Send again" not in shown, "an auditor reads"
    assert "owner@pay" not in html(make_person(Role.AUDITOR), f"{PAGE}?state=sent")
    assert "owner@pay<wbr>.example" in html(make_person(Role.AUDITOR), f"{PAGE}?state=not_delivered&channel=mail")
    assert "No notice matches." in html(make_person(Role.AUDITOR), f"{PAGE}?channel=webhook")
    assert "owner@pay<wbr>.example" in html(make_person(Role.AUDITOR), f"{PAGE}?state=nonsense")


def test_an_administrator_sends_again(desk: Desk, smtp: SmtpServer) -> None:
    smtp.answers["RCPT"] = "550 No"
    desk.tell()
    work()
    smtp.answers.clear()
    admin = make_person(Role.ADMIN)
    assert html(admin).count("Send again") == 2
    failed = Notice.objects.get(recipient="owner@pay.example")
    assert browser(make_person(Role.AUDITOR)).post(f"{PAGE}{failed.pk}/retry/").status_code == 403
    assert browser(admin).post(f"{PAGE}{failed.pk}/retry/").status_code == 302
    work()
    assert [mail.recipients for mail in smtp.received] == [("owner@pay.example",)]
    assert browser(admin).post(f"{PAGE}{failed.pk}/retry/").status_code == 409


def test_whoever_may_not_read_the_log_sees_only_their_own_address(desk: Desk, smtp: SmtpServer) -> None:
    desk.tell()
    work()
    shown = html(desk.owner)
    assert 'value="owner@pay.example"' in shown and "Your address" in shown
    assert "engineer@sec" not in shown and "Webhooks" not in shown and f"{NAME} refuses" not in shown


def test_an_address_is_set_kept_when_refused_and_taken_away(desk: Desk) -> None:
    window = browser(desk.stranger)
    refused = window.post(f"{PAGE}address/", {"email": "no address"})
    assert refused.status_code == 400
    shown = refused.content.decode()
    assert 'value="no address"' in shown and "That is no mail address." in shown
    assert window.post(f"{PAGE}address/", {"email": " new@pay.example "}, follow=True).status_code == 200
    desk.stranger.refresh_from_db()
    assert desk.stranger.email == "new@pay.example"
    window.post(f"{PAGE}address/", {"email": ""})
    desk.stranger.refresh_from_db()
    assert desk.stranger.email == ""
    assert str(desk.stranger) in html(make_person(Role.AUDITOR)), "the page names who cannot be told"


def test_there_is_one_way_to_set_an_address(desk: Desk) -> None:
    window = browser(desk.owner)
    for answer in (window.get("/accounts/email/"), window.post("/accounts/email/", {"email": "x@y.example"})):
        assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)


def test_nobody_makes_the_portal_write_to_an_address_they_type(desk: Desk, mailoutbox: list[Any]) -> None:
    window = browser(desk.stranger)
    for path in ("/accounts/password/reset/", "/accounts/password/reset/key/1-abc/"):
        answer = window.post(path, {"email": "somebody@elsewhere.example"})
        assert (answer.status_code, answer.headers["Location"]) == (302, "/accounts/password/change/")
    assert mailoutbox == []


def test_the_page_says_that_no_mail_is_sent(desk: Desk, settings: Any) -> None:
    assert "No mail is sent" not in html(desk.engineer)
    settings.BYOCA_MAIL = False
    assert "No mail is sent" in html(desk.engineer) and "EMAIL_URL" in html(desk.engineer)


def test_the_page_says_that_no_worker_takes_the_queue(desk: Desk) -> None:
    assert "No worker takes the queue" in html(desk.engineer)
    beat("notices")
    assert "No worker takes the queue" not in html(desk.engineer)


def test_a_webhook_is_added_shown_once_and_removed(desk: Desk) -> None:
    admin = make_person(Role.ADMIN)
    window = browser(admin)
    form = {"name": "Partner", "url": "http://partner.example/quiet-path", "secret": ""}
    refused = window.post(f"{PAGE}webhooks/", form)
    assert refused.status_code == 400 and 'value="http://partner.example/quiet-path"' in refused.content.decode()
    made = window.post(f"{PAGE}webhooks/", {**form, "url": "https://partner.example/quiet-path"})
    assert made.status_code == 200 and "whsec_" in made.content.decode()
    shown = html(admin)
    assert "whsec_" not in shown and "quiet-path" not in shown and "https://partner.example/…" in shown
    hook = Webhook.objects.get()
    assert browser(desk.engineer).post(f"{PAGE}webhooks/{hook.pk}/remove/").status_code == 403
    assert browser(desk.engineer).post(f"{PAGE}webhooks/", form).status_code == 403
    assert "Add a webhook" not in html(desk.engineer) and "Partner" in html(desk.engineer)
    assert window.post(f"{PAGE}webhooks/{hook.pk}/remove/").status_code == 302
    assert "https://partner.example" not in html(admin)


def test_waiting_notices_say_when_they_are_tried_again(desk: Desk, smtp: SmtpServer) -> None:
    smtp.answers["RCPT"] = "452 4.2.2 Mailbox full"
    desk.tell()
    work()
    shown = html(desk.engineer)
    assert "Mailbox full</span>" in shown and "Tried 1 time, again" in shown and ">Waiting</span>" in shown
    assert services.MOST_ATTEMPTS > 1
