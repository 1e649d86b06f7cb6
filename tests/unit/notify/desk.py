"""A team with a covered hostname, people with addresses, and lock-outs as the reconciler records them."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.audit.services import record
from apps.coverage.models import Association, CoverageRequest
from apps.identity.actors import Actor
from apps.identity.models import Person
from apps.identity.permissions import Role
from apps.notify.models import Notice
from apps.notify.run import run_receiver
from apps.notify.services import KIND, read_events
from apps.outbox.models import OutboxEntry
from apps.outbox.selectors import entries_due
from tests.factories import make_account, make_ca, make_person, make_team

ZONE = "pay.example"
NAME = "api.pay.example"
LOCKED, ENDED = "hostname:locked_out", "hostname:lock_out_ended"
WORKER = Actor.portal("worker")


class Desk:
    """`owner` is in the team that owns NAME; `engineer` is a security engineer; `stranger` neither."""

    def __init__(self) -> None:
        self.team = make_team("Payments")
        self.account = make_account()
        self.zone = self.account.zones.get(name=ZONE)
        self.owner = person("owner@pay.example", Role.OWNER, teams=(self.team,))
        self.engineer = person("engineer@sec.example", Role.ENGINEER)
        self.stranger = person("stranger@pay.example", Role.OWNER)
        self.ca = make_ca(self.account)
        self.request = CoverageRequest.objects.create(
            kind="cover", account=self.account, ca=self.ca, reason="Launch", requested_by=self.owner,
            requested_by_label="Owner", correlation_id="c",
        )  # fmt: skip
        self.cover(NAME)

    def cover(self, hostname: str) -> None:
        Association.objects.create(
            zone=self.zone, ca=self.ca, hostname=hostname, owner_team=self.team, state=Association.State.APPROVED,
            approved_at=timezone.now(), request=self.request,
        )  # fmt: skip

    def tell(self, *hostnames: str, action: str = LOCKED, why: str = "No CA is tied to it.") -> list[AuditEvent]:
        """The events of one read, in one transaction."""
        rest = {"account": self.account.pk, "zone": ZONE, "details": {"why": why}}
        with transaction.atomic():
            return [
                record(by=WORKER, action=action, subject=("hostname", name, name), hostnames=[name], **rest)
                for name in hostnames or (NAME,)
            ]


def person(email: str, *roles: Role, **more: object) -> Person:
    made = make_person(*roles, **more)  # type: ignore[arg-type]
    Person.objects.filter(pk=made.pk).update(email=email)
    made.refresh_from_db()
    return made


def work() -> None:
    """What workers do: read what is new, and serve each receiver that is due, once."""
    while read_events():
        pass
    for entry in entries_due(kinds=[KIND]):
        run_receiver(entry.subject_id)


def later() -> None:
    """Time passes: whatever was put off is due."""
    Notice.objects.filter(state="waiting").update(due_at=Now())
    OutboxEntry.objects.filter(kind=KIND).update(due_at=Now())


def states() -> dict[str, str]:
    return dict(Notice.objects.values_list("recipient", "state"))
