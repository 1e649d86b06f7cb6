"""CA certificates: admitted, uploaded, retired. A record stays readable for ever."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q

from apps.authorities.states import HOLDING, CaState
from apps.identity.models import Person, Team
from apps.inventory.models import Account, Zone


class CertificateAuthority(models.Model):
    """One CA in one account. Its identity is the SHA-256 of its DER, never its name or serial.

    `client_issuers` is what the upload said of who signs its clients: `self` is the CA itself, empty that it was not
    known. What rules are pinned to are `issuers`; without one they are not pinned. `pem` is the canonical
    re-encoding; the bytes that were uploaded travel no further.
    `replaces` is the CA that this one takes over from; `clients_confirmed_at` is when a person said that the clients
    of that one present certificates of this one. `adopted`: the edge held it before the portal knew of it, and
    `uploaded_by` adopted it.
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
    issuers = models.JSONField(default=list, help_text="Known direct issuers of its clients; see issuers.py")
    client_issuers = models.CharField(max_length=16, blank=True, choices=[("self", "self"), ("", "not known")])
    owner_team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True)
    reason = models.TextField(blank=True)
    adopted = models.BooleanField(default=False)
    state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in CaState], default=CaState.QUEUED)
    state_reason = models.TextField(blank=True)
    # The last POST or DELETE whose effect no read has shown yet, and how many left in this state: an answer may be
    # lost, so nothing is sent a second time before a read had the time to show the first (INV-22, INV-23).
    write_sent_at = models.DateTimeField(null=True, blank=True)
    write_attempts = models.PositiveSmallIntegerField(default=0)
    # Zones whose list of it was read empty for the deletion under way, which need not be read for it again.
    empty_in = models.ManyToManyField(Zone, related_name="+")
    cloudflare_id = models.CharField(max_length=36, blank=True)
    uploaded_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="uploaded_cas")
    uploaded_by_label = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    live_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    delete_reason = models.TextField(blank=True)
    replaces = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="replacements")
    clients_confirmed_at = models.DateTimeField(null=True, blank=True)
    clients_confirmed_by_label = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["account", "fingerprint"], condition=Q(state__in=HOLDING), name="ca_once_per_account"
            ),
            models.UniqueConstraint(
                fields=["account", "name"], condition=Q(state__in=HOLDING), name="ca_name_once_per_account"
            ),
            models.UniqueConstraint(
                fields=["replaces"], condition=Q(state__in=HOLDING), name="ca_replaced_by_one_at_a_time"
            ),
            models.CheckConstraint(condition=~Q(replaces=F("id")), name="ca_never_replaces_itself"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def issuer_skis(self) -> frozenset[str] | None:
        """SKIs a client certificate's direct issuer may have, upper-case hex; None when not known."""
        return frozenset(str(issuer["ski"]) for issuer in self.issuers) or None

    @property
    def replaced_by(self) -> CertificateAuthority | None:
        """The CA that takes over from this one, if one is here and not deleted."""
        return self.replacements.filter(state__in=HOLDING).first()


class ExpiryNotice(models.Model):
    """One CA came within `threshold_days` of its end: one row per threshold, however many workers look."""

    ca = models.ForeignKey(CertificateAuthority, on_delete=models.CASCADE, related_name="expiry_notices")
    threshold_days = models.PositiveSmallIntegerField()
    noticed_at = models.DateTimeField()

    class Meta:
        ordering = ("threshold_days",)
        constraints = (models.UniqueConstraint(fields=["ca", "threshold_days"], name="ca_expiry_noticed_once"),)

    def __str__(self) -> str:
        return f"{self.ca}: {self.threshold_days} days"
