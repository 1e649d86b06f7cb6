"""Changes are numbered without gaps between the accounts that store them at the same moment."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction

from apps.inventory.models import Zone
from apps.planning.plan import Plan as PurePlan
from apps.reconcile.models import Plan
from apps.reconcile.plans import store_plan
from tests.factories import make_account
from tests.unit.reconcile.test_token_refused import until_somebody_waits


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
def test_two_accounts_that_store_a_change_at_once_both_do() -> None:
    first, second = (Zone.objects.filter(account=make_account()).earliest("name") for _ in range(2))
    held, faults = threading.Event(), []

    def store() -> None:
        try:
            with transaction.atomic():
                store_plan(zone=first, plan=PurePlan(first.name, "", (), ()), requests=[])
                held.set()
                until_somebody_waits()
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    other = threading.Thread(target=store)
    other.start()
    assert held.wait(10)
    store_plan(zone=second, plan=PurePlan(second.name, "", (), ()), requests=[])
    other.join()
    assert faults == []
    assert set(Plan.objects.values_list("zone", "number")) == {(first.pk, 1), (second.pk, 2)}
