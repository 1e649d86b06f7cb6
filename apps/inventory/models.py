"""Cloudflare accounts and zones the portal may touch, and what the account says it holds."""

from __future__ import annotations

import uuid

from django.db import models


class Account(models.Model):
    """One Cloudflare account with its API token, encrypted and bound to this row (`credentials.py`)."""

    class Mode(models.TextChoices):
        READ_ONLY = "read_only"
        READ_WRITE = "read_write"

    class TokenState(models.TextChoices):
        UNKNOWN = "unknown"
        WORKING = "working"
        BROKEN = "broken"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    cloudflare_id = models.CharField(max_length=36, unique=True)
    base_url = models.URLField(blank=True, help_text="Empty: CLOUDFLARE_API_BASE_URL")
    token_encrypted = models.TextField(blank=True)
    token_state = models.CharField(max_length=16, choices=TokenState.choices, default=TokenState.UNKNOWN)
    mode = models.CharField(max_length=16, choices=Mode.choices, default=Mode.READ_ONLY)
    slot_limit = models.PositiveSmallIntegerField(default=5)
    quiet_hours = models.PositiveSmallIntegerField(default=24, help_text="In log, before block without an override")
    read_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Zone(models.Model):
    """One zone of an account, as last listed. `vanished_at` is set when a complete listing lacks it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="zones")
    cloudflare_id = models.CharField(max_length=36, unique=True)
    name = models.CharField(max_length=253)
    status = models.CharField(max_length=20, default="active")
    paused = models.BooleanField(default=False)
    vanished_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class EdgeCertificate(models.Model):
    """One row of the account's certificate list, as last read: ours, somebody else's, or no CA at all."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="edge_certificates")
    cloudflare_id = models.CharField(max_length=36)
    name = models.CharField(max_length=255, blank=True)
    kind = models.CharField(max_length=32, default="custom")
    is_ca = models.BooleanField(default=True)
    fingerprint = models.CharField(max_length=64, blank=True)
    pem = models.TextField(blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    uploaded_at = models.DateTimeField(null=True, blank=True)
    first_seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("uploaded_at",)
        constraints = (models.UniqueConstraint(fields=["account", "cloudflare_id"], name="inventory_edge_cert_once"),)

    def __str__(self) -> str:
        return self.name or self.cloudflare_id

    @property
    def takes_slot(self) -> bool:
        """Cloudflare counts custom CAs against the account's quota (docs/cloudflare.md, "Slots")."""
        return self.is_ca and self.kind == "custom"


class EdgeList(models.Model):
    """The hostnames of one (zone, CA) pair as last read from the edge.

    `foreign_revision` rises when a read shows a list that neither the last read nor a write of ours explains:
    somebody else changed it. Plans remember the number they were built on.
    """

    zone = models.ForeignKey(Zone, on_delete=models.CASCADE, related_name="edge_lists")
    ca_cloudflare_id = models.CharField(max_length=36)
    hostnames = models.JSONField(default=list)
    foreign_revision = models.PositiveIntegerField(default=0)
    read_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["zone", "ca_cloudflare_id"], name="inventory_edge_list_once"),)

    def __str__(self) -> str:
        return f"{self.zone} / {self.ca_cloudflare_id}: {len(self.hostnames)}"


class EdgeRules(models.Model):
    """The custom rules of one zone as last read, in order. Other people's rules are kept to show what runs ahead."""

    zone = models.OneToOneField(Zone, on_delete=models.CASCADE, related_name="edge_rules")
    ruleset_id = models.CharField(max_length=36, blank=True)
    version = models.CharField(max_length=20, blank=True)
    rules = models.JSONField(default=list)
    foreign_revision = models.PositiveIntegerField(default=0)
    read_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.zone}: {len(self.rules)} rules"
