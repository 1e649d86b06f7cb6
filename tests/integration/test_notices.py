"""From a list emptied by hand to the mail in somebody's mailbox: real portal, two workers, real SMTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.certs import make_ca
from tests.faults.driver import Driver
from tests.faults.portals import FaultPortal
from tests.integration.test_main_job import upload
from tests.portal_process import wait_for
from tests.smtp_server import SmtpServer

ZONE = "northwind-pay.example"
NAME = f"api.{ZONE}"
SENDER = "portal@byoca.example"
PEOPLE = {"owner@northwind.example", "engineer@northwind.example", "engineer2@northwind.example"}
WORKER = ("worker", "--queues", "push,maintenance,probe,mail", "--concurrency", "2", "--loglevel", "ERROR")


@pytest.fixture(scope="module")
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture(scope="module")
def driver(smtp: SmtpServer) -> Iterator[Driver]:
    with FaultPortal(EMAIL_URL=smtp.url, BYOCA_MAIL_FROM=SENDER, BYOCA_NOTICE_RETRY_S="1") as running:
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
