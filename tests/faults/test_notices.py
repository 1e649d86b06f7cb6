"""Notices under a worker that is killed in the middle of a mail, and under a broker that loses every message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.certs import make_ca
from tests.faults.driver import TEMPO, Driver
from tests.faults.portals import FaultPortal
from tests.integration.test_main_job import upload
from tests.integration.test_notices import PEOPLE, SENDER, told
from tests.portal_process import wait_for
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.timeout(600)
ZONE = "northwind-pay.example"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def smtp(mailbox: SmtpServer) -> SmtpServer:
    mailbox.received.clear()
    mailbox.answers.clear()
    mailbox.begun = 0
    return mailbox


@pytest.fixture(scope="module")
def portal(mailbox: SmtpServer) -> Iterator[FaultPortal]:
    mail = {"EMAIL_URL": mailbox.url, "BYOCA_MAIL_FROM": SENDER, "BYOCA_MAIL_TIMEOUT_S": "60"}
    with FaultPortal(**TEMPO, **mail, BYOCA_NOTICE_RETRY_S="1") as running:
        yield running


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    running.zone(ZONE)
    return upload(running.portal, make_ca("Noticed").pem, "Noticed", client_issuers="self")


def lock_out(driver: Driver, ca: dict[str, Any], hostname: str) -> str:
    """Returns the headline of what people must hear."""
    driver.cover(ca, hostname, mode="block")
    left = [name for name in driver.at_edge(ZONE, ca) if name != hostname]
    driver.edge.edit(ZONE, ca["cloudflare_id"], left)
    return f"{hostname} refuses every client"


def test_a_worker_killed_before_the_mail_was_taken_sends_it_once(
    driver: Driver, smtp: SmtpServer, ca: dict[str, Any]
) -> None:
    smtp.hold.clear()
    headline = lock_out(driver, ca, f"killed.{ZONE}")
    wait_for(lambda: smtp.begun, within_s=90, saying="a mail is on its way")
    smtp.answers["BODY"] = "451 4.3.0 never taken"
    driver.kill_worker()
    smtp.hold.set()
    wait_for(lambda: driver.part("worker"), within_s=60, saying="another worker")
    smtp.answers.clear()
    wait_for(lambda: told(smtp, headline) == PEOPLE, within_s=120, saying="all are told")
    assert len(smtp.received) == len(PEOPLE)


def test_a_worker_killed_after_the_mail_was_taken_sends_a_copy_that_can_be_told(
    driver: Driver, smtp: SmtpServer, ca: dict[str, Any]
) -> None:
    """Nobody can know whether a mail was taken when the answer is lost: better twice than never, by one Message-ID."""
    smtp.hold.clear()
    lock_out(driver, ca, f"taken.{ZONE}")
    wait_for(lambda: smtp.begun, within_s=90, saying="a mail is on its way")
    driver.kill_worker()
    smtp.hold.set()
    wait_for(lambda: len(smtp.received) == len(PEOPLE) + 1, within_s=120, saying="all are told")
    ids = [(mail.recipients[0], mail.message["Message-ID"]) for mail in smtp.received]
    assert {address for address, _ in ids} == PEOPLE and len(set(ids)) == len(PEOPLE)


def test_a_broker_that_loses_every_message_costs_time_only(
    driver: Driver, smtp: SmtpServer, ca: dict[str, Any]
) -> None:
    broker = driver.portal.broker()
    headline = lock_out(driver, ca, f"flushed.{ZONE}")

    def told_in_the_end() -> bool:
        done = told(smtp, headline) == PEOPLE
        # Often enough to lose doorbells, seldom enough for some tick to come through.
        broker.delete("mail")
        return done

    wait_for(told_in_the_end, within_s=120, every_s=0.7, saying="all are told")
    broker.close()
    # The third list that is emptied here has the portal stop its writes: that is told besides.
    assert told(smtp, headline) == PEOPLE, "once each"
