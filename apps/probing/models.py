"""Which hostnames are probed, what each probe saw, and who switched probing on."""

from __future__ import annotations

import uuid

from django.db import models

from apps.inventory.models import Account, Zone
from apps.probing.verdict import Agreement, Asked


class ProbeSetting(models.Model):
    """Probing of one account. Without a row it is off. `test_ranges` are CIDR texts that an administrator allowed."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, primary_key=True, related_name="probe_setting")
    enabled = models.BooleanField(default=False)
    test_ranges = models.JSONField(default=list)
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.account}: {'on' if self.enabled else 'off'}"


class ProbeTarget(models.Model):
    """One hostname that is or was probed. Its id is the outbox's subject.

    `expected` is what the edge read said of it ({"cas": [Cloudflare ids], "rule": block, log or none}), unchanged
    since `expected_since`; `compared_at` is the newest edge change it was compared with. `finding` is the code of the
    last probe that could tell; one that could not leaves it alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    zone = models.ForeignKey(Zone, on_delete=models.CASCADE, related_name="probe_targets")
    hostname = models.CharField(max_length=253)
    expected = models.JSONField(default=dict)
    expected_since = models.DateTimeField(null=True, blank=True)
    compared_at = models.DateTimeField(null=True, blank=True)
    finding = models.CharField(max_length=32, blank=True)
    contradicts = models.BooleanField(default=False)
    sentence = models.TextField(blank=True)
    found_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["zone", "hostname"], name="probing_target_once"),)

    def __str__(self) -> str:
        return self.hostname


class Probe(models.Model):
    """What one probe saw, and how that fitted the edge read of that moment. Times out of the history, see services."""

    target = models.ForeignKey(ProbeTarget, on_delete=models.CASCADE, related_name="probes")
    at = models.DateTimeField()
    address = models.CharField(max_length=64, blank=True)
    tls_version = models.CharField(max_length=16, blank=True)
    asked = models.CharField(max_length=8, choices=[(a.value, a.value) for a in Asked])
    names = models.JSONField(default=list)
    name_count = models.PositiveIntegerField(default=0)
    certificate_problem = models.TextField(blank=True)
    turned_away = models.BooleanField(default=False)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    status_line = models.CharField(max_length=200, blank=True)
    ray = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    error_code = models.CharField(max_length=32, blank=True)
    took_ms = models.PositiveIntegerField(default=0)
    expected = models.JSONField(default=dict)
    agreement = models.CharField(max_length=16, choices=[(a.value, a.value) for a in Agreement])
    code = models.CharField(max_length=32)
    sentence = models.TextField()

    class Meta:
        ordering = ("-at", "-pk")
        indexes = (models.Index(fields=["target", "-at"], name="probing_probe_by_target"), models.Index(fields=["at"]))

    def __str__(self) -> str:
        return f"{self.target} at {self.at:%Y-%m-%d %H:%M:%S}: {self.agreement}"
