"""One change and very many sweeps, each step a process of its own: `python -m tests.integration.queues STEP`.

`prepare` has a request planned and everything else settled; `flood` leaves 1,000 doorbells of a sweep of another zone
in the broker, and then approves the request. `behind` sends one tick, as beat does on a host whose clock is half a
minute behind; `heard` prints whether a worker has run it.
"""

# ruff: noqa: E402  (Django is set up before its models are imported)

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byoca_portal.settings")

import django

django.setup()

from apps.authorities.services import admit_ca
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan
from apps.coverage.services import approve_request
from apps.identity.actors import Actor
from apps.identity.models import Person
from apps.identity.permissions import Role
from apps.inventory.models import Account, Zone
from apps.outbox.doorbell import queue_of
from apps.outbox.selectors import entries_due, is_alive
from apps.outbox.services import mark_due
from apps.reconcile.accounts import run_account
from apps.reconcile.services import submit_request
from apps.reconcile.zones import run_zone
from byoca_portal.celery import app
from tests.certs import make_ca
from tests.factories import make_person

CHANGED, SWEPT = "northwind.example", "devices.northwind.example"


def prepare() -> None:
    engineer = Actor.of(make_person(Role.ENGINEER, username="asks"), via="page")
    make_person(Role.ENGINEER, username="approves")
    run()
    ca = admit_ca(by=engineer, account=Account.objects.get(), name="Queued", data=make_ca("Queued").pem)
    run()
    ca.refresh_from_db()
    submit_request(by=engineer, kind="cover", ca=ca, mode="verify", hostnames=[f"queued.{CHANGED}"], reason="Launch")
    run()


def run() -> None:
    while due := list(entries_due()):
        for entry in due:
            (run_account if entry.kind == "account" else run_zone)(entry.subject_id)


def flood() -> None:
    swept = Zone.objects.get(name=SWEPT)
    for _ in range(1000):
        app.send_task("reconcile.zone", args=[str(swept.pk)], queue=queue_of("zone", urgent=False))
    mark_due(kind="zone", subject_id=swept.pk, urgent=False)
    request = CoverageRequest.objects.get()
    plan = current_plan(request)
    assert plan
    by = Actor.of(Person.objects.get(username="approves"), via="page")
    approve_request(by=by, request_id=request.pk, digest=plan.digest)
    changed = Zone.objects.get(name=CHANGED)
    app.send_task("reconcile.zone", args=[str(changed.pk)], queue=queue_of("zone", urgent=True))


def behind() -> None:
    entry = app.conf.beat_schedule["tick"]
    expires = datetime.now(UTC) - timedelta(seconds=30) + timedelta(seconds=entry["options"]["expires"])
    app.send_task(entry["task"], expires=expires, queue="maintenance")


def heard() -> None:
    print(is_alive("tick", within_s=600))


if __name__ == "__main__":
    {"prepare": prepare, "flood": flood, "behind": behind, "heard": heard}[sys.argv[1]]()
