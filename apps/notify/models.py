"""Who is told what, and whether it reached them; where webhooks go; how far the audit log was read."""

from __future__ import annotations

import uuid

from django.db import models


class ReadMark(models.Model):
    """One row: the last audit event that was turned into notices."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    seq = models.BigIntegerField(default=0)


class Webhook(models.Model):
    """One receiver of webhooks; its id is the outbox's subject. `sealed` holds URL and secret, encrypted and bound to
    this row; `origin` (scheme, host, port) is all that is ever shown. A removed one keeps its row for its notices."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80)
    origin = models.CharField(max_length=300)
    sealed = models.TextField(blank=True)
    created_by_label = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Notice(models.Model):
    """One audit event for one recipient. `recipient` is a mail address or a webhook's id, `label` its name for people.

    `attempts` counts from before the attempt, so that one that kills its worker counts too. `because` says to a mail's
    reader why they get it.
    """

    class Channel(models.TextChoices):
        MAIL = "mail"
        WEBHOOK = "webhook"

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        NOT_DELIVERED = "not_delivered"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    event_seq = models.BigIntegerField()
    action = models.CharField(max_length=64)
    headline = models.CharField(max_length=300)
    channel = models.CharField(max_length=8, choices=Channel.choices)
    recipient = models.CharField(max_length=320)
    label = models.CharField(max_length=200)
    because = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-event_seq", "channel", "recipient")
        constraints = (
            models.UniqueConstraint(fields=["event_seq", "channel", "recipient"], name="notify_notice_once"),
        )
        indexes = (
            models.Index(fields=["state", "channel", "due_at"], name="notify_notice_due"),
            models.Index(fields=["created_at"], name="notify_notice_created"),
        )

    def __str__(self) -> str:
        return f"{self.headline} to {self.label}"
