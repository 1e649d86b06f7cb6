"""One account whose hostnames were approved and are live at the edge, with probing on."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.coverage.services import approve_request, create_request, store_plan
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.inventory.models import EdgeList, EdgeRules, Zone
from apps.outbox.models import OutboxEntry
from apps.planning.rule import expression_for
from apps.probing.models import Probe, ProbeTarget
from apps.probing.services import set_probing, store_probe, take_probe
from apps.probing.verdict import Asked
from apps.probing.visit import Visit
from tests.factories import actor, at_edge, make_account, make_ca, make_team

HOSTNAME = "api.pay.example"
LONG_AGO = timedelta(hours=1)
REFUSED = Visit(asked=Asked.YES, status=403, status_line="HTTP/1.1 403 Forbidden", address="192.0.2.1")
PASSED = dataclasses.replace(REFUSED, status=200, status_line="HTTP/1.1 200 OK")
SILENT = dataclasses.replace(REFUSED, asked=Asked.NO)
LOST = Visit(error="No full answer came within 10 s.", error_code="deadline")


class Desk:
    def __init__(self) -> None:
        self.account = make_account()
        self.team = make_team("Payments")
        self.owner = actor(Role.OWNER, teams=(self.team,))
        self.engineer = actor(Role.ENGINEER)
        self.admin = actor(Role.ADMIN)
        self.ca = make_ca(self.account, name="Partners", client_issuers="self")
        self.zone = Zone.objects.get(account=self.account, name="pay.example")

    def approve(self, *hostnames: str, mode: str = "block", kind: str = "cover") -> None:
        request = create_request(
            by=self.owner,
            kind=kind,
            ca=self.ca,
            mode=mode,
            text="\n".join(hostnames),
            reason="Launch",
            override="Tried in staging",
        )
        worker = Actor.portal("worker")
        store_plan(by=worker, request_id=request.pk, document={"effects": []}, revisions={}, digest="d")
        approve_request(by=self.engineer, request_id=request.pk, digest="d")

    def edge(self, *hostnames: str, action: str = "block", ago: timedelta = LONG_AGO, enabled: bool = True) -> None:
        """As if a read had shown these hostnames in the CA's list and in one rule, unchanged since `ago`."""
        changed: datetime = timezone.now() - ago
        at_edge(self.ca, self.zone, *hostnames)
        EdgeList.objects.filter(zone=self.zone).update(changed_at=changed)
        rules = [
            {
                "id": "1",
                "position": 0,
                "description": "",
                "ref": "byoca-1-0",
                "action": action,
                "enabled": enabled,
                "expression": expression_for(hostnames, None),
            }
        ]
        EdgeRules.objects.update_or_create(
            zone=self.zone,
            defaults={"rules": rules if hostnames else [], "read_at": timezone.now(), "changed_at": changed},
        )

    def switch(self, on: bool = True, test_ranges: str = "") -> None:
        set_probing(by=self.admin, account_id=self.account.pk, enabled=on, test_ranges=test_ranges, reason="Proof.")

    def target(self, hostname: str = HOSTNAME) -> ProbeTarget:
        return ProbeTarget.objects.get(hostname=hostname)

    def entry(self, hostname: str = HOSTNAME) -> OutboxEntry:
        return OutboxEntry.objects.get(kind="probe", subject_id=self.target(hostname).pk)

    def saw(self, visit: Visit, hostname: str = HOSTNAME) -> Probe:
        """As if a worker had taken the probe and seen this."""
        due = OutboxEntry.objects.filter(kind="probe", subject_id=self.target(hostname).pk)
        due.update(due_at=timezone.now() - timedelta(seconds=1))
        taken = take_probe(target_id=self.target(hostname).pk, worker="w")
        assert taken
        probe = store_probe(lease=taken[0], target=taken[1], visit=visit)
        assert probe
        return probe

    def events(self, *actions: str) -> list[str]:
        found = AuditEvent.objects.filter(action__startswith="probe:").order_by("seq")
        return [event.action for event in found if not actions or event.action in actions]


def ready(*hostnames: str) -> Desk:
    """Approved in block mode, live at the edge for an hour, probing on."""
    desk = Desk()
    desk.approve(*hostnames or (HOSTNAME,))
    desk.edge(*hostnames or (HOSTNAME,))
    desk.switch()
    return desk
