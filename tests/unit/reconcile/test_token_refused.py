"""A token that may not write, told while a person works on the same CA."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection, transaction

from apps.authorities.models import CertificateAuthority
from apps.authorities.services import begin_write
from apps.cloudflare.errors import Unauthorized
from apps.inventory.models import Account
from apps.reconcile.certificates import CaWriter
from apps.reconcile.observe import WORKER
from tests.factories import make_account, make_ca

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
def test_it_waits_for_whoever_holds_the_ca_and_holds_up_nobody() -> None:
    """`retire_ca` and `retry_ca` lock the CA, then its account. The other way round each would wait for the other."""
    account = make_account()
    ca = make_ca(account, live=False)
    begin_write(by=WORKER, ca_id=ca.pk)
    held, faults = threading.Event(), []

    def retire() -> None:
        try:
            with transaction.atomic():
                CertificateAuthority.objects.select_for_update(no_key=True).get(pk=ca.pk)
                held.set()
                until_somebody_waits()
                Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    person = threading.Thread(target=retire)
    person.start()
    assert held.wait(10)
    writer: Any = CaWriter(client=None, account=account, lease=None)  # type: ignore[arg-type]
    writer._token_refused(ca, Unauthorized("No."))
    person.join()
    assert faults == []
    ca.refresh_from_db()
    assert (ca.write_attempts, ca.write_sent_at) == (0, None)
    assert Account.objects.get().ca_writes_refused_at is not None


def until_somebody_waits() -> None:
    until = time.monotonic() + 10
    with connection.cursor() as cursor:
        while time.monotonic() < until:
            cursor.execute(WAITING)
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)
    raise AssertionError("nobody waited for the CA")
