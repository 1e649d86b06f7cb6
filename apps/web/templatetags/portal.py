"""Small pieces of markup that every page shares: icons, badges, times, hostnames."""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from apps.web.words import ACTS, ANSWERS, GUARDS, TABLES

register = template.Library()


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """One mark of the sprite, hidden from screen readers: the word beside it says the same."""
    return format_html('<svg class="i {}" aria-hidden="true" focusable="false"><use href="#i-{}"/></svg>', extra, name)


@register.simple_tag
def badge(table: str, word: str, plain: bool = False) -> SafeString:
    """Shape, word and colour of a state. `plain` leaves the pill out, for table cells."""
    if table == "association" and word == "none":
        return mark_safe('<span class="none" aria-hidden="true">–</span><span class="vh">Not associated</span>')
    shown, mark, tone = TABLES[table].get(word, (word, "info", "neu"))
    spin = "spin" if mark == "pushing" else ""
    classes = f"st {tone}{' plain' if plain else ''}"
    return format_html('<span class="{}">{}{}</span>', classes, icon(mark, spin), shown)


@register.filter
def tone_of(word: str) -> str:
    """The tone of an answer, for the large mark of the hostname page."""
    return ANSWERS.get(word, ("", "", "neu"))[2]


@register.filter
def icon_of(word: str) -> str:
    return ANSWERS.get(word, ("", "info", ""))[1]


@register.filter
def word_of(word: str) -> str:
    return ANSWERS.get(word, (word, "", ""))[0]


@register.filter
def breakdots(hostname: str) -> SafeString:
    """A hostname that may break before each dot."""
    return format_html_join(mark_safe("<wbr>."), "{}", ((part,) for part in str(hostname).split(".")))


@register.filter
def ago(at: datetime | None) -> SafeString:
    """How long ago, with the exact UTC time on hover."""
    if at is None:
        return mark_safe('<span class="muted">never</span>')
    seconds = max((timezone.now() - at).total_seconds(), 0)
    return _time(at, _relative(seconds))


def _relative(seconds: float) -> str:
    if seconds < 10:
        return "just now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def _time(at: datetime, text: str) -> SafeString:
    return format_html(
        '<time class="nowrap" datetime="{}" title="{}">{}</time>',
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S UTC"), text,
    )  # fmt: skip


@register.filter
def utc(at: datetime | None) -> SafeString:
    """The time in UTC, to the second."""
    return _time(at, at.strftime("%Y-%m-%d %H:%M:%S UTC")) if at else mark_safe("")


@register.filter
def day(at: datetime | None) -> SafeString:
    return _time(at, f"{at.day} {at:%b %Y}") if at else mark_safe("")


@register.filter
def time_left(until: datetime | None) -> str:
    """Days under 90, else months and years."""
    if until is None:
        return ""
    days = (until - timezone.now()).days
    if days < 0:
        return "expired"
    if days < 90:
        return f"{days} days left" if days != 1 else "1 day left"
    years, months = divmod(days // 30, 12)
    return f"{years} y {months} mo left" if years and months else f"{years} y left" if years else f"{months} mo left"


@register.filter
def expires_in(until: datetime) -> str:
    """`expires in 28 days`, `expires today`, `expired 3 days ago`."""
    left = until - timezone.now()
    if left.total_seconds() <= 0:
        return "expired today" if left.days == -1 else f"expired {plural(-left.days - 1, 'day')} ago"
    return f"expires in {plural(left.days, 'day')}" if left.days else "expires today"


@register.filter
def expires_soon(until: datetime | None) -> bool:
    return until is not None and (until - timezone.now()).days < 90


@register.filter
def fingerprint(value: str) -> SafeString:
    """A SHA-256 in 16 groups of four."""
    groups = [value[i : i + 4].upper() for i in range(0, len(value), 4)]
    return format_html_join("", "<span>{}</span>", ((group,) for group in groups))


@register.filter
def spaced_name(name: str) -> str:
    """An RFC 4514 name with a blank after each comma that parts it, so that it can be read and may break there."""
    return re.sub(r"(?<!\\)((?:\\\\)*),", r"\1, ", name)


@register.filter
def shell_quote(text: str) -> str:
    return shlex.quote(text)


@register.filter
def get(mapping: Any, key: str) -> Any:
    return mapping.get(key, "") if hasattr(mapping, "get") else ""


@register.filter
def plural(count: int, word: str) -> str:
    """`3 hostnames`, `1 hostname`."""
    return f"{count:,} {conditional_escape(word)}{'' if count == 1 else 's'}"


@register.filter
def guard_name(guard: str) -> str:
    """A guard that an override may let pass, in words."""
    return GUARDS.get(guard, guard)


@register.filter
def act(action: str) -> str:
    """An audit action as the middle of a sentence that begins with its actor."""
    return ACTS.get(action, action.replace(":", " ").replace("_", " "))
