"""Plans the portal applied or refused to apply, their steps, and the drift it has named."""

from __future__ import annotations

import uuid

from django.db import models

from apps.authorities.models import CertificateAuthority
from apps.inventory.models import Zone


class Plan(models.Model):
    """One change of one zone, stored with its audit event before the first write. Shown as change <number>.

    OPEN until its outcome is known. VERIFYING: everything was sent, the read-back lags. REFUSED: a guard said no,
    nothing was sent. SUPERSEDED: the edge moved, or the run was cut off; a later plan goes on from what is read.
    """

    class State(models.TextChoices):
        APPLYING = "applying"
        VERIFYING = "verifying"
        APPLIED = "applied"
        REFUSED = "refused"
        SUPERSEDED = "superseded"
        DIVERGED = "diverged"
        FAILED = "failed"

    OPEN = ("applying", "verifying")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.PositiveBigIntegerField(unique=True)
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="plans")
    state = models.CharField(max_length=12, choices=State.choices)
    digest = models.CharField(max_length=64)
    base = models.CharField(max_length=64)
    document = models.JSONField()
    request_ids = models.JSONField(default=list)
    refusals = models.JSONField(default=list)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    verify_until = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-number",)

    def __str__(self) -> str:
        return f"Change {self.number}"


class PlanStep(models.Model):
    """One call of a plan. UNKNOWN: the answer was lost; a read decides, never a repeat."""

    class State(models.TextChoices):
        NOT_STARTED = "not_started"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        UNKNOWN = "unknown"

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=32)
    summary = models.TextField()
    document = models.JSONField()
    state = models.CharField(max_length=12, choices=State.choices, default=State.NOT_STARTED)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    ray = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ("position",)
        constraints = (models.UniqueConstraint(fields=["plan", "position"], name="reconcile_step_position_once"),)

    def __str__(self) -> str:
        return f"{self.plan} step {self.position}: {self.summary}"


class Drift(models.Model):
    """One difference between approved and edge, from when it was first read until a read no longer shows it."""

    class Kind(models.TextChoices):
        MISSING = "missing"
        UNEXPECTED = "unexpected"
        ALTERED = "altered"

    zone = models.ForeignKey(Zone, on_delete=models.CASCADE, related_name="drift")
    ca = models.ForeignKey(CertificateAuthority, on_delete=models.SET_NULL, null=True, blank=True)
    ca_cloudflare_id = models.CharField(max_length=36, blank=True)
    hostname = models.CharField(max_length=253)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    detail = models.TextField(blank=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        ordering = ("-first_seen_at",)

    def __str__(self) -> str:
        return f"{self.hostname}: {self.kind}"
