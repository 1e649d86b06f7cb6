"""CA certificates: admitted, uploaded, retired. A record stays readable for ever."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from apps.authorities.states import HOLDING, CaState
from apps.identity.models import Person, Team
from apps.inventory.models import Account


class CertificateAuthority(models.Model):
    """One CA in one account. Its identity is the SHA-256 of its DER, never its name or serial.

    `client_issuers` says who signs its clients directly: `self` is the CA itself; empty is not known, and then no
    rule is pinned to it. `pem` is the canonical re-encoding; the bytes that were uploaded travel no further.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="cas")
    name = models.CharField(max_length=120)
    fingerprint = models.CharField(max_length=64)
    pem = models.TextField()
    facts = models.JSONField()
    findings = models.JSONField(default=list)
    ski = models.CharField(max_length=128, blank=True)
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    client_issuers = models.CharField(max_length=16, blank=True, choices=[("self", "self"), ("", "not known")])
    owner_team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True)
    reason = models.TextField(blank=True)
    state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in CaState], default=CaState.QUEUED)
    state_reason = models.TextField(blank=True)
    cloudflare_id = models.CharField(max_length=36, blank=True)
    uploaded_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="uploaded_cas")
    uploaded_by_label = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    live_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    delete_reason = models.TextField(blank=True)

    class Meta:
        ordering = ("created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["account", "fingerprint"], condition=Q(state__in=HOLDING), name="ca_once_per_account"
            ),
            models.UniqueConstraint(
                fields=["account", "name"], condition=Q(state__in=HOLDING), name="ca_name_once_per_account"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def issuer_skis(self) -> frozenset[str] | None:
        """SKIs a client certificate's direct issuer may have, upper-case hex; None when not known."""
        return frozenset({self.ski}) if self.client_issuers == "self" and self.ski else None
