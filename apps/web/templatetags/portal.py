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

register = template.Library()

# word -> (shown word, icon, tone)
ANSWERS = {
    "locked_out": ("Locked out", "lock", "bad"),
    "not_protected": ("Not protected", "failed", "bad"),
    "changing": ("Changing", "pushing", "info"),
    "drift": ("Drift", "missing", "warn"),
    "not_enforced": ("Not enforced", "shieldoff", "warn"),
    "protected": ("Protected", "shield", "ok"),
    "unknown": ("Unknown", "unknown", "neu"),
}
ASSOCIATIONS = {
    "queued": ("Queued", "queued", "neu"),
    "pushing": ("Pushing", "pushing", "info"),
    "live": ("Live", "ok", "ok"),
    "failed": ("Failed", "failed", "bad"),
    "missing": ("Missing", "missing", "warn"),
    "unexpected": ("Unexpected", "extra", "warn"),
    "removing": ("Removing", "pushing", "info"),
}
RULES = {
    "enforced": ("Enforced", "shield", "ok"),
    "logging": ("Logging", "info", "info"),
    "paused": ("Paused", "shieldoff", "warn"),
    "no_rule": ("No rule", "shieldoff", "warn"),
    "queued": ("Queued", "queued", "neu"),
    "altered": ("Altered", "missing", "warn"),
}
REQUESTS = {
    "planning": ("Planning", "queued", "neu"),
    "waiting": ("Waiting for 1 approval", "clock", "info"),
    "stale": ("Plan out of date", "warn", "warn"),
    "approved": ("Approved", "tick", "info"),
    "applying": ("Applying", "pushing", "info"),
    "done": ("Done", "ok", "ok"),
    "partly_done": ("Partly done", "warn", "warn"),
    "failed": ("Failed", "failed", "bad"),
    "rejected": ("Rejected", "x", "neu"),
    "withdrawn": ("Withdrawn", "x", "neu"),
}
CAS = {
    "queued": ("Queued", "queued", "neu"),
    "pushing": ("Pushing", "pushing", "info"),
    "live": ("Live", "ok", "ok"),
    "failed": ("Failed", "failed", "bad"),
    "deleting": ("Deleting", "pushing", "info"),
    "deleted": ("Deleted", "x", "neu"),
    "gone": ("Gone at Cloudflare", "missing", "bad"),
}
CHANGES = {
    "applying": ("Applying", "pushing", "info"),
    "verifying": ("Waiting for the edge", "clock", "info"),
    "applied": ("Applied", "ok", "ok"),
    "refused": ("Refused by a guard", "failed", "bad"),
    "superseded": ("Superseded", "x", "neu"),
    "diverged": ("Diverged", "warn", "bad"),
    "failed": ("Failed", "failed", "bad"),
}
STEPS = {
    "not_started": ("Not started", "queued", "neu"),
    "running": ("Running", "pushing", "info"),
    "done": ("Done", "ok", "ok"),
    "failed": ("Failed", "failed", "bad"),
    "unknown": ("Unknown", "unknown", "warn"),
}
DRIFTS = {
    "missing": ("Missing", "missing", "warn"),
    "unexpected": ("Unexpected", "extra", "warn"),
    "altered": ("Rule changed", "shieldoff", "warn"),
}
REHEARSALS = {
    "accepted": ("Accepted", "ok", "ok"),
    "accepted_not_pinned": ("Accepted, rule not pinned", "warn", "warn"),
    "accepted_not_enforced": ("Accepted, not enforced", "shieldoff", "warn"),
    "refused_issuer_not_pinned": ("Refused: issuer not pinned", "failed", "bad"),
    "refused_no_association": ("Refused: no association", "failed", "bad"),
    "refused_certificate": ("Refused: certificate", "failed", "bad"),
}
PROBES = {
    "agrees": ("Agrees", "ok", "ok"),
    "contradicts": ("Disagrees", "failed", "bad"),
    "cannot_tell": ("Cannot tell", "unknown", "neu"),
}
NOTICES = {
    "waiting": ("Waiting", "clock", "info"),
    "sent": ("Sent", "ok", "ok"),
    "not_delivered": ("Not delivered", "failed", "bad"),
}
TABLES = {
    "answer": ANSWERS,
    "association": ASSOCIATIONS,
    "rule": RULES,
    "request": REQUESTS,
    "ca": CAS,
    "change": CHANGES,
    "step": STEPS,
    "drift": DRIFTS,
    "rehearsal": REHEARSALS,
    "probe": PROBES,
    "notice": NOTICES,
}


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


ACTS = {
    "ca:admitted": "uploaded the CA",
    "ca:adopted": "adopted the CA",
    "ca:push_started": "began sending the CA to Cloudflare",
    "ca:live": "saw the CA live",
    "ca:push_failed": "could not send the CA",
    "ca:retried": "tried the upload again",
    "ca:upload_sent": "sent the CA to Cloudflare",
    "ca:deletion_sent": "sent the deletion to Cloudflare",
    "ca:answer_lost": "got no answer and reads on",
    "ca:write_refused": "was refused by Cloudflare",
    "ca:write_held_back": "was held back by the request limit",
    "ca:replacement_set": "said that it takes over from another CA",
    "ca:overlap_requested": "asked for the new CA on every hostname",
    "ca:clients_confirmed": "confirmed that the clients moved",
    "ca:release_requested": "asked for the hostnames to leave the CA",
    "ca:expiry_reached": "saw the CA come near its end",
    "ca:deletion_requested": "asked for the CA to be deleted",
    "ca:deletion_parked": "stopped the deletion",
    "ca:deleted": "deleted the CA",
    "ca:gone": "found the CA gone at Cloudflare",
    "request:created": "asked for this",
    "request:planned": "built plan",
    "request:approved": "approved",
    "request:rejected": "rejected this",
    "request:withdrawn": "withdrew this",
    "request:outdated": "put the plan out of date",
    "request:apply_started": "began to apply it",
    "request:completed": "saw it at the edge: done",
    "request:failed": "could not finish it",
    "request:retried": "tried it again",
    "request:waits_for_override": "holds it until somebody lets a guard pass",
    "request:undo_asked": "asked for this change to be undone",
    "guard:overridden": "let a guard pass",
    "guard:override_used": "used the override",
    "zone:limits_set": "set the removal limits of the zone",
    "plan:stored": "stored the change before sending it",
    "plan:applied": "sent the change and read it back",
    "plan:refused": "refused the change",
    "plan:superseded": "gave the change up for a newer one",
    "plan:failed": "could not send the change",
    "plan:diverged": "did not find what was sent",
    "break_glass:used": "broke the glass",
    "break_glass:returned": "returned it to block",
    "break_glass:reviewed": "closed the review",
    "hostname:locked_out": "found every client locked out",
    "hostname:lock_out_ended": "saw the lock-out end",
    "drift:found": "found drift",
    "healing:stopped": "stopped healing: somebody else keeps changing this list",
    "account:healing_set": "changed the healing of the account",
    "drift:ignored": "set drift aside for seven days",
    "drift:shown": "put drift back among the others",
    "drift:resolved": "saw the drift end",
    "probe:setting_changed": "changed the probing of the account",
    "probe:asked": "asked for a probe",
    "probe:contradicts": "found that the probe disagrees",
    "probe:contradiction_ended": "saw the probe's contradiction end",
    "notice:not_delivered": "could not tell somebody",
    "notice:retried": "had a notice sent again",
    "webhook:added": "added a webhook",
    "webhook:removed": "removed a webhook",
    "person:address_set": "changed their own mail address",
    "edge:list_changed_outside": "found the list changed outside the portal",
    "edge:rule_changed_outside": "found a block rule changed outside the portal",
}


GUARDS = {
    "ratio": "Part of a list at once",
    "window": "Part of a list within the window",
    "total": "All lists within the window",
    "pairs": "Number of lists within the window",
}


@register.filter
def guard_name(guard: str) -> str:
    """A guard that an override may let pass, in words."""
    return GUARDS.get(guard, guard)


@register.filter
def act(action: str) -> str:
    """An audit action as the middle of a sentence that begins with its actor."""
    return ACTS.get(action, action.replace(":", " ").replace("_", " "))
