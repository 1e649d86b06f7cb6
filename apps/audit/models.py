"""The audit log: who did what, when, why, with the state before and after. Append-only and hash-chained.

Events name their subjects in text, without foreign keys, so that the log outlives what it speaks of.
Updating, deleting and truncating are refused by triggers in the database (`triggers.py`), for the owner too.
"""

from __future__ import annotations

from django.db import models


class AuditHead(models.Model):
    """One row: the last sequence number and hash. Locking it makes writers queue, so the chain cannot fork."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="")


class AuditEvent(models.Model):
    """One act. `action` is `subject:past_tense`, for example `request:approved`."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16)
    actor_id = models.CharField(max_length=64)
    actor_label = models.CharField(max_length=200)
    via = models.CharField(max_length=16)
    action = models.CharField(max_length=64)
    subject_type = models.CharField(max_length=32)
    subject_id = models.CharField(max_length=64)
    subject_label = models.CharField(max_length=300)
    account = models.CharField(max_length=64, blank=True)
    zone = models.CharField(max_length=255, blank=True)
    hostnames = models.JSONField(default=list)
    reason = models.TextField(blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    details = models.JSONField(default=dict)
    correlation_id = models.CharField(max_length=64, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    prev_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ("-seq",)
        indexes = (
            models.Index(fields=["action"]),
            models.Index(fields=["subject_type", "subject_id"]),
            models.Index(fields=["correlation_id"]),
            models.Index(fields=["at"]),
        )

    def __str__(self) -> str:
        return f"{self.seq} {self.action} {self.subject_label}"
