"""Plans the portal applied or refused to apply, their steps, and the drift it has named."""

from __future__ import annotations

import uuid

from django.db import models

from apps.authorities.models import CertificateAuthority
from apps.inventory.models import Zone


class Plan(models.Model):
    """One change of one zone, stored with its audit event before the first write. Shown as change <number>.

    OPEN until its outcome is known. VERIFYING: a read-back lags, and nothing is sent until it shows what was. APPLIED:
    every call was made, and a read shows it all. REFUSED: a guard said no, nothing was sent. SUPERSEDED: the edge moved
    or lagged, or the run was cut off; a later plan goes on from what is read. DIVERGED: a read shows something else;
    where that is a list, a later plan goes on from it.
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
    healing = models.BooleanField(default=False, help_text="Puts back what was missing, without a request")
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


class DriftIgnore(models.Model):
    """Somebody set one difference aside. It is shown again after `until`, or once `ended_at` is set."""

    drift = models.ForeignKey(Drift, on_delete=models.CASCADE, related_name="ignores")
    reason = models.TextField()
    ignored_by_label = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "-pk")

    def __str__(self) -> str:
        return f"{self.drift} until {self.until:%Y-%m-%d}"


class Watch(models.Model):
    """Since when a zone is read. What it held before is unknown, and stays so."""

    zone = models.OneToOneField(Zone, on_delete=models.CASCADE, related_name="watch")
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.zone} since {self.since:%Y-%m-%d}"


class EdgeSpan(models.Model):
    """One hostname seen in one CA's list, from the read that first showed it to the first that did not."""

    zone = models.ForeignKey(Zone, on_delete=models.CASCADE, related_name="edge_spans")
    ca_cloudflare_id = models.CharField(max_length=36)
    ca_label = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, blank=True)
    hostname = models.CharField(max_length=253, db_index=True)
    from_at = models.DateTimeField()
    until_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("from_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["zone", "ca_cloudflare_id", "hostname"],
                condition=models.Q(until_at=None),
                name="reconcile_edge_span_open_once",
            ),
        )

    def __str__(self) -> str:
        return f"{self.hostname} under {self.ca_label}"


class RuleSpan(models.Model):
    """What the enabled rules of ours did to one hostname, from read to read."""

    zone = models.ForeignKey(Zone, on_delete=models.CASCADE, related_name="rule_spans")
    hostname = models.CharField(max_length=253, db_index=True)
    action = models.CharField(max_length=8)
    pinned = models.BooleanField(default=False)
    from_at = models.DateTimeField()
    until_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("from_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["zone", "hostname"], condition=models.Q(until_at=None), name="reconcile_rule_span_open_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.hostname}: {self.action}"


class LockOut(models.Model):
    """One hostname whose every client is refused, from the read that showed it until one that does not."""

    zone = models.ForeignKey(Zone, on_delete=models.CASCADE, related_name="lock_outs")
    hostname = models.CharField(max_length=253)
    detail = models.TextField(blank=True)
    first_seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        ordering = ("first_seen_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["zone", "hostname"], condition=models.Q(ended_at=None), name="reconcile_lock_out_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.hostname} is locked out"
