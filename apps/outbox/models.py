"""What is due for reconciling, probing or telling. The row is the job; a Celery message only rings the bell."""

from __future__ import annotations

from django.db import models


class OutboxEntry(models.Model):
    """One account, zone, probed hostname or receiver of notices.

    It is due, leased to a worker, or parked with a reason; never done.

    `wanted` counts how often somebody asked; a worker remembers the number it saw, so that what is asked during
    its run makes the entry due again. `generation` rises with each lease and fences off a worker that lost its own.
    """

    KINDS = (("account", "account"), ("zone", "zone"), ("probe", "probe"), ("receiver", "receiver"))

    kind = models.CharField(max_length=16, choices=KINDS)
    subject_id = models.UUIDField()
    wanted = models.PositiveBigIntegerField(default=0)
    urgent = models.BooleanField(default=False)
    due_at = models.DateTimeField(db_index=True)
    leased_by = models.CharField(max_length=120, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True)
    generation = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    parked_at = models.DateTimeField(null=True, blank=True)
    parked_reason = models.TextField(blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["kind", "subject_id"], name="outbox_one_entry_per_subject"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}"


class Heartbeat(models.Model):
    """When a part was last known to work. `tick`: beat rang, a worker heard it, and the database took it."""

    part = models.CharField(max_length=32, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.part} at {self.at:%H:%M:%S}"
