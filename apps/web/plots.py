"""Geometry of the small plots, as attributes: a strict CSP leaves no room for inline styles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from apps.authorities.selectors import SlotLedger

LEFT, RIGHT = 2.0, 98.0
WARN_DAYS = 90
LABEL_LENGTH, LABEL_WIDTH = 24, 18.0  # characters, and the percent of the width that so many take


@dataclass(frozen=True)
class Mark:
    """One CA on the expiry line. `x` in percent of the width; no `label` where it would run into the one before."""

    x: str
    label: str
    at: datetime
    anchor: str
    soon: bool


@dataclass(frozen=True)
class ExpiryLine:
    marks: tuple[Mark, ...]
    years: tuple[tuple[str, int], ...]
    warn_width: str
    sentence: str


@dataclass(frozen=True)
class ValidityBar:
    """Widths in percent: elapsed, good, and the last ninety days."""

    past: str
    ok: str
    warn_x: str
    warn: str
    sentence: str


def expiry_line(slots: SlotLedger) -> ExpiryLine | None:
    """When each CA of the account ends, on one line that begins today."""
    now = timezone.now()
    ends = sorted((h.expires_at, h.label) for h in slots.holders if h.expires_at)
    if not ends:
        return None
    span = max((ends[-1][0] - now).total_seconds(), 86400 * 365) * 1.08

    def x(at: datetime) -> float:
        share = (at - now).total_seconds() / span
        return LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0)

    labels = _labels([(x(at), label) for at, label in ends])
    marks = tuple(
        Mark(f"{x(at):.2f}%", label, at, _anchor(x(at)), at - now < timedelta(days=WARN_DAYS))
        for (at, _), label in zip(ends, labels, strict=True)
    )
    step = max(1, (ends[-1][0].year - now.year) // 6)
    starts = [
        (x(datetime(year, 1, 1, tzinfo=now.tzinfo)), year) for year in range(now.year + 1, ends[-1][0].year + 1, step)
    ]
    years = [(at, year) for at, year in starts if at > LEFT + 6]  # room for the word Today
    sentence = "; ".join(f"{label} ends {at.day} {at:%B %Y}" for at, label in ends)
    width = (RIGHT - LEFT) * timedelta(days=WARN_DAYS).total_seconds() / span
    return ExpiryLine(
        marks, tuple((f"{at:.2f}%", year) for at, year in years), f"{width:.2f}%", f"CA expiry: {sentence}."
    )


def _labels(places: list[tuple[float, str]]) -> list[str]:
    """One label per place, empty where it would overlap: the one before it then says how many it stands for."""
    groups: list[list[str]] = []
    shown: list[str] = []
    reach = -LABEL_WIDTH
    for x, label in places:
        left = x - {"start": 0.0, "middle": LABEL_WIDTH / 2, "end": LABEL_WIDTH}[_anchor(x)]
        if left < reach:
            groups[-1].append(label)
        else:
            groups.append([label])
            reach = left + LABEL_WIDTH
    for first, *others in groups:
        more = f" and {len(others)} more" if others else ""
        shown += [_short(first, LABEL_LENGTH - len(more)) + more, *("" for _ in others)]
    return shown


def _short(label: str, length: int) -> str:
    return label if len(label) <= length else f"{label[: length - 1].rstrip()}…"


def _anchor(x: float) -> str:
    return "start" if x < 12 else "end" if x > 88 else "middle"


def validity_bar(not_before: datetime, not_after: datetime) -> ValidityBar:
    """How much of a certificate's life is over."""
    now = timezone.now()
    whole = max((not_after - not_before).total_seconds(), 1.0)
    past = min(max((now - not_before).total_seconds() / whole, 0.0), 1.0) * 100
    warn = min(WARN_DAYS * 86400 / whole, 1.0) * 100
    warn = min(warn, 100 - past)
    sentence = f"Valid from {not_before.day} {not_before:%B %Y} to {not_after.day} {not_after:%B %Y}, {past:.0f} percent elapsed"  # noqa: E501
    return ValidityBar(f"{past:.2f}%", f"{100 - past - warn:.2f}%", f"{100 - warn:.2f}%", f"{warn:.2f}%", sentence)
