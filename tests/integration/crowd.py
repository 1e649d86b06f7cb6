"""Many people and workers at the same moment: run as a process of its own, against a database of its own.

`python -m tests.integration.crowd prepare` makes the account with four of five slots taken, one CA near its end;
`... upload THREADS START` admits one CA per thread once the clock reaches START, and prints how each ended;
`... expire THREADS START` lets each thread look for thresholds, and prints how many each found.
"""

# ruff: noqa: E402  (Django is set up before its models are imported)

from __future__ import annotations

import collections
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byoca_portal.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca, record_expiry
from apps.errors import Invalid
from apps.identity.actors import Actor
from apps.identity.models import Person
from apps.identity.permissions import Role
from apps.inventory.models import Account
from tests.certs import make_ca as make_certificate
from tests.factories import SETUP, make_account, make_ca, make_person


def prepare() -> None:
    call_command("migrate", verbosity=0, interactive=False)
    account = make_account()
    make_person(Role.ENGINEER, username="engineer")
    for number in range(4):
        make_ca(account, name=f"Taken {number}", live=number < 3)
    CertificateAuthority.objects.filter(name="Taken 0").update(not_after=timezone.now() + timedelta(days=20))


def upload(threads: int, start: float) -> None:
    account, person = Account.objects.get(), Person.objects.get(username="engineer")
    pems = [make_certificate(f"Root {os.getpid()}-{number}").pem for number in range(threads)]

    def one(number: int) -> str:
        try:
            name = f"Root {os.getpid()}-{number}"
            admit_ca(by=Actor.of(person, via="page"), account=account, name=name, data=pems[number])
        except Invalid as refused:
            full = "All 5 slots are used" in str(refused.details)
            return "full" if full else f"refused: {refused.details}"
        return "admitted"

    together(one, threads, start)


def expire(threads: int, start: float) -> None:
    account, now = Account.objects.get(), timezone.now()
    together(lambda _: str(len(record_expiry(by=SETUP, account=account, now=now))), threads, start)


def together(act: Callable[[int], str], threads: int, start: float) -> None:
    """Every thread acts when the clock reaches `start`. Prints how often each end came."""
    ends: collections.Counter[str] = collections.Counter()

    def one(number: int) -> None:
        time.sleep(max(start - time.time(), 0))
        try:
            ends[act(number)] += 1
        except Exception as error:  # whatever it is, it is none of the good ends
            ends[repr(error)] += 1
        finally:
            connections.close_all()

    workers = [threading.Thread(target=one, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(dict(ends))


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare()
    else:
        {"upload": upload, "expire": expire}[sys.argv[1]](int(sys.argv[2]), float(sys.argv[3]))
