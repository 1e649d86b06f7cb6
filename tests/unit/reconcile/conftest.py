"""A real stand-in process as the edge; the runs are called in this process, so that each branch is seen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca
from apps.authorities.states import CaState
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.identity.permissions import Role
from apps.inventory.models import Account, Zone
from apps.inventory.services import add_account
from apps.outbox.models import OutboxEntry
from apps.outbox.selectors import entries_due
from apps.outbox.services import mark_due
from apps.reconcile.accounts import run_account
from apps.reconcile.services import submit_request
from apps.reconcile.zones import run_zone
from tests.certs import make_ca
from tests.factories import SETUP, actor, make_team
from tests.sandbox_server import SandboxProcess


@pytest.fixture(scope="session")
def _edge_process() -> Iterator[SandboxProcess]:
    with SandboxProcess() as edge:
        edge.switch(rate_limit_on=False, rate_limit=1_000_000, quota=1000)
        yield edge


class World:
    """One account of the stand-in, read once, with a live CA, an owner and an engineer."""

    def __init__(self, edge: SandboxProcess, name: str = "Northwind") -> None:
        self.edge = edge
        self.seeded = {row["id"] for row in edge.state()["certificates"]}
        self.began_after = edge.last_seq()
        self.engineer, self.other_engineer = actor(Role.ENGINEER), actor(Role.ENGINEER)
        self.owner = actor(Role.OWNER, teams=(make_team("Payments"),))
        self.account: Account = add_account(
            by=SETUP, name=name, cloudflare_id=edge.account_id, token=edge.token, mode="read_write"
        )
        Account.objects.filter(pk=self.account.pk).update(base_url=edge.base_url, slot_limit=1000, call_limit=1_000_000)
        self.account.refresh_from_db()
        self.run()

    def upload(self, name: str) -> CertificateAuthority:
        """A fresh CA, live at the edge."""
        made = make_ca(name)
        ca = admit_ca(by=self.engineer, account=self.account, name=name, data=made.pem, client_issuers="self")
        self.run()
        ca.refresh_from_db()
        assert ca.state == CaState.LIVE
        return ca

    def zone(self, name: str = "northwind.example") -> Zone:
        return Zone.objects.get(account=self.account, name=name)

    def ask(
        self, ca: CertificateAuthority, *hostnames: str, kind: str = "cover", mode: str = "block"
    ) -> CoverageRequest:
        return submit_request(
            by=self.owner, kind=kind, ca=ca, mode=mode, hostnames=list(hostnames), reason="Launch",
            override="Tried in staging",
        )  # fmt: skip

    def approve(self, request: CoverageRequest) -> CoverageRequest:
        """Approve the current plan and let the workers run."""
        plan = current_plan(request_by_id(request.pk))
        assert plan is not None
        approve_request(by=self.engineer, request_id=request.pk, digest=plan.digest, confirm=plan.document["confirm"])
        self.run()
        return request_by_id(request.pk)

    def run(self) -> None:
        """What workers do: run whatever is due, until nothing is."""
        for _ in range(20):
            due = list(entries_due())
            if not due:
                return
            for entry in due:
                (run_account if entry.kind == "account" else run_zone)(entry.subject_id)
        raise AssertionError(f"still due after 20 rounds: {list(OutboxEntry.objects.values())}")

    def run_account(self) -> None:
        """The account's next listing comes now, and what follows from it."""
        mark_due(kind="account", subject_id=self.account.pk)
        self.run()

    def sweep(self) -> None:
        """The next sweep comes now."""
        for zone in Zone.objects.filter(account=self.account, vanished_at=None):
            mark_due(kind="zone", subject_id=zone.pk, urgent=False)
        self.run()

    def delete_outside(self, ca: CertificateAuthority) -> None:
        """Somebody deletes a CA that has been live for long, and the portal notices."""
        self.edge.delete_certificate(ca.cloudflare_id)
        CertificateAuthority.objects.filter(pk=ca.pk).update(live_at=timezone.now() - timedelta(days=1))
        self.run_account()
        ca.refresh_from_db()
        assert ca.state == CaState.GONE

    def actions(self, hostname: str, zone: str = "northwind.example") -> str:
        """What our rules at the edge do to the hostname, in order."""
        ours = [rule for rule in self.edge.rules(zone) if rule["ref"].startswith("byoca-")]
        return ",".join(rule["action"] for rule in ours if f'"{hostname}"' in rule["expression"])

    def clear(self) -> None:
        """Take this test's CAs, hostnames and rules off the edge: each sweep of the tests after it reads all lists."""
        self.edge.switch(down=False)
        for row in self.edge.state()["certificates"]:
            if row["id"] not in self.seeded:
                self.edge.delete_certificate(row["id"])
        for name in self.edge.zones:
            for rule in self.edge.rules(name):
                if rule["ref"].startswith("byoca-"):
                    self.edge.delete_rule(name, rule["ref"])


@pytest.fixture
def world(db: None, _edge_process: SandboxProcess) -> Iterator[World]:
    world = World(_edge_process)
    yield world
    world.clear()
