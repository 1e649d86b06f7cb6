"""From a list emptied by hand to the mailbox and the webhook: real portal, two workers, real SMTP and HTTPS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.certs import make_ca
from tests.faults.driver import Driver
from tests.faults.portals import FaultPortal
from tests.hook_receiver import HOST, HookReceiver
from tests.integration.test_main_job import upload
from tests.portal_process import wait_for
from tests.smtp_server import SmtpServer

ZONE = "northwind-pay.example"
NAME = f"api.{ZONE}"
SENDER = "portal@byoca.example"
PEOPLE = {"owner@northwind.example", "engineer@northwind.example", "engineer2@northwind.example"}
WORKER = ("worker", "--queues", "maintenance,push,mail,probe,observe", "--concurrency", "2", "--loglevel", "ERROR")

RESOLVER = f"""
import socket
_ask = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    return _ask("127.0.0.1" if host == {HOST!r} else host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""
ADD_HOOK = """
import sys
from apps.identity.actors import Actor
from apps.identity.models import Person
from apps.notify.webhooks import add_webhook
add_webhook(by=Actor.of(Person.objects.get(username="admin"), via="page"), name="Partner", url=sys.argv[1])
"""


@pytest.fixture(scope="module")
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture(scope="module")
def receiver() -> Iterator[HookReceiver]:
    with HookReceiver() as running:
        yield running


@pytest.fixture(scope="module")
def driver(smtp: SmtpServer, receiver: HookReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    # Python runs this file first in every process of the portal: the receiver's name exists nowhere.
    folder = tmp_path_factory.mktemp("resolver")
    (folder / "sitecustomize.py").write_text(RESOLVER)
    hooks = {
        "PYTHONPATH": str(folder),
        "SSL_CERT_FILE": str(receiver.server.root_file),
        "BYOCA_WEBHOOK_RANGES": "127.0.0.0/8",
        "BYOCA_WEBHOOK_DEADLINE_S": "3",
    }
    with FaultPortal(EMAIL_URL=smtp.url, BYOCA_MAIL_FROM=SENDER, BYOCA_NOTICE_RETRY_S="1", **hooks) as running:
        driver = Driver(running)
        yield driver
        driver.close()


@pytest.fixture(scope="module")
def ca(driver: Driver) -> dict[str, Any]:
    driver.zone(ZONE)
    return upload(driver.portal, make_ca("Noticed").pem, "Noticed", client_issuers="self")


def told(smtp: SmtpServer, subject: str) -> set[str]:
    """Everybody who got a mail with this subject. A second one to the same person fails."""
    found = [mail.recipients[0] for mail in smtp.received if mail.message["Subject"] == f"[BYOCA Portal] {subject}"]
    assert len(found) == len(set(found)), found
    return set(found)


def test_a_lock_out_by_hand_is_told_once_by_two_workers_and_so_is_its_end(
    driver: Driver, smtp: SmtpServer, ca: dict[str, Any]
) -> None:
    driver.cover(ca, NAME, mode="block")
    with driver.more(*WORKER):
        driver.edge.edit(ZONE, ca["cloudflare_id"], [])
        wait_for(lambda: told(smtp, f"{NAME} refuses every client") == PEOPLE, within_s=90, saying="all are told")
        driver.edge.edit(ZONE, ca["cloudflare_id"], [NAME])
        wait_for(lambda: told(smtp, f"{NAME} no longer refuses every client") == PEOPLE, within_s=90, saying="its end")
    assert len(smtp.received) == 2 * len(PEOPLE)
    mail = smtp.to("owner@northwind.example")[0]
    assert mail.sender == SENDER
    assert f"{driver.portal.url}/hostnames/{NAME}/" in mail.text
    assert f"your team Payments Core owns {NAME}" in " ".join(mail.text.split())


def test_a_mail_server_that_is_away_holds_up_no_push_and_gets_the_mail_later(
    driver: Driver, smtp: SmtpServer, ca: dict[str, Any]
) -> None:
    smtp.answers["CONNECT"] = "silence"
    smtp.received.clear()
    driver.edge.edit(ZONE, ca["cloudflare_id"], [])
    wait_for(lambda: driver.answer(NAME) == "locked_out", within_s=60, saying="the lock-out is found")
    driver.cover(ca, f"settle.{ZONE}")
    assert smtp.received == []
    smtp.answers.clear()
    wait_for(lambda: told(smtp, f"{NAME} refuses every client") == PEOPLE, within_s=120, saying="all are told")


def test_a_webhook_that_is_slow_and_fails_holds_up_no_push_and_gets_its_event_in_the_end(
    driver: Driver, smtp: SmtpServer, receiver: HookReceiver, ca: dict[str, Any]
) -> None:
    receiver.manner = "drip"
    driver.python(ADD_HOOK, receiver.url)
    driver.edge.edit(ZONE, ca["cloudflare_id"], [NAME, f"settle.{ZONE}"])
    wait_for(lambda: receiver.calls, within_s=90, saying="the receiver is called")
    driver.cover(ca, f"pay.{ZONE}")
    receiver.manner, receiver.status = "", 500
    before = len(receiver.calls)
    wait_for(lambda: len(receiver.calls) > before, within_s=90, saying="it is called again")
    receiver.status = 204
    wait_for(lambda: _state(driver) == "sent", within_s=120, saying="it is delivered")
    assert {call.event["type"] for call in receiver.calls} == {"byoca.hostname.lock_out_ended"}
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 1


def _state(driver: Driver) -> str:
    return driver.python(
        "from apps.notify.models import Notice; print(Notice.objects.get(channel='webhook').state, end='')"
    )
