"""One account whose edge is a stand-in over a line that loses, delays and spoils answers, and an engineer's desk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca
from apps.identity.permissions import Role
from apps.inventory.models import Account
from apps.inventory.services import add_account
from apps.outbox.services import mark_due
from apps.reconcile.accounts import run_account
from tests.certs import make_ca as make_certificate
from tests.edge_proxy import EdgeProxy, Spoil
from tests.factories import SETUP, actor
from tests.sandbox_server import SandboxProcess

CERTIFICATES = "/mtls_certificates"


class Desk:
    """One account whose edge is the stand-in behind a proxy, and an engineer."""

    def __init__(self, edge: SandboxProcess, proxy: EdgeProxy) -> None:
        self.edge, self.proxy = edge, proxy
        self.account = add_account(
            by=SETUP, name="Production", cloudflare_id=edge.account_id, token=edge.token, mode="read_write"
        )
        # The token is known to do: the calls that try it are not what these tests count and spoil.
        Account.objects.filter(pk=self.account.pk).update(
            base_url=proxy.base_url, call_limit=1_000_000, scope_checked_at=timezone.now()
        )
        self.engineer = actor(Role.ENGINEER)

    def admit(self, name: str = "Partners", **more: Any) -> CertificateAuthority:
        pem = make_certificate(name).pem
        return admit_ca(by=self.engineer, account=self.account, name=name, data=pem, **more)

    def run(self, *, well: bool = True) -> None:
        """`well`: the run is to end without an error of the account, so that a test sees what it means to see."""
        mark_due(kind="account", subject_id=self.account.pk)
        run_account(self.account.pk)
        assert (Account.objects.get().last_error == "") is well, Account.objects.get().last_error

    def run_later(self, ca: CertificateAuthority, seconds: float = 100) -> None:
        """Another run, as if the last write of this CA had left so long ago."""
        sent_at = timezone.now() - timedelta(seconds=seconds)
        CertificateAuthority.objects.filter(pk=ca.pk).exclude(write_sent_at=None).update(write_sent_at=sent_at)
        self.run()

    def arrived(self, **more: Any) -> CertificateAuthority:
        ca = self.admit(**more)
        self.run()
        assert state(ca) == "live"
        return ca

    def uploads(self) -> list[dict[str, Any]]:
        """POSTs that reached the stand-in."""
        return [r for r in self.edge.requests() if r["method"] == "POST" and CERTIFICATES in r["path"]]

    def at_edge(self, ca: CertificateAuthority) -> list[dict[str, Any]]:
        return [row for row in self.edge.state()["certificates"] if row.get("name") == ca.name]


def state(ca: CertificateAuthority) -> str:
    ca.refresh_from_db()
    return ca.state


def actions(ca: CertificateAuthority) -> list[str]:
    events = AuditEvent.objects.filter(subject_id=str(ca.pk)).order_by("seq")
    return [event.action for event in events]


def listing(change_rows: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Spoil:
    """A change of the account's list that leaves answers about one certificate alone."""

    def change(document: dict[str, Any]) -> dict[str, Any]:
        if isinstance(document["result"], list):
            rows = change_rows(document["result"])
            counts = {"count": len(rows), "total_count": len(rows)}
            document |= {"result": rows, "result_info": {**document["result_info"], **counts}}
        return document

    return change


def without(name: str) -> Spoil:
    """A listing that lacks the rows of this name."""
    return listing(lambda rows: [row for row in rows if row.get("name") != name])
