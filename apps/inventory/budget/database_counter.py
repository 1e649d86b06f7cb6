"""Pauses of every call, and the window while Redis does not answer: one row per write token, in the database's time."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import DateTimeField, Q
from django.db.models.functions import Now

from apps.inventory.budget.window import Ask, Told, Window
from apps.inventory.models import CallBudget


def budget_row(token_hash: str) -> tuple[CallBudget, datetime]:
    """The row and the database's time now."""
    rows = CallBudget.objects.annotate(now=Now(output_field=DateTimeField()))
    row = rows.filter(pk=token_hash).first()
    if row is None:
        CallBudget.objects.get_or_create(pk=token_hash)
        row = rows.get(pk=token_hash)
    return row, row.now


def take(token_hash: str, ask: Ask) -> float:
    """As `Window.take`."""
    with transaction.atomic():
        row, now = locked_row(token_hash)
        window = _window(row)
        wait_s = window.take(now.timestamp(), ask)
        if wait_s <= 0:
            _keep(row, window)
    return wait_s


def note(token_hash: str, told: Told) -> None:
    """As `Window.note`."""
    with transaction.atomic():
        row, now = locked_row(token_hash)
        window = _window(row)
        window.note(now.timestamp(), told)
        _keep(row, window)


def pause(token_hash: str, seconds: float, reason: str) -> bool:
    """Hold every call of the token, at least that long from now. Returns whether no longer pause held already."""
    CallBudget.objects.get_or_create(pk=token_hash)
    ends_at = Now() + timedelta(seconds=seconds)
    rows = CallBudget.objects.filter(Q(paused_until=None) | Q(paused_until__lt=ends_at), pk=token_hash)
    return rows.update(paused_until=ends_at, pause_reason=reason) == 1


def publish_limit(token_hash: str, limit: int) -> None:
    """Keep what Cloudflare's policy header says: calls per `WINDOW_S`."""
    CallBudget.objects.filter(pk=token_hash).update(published_limit=limit)


def locked_row(token_hash: str) -> tuple[CallBudget, datetime]:
    """As `budget_row`, locked until the transaction ends."""
    budget_row(token_hash)
    rows = CallBudget.objects.select_for_update().annotate(now=Now(output_field=DateTimeField()))
    row = rows.get(pk=token_hash)
    return row, row.now


def _window(row: CallBudget) -> Window:
    kept = dict(row.counts)
    counts = {int(slot): count for slot, count in kept.pop("slots", {}).items()}
    return Window(counts, **kept)


def _keep(row: CallBudget, window: Window) -> None:
    kept = asdict(window)
    slots = {str(slot): count for slot, count in kept.pop("counts").items()}
    row.counts = {"slots": slots, **kept}
    row.save(update_fields=["counts"])
