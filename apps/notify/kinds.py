"""What people are told of: one entry per audit action, with its words and who hears it.

A further kind of notice is one more entry here. `{subject}` is what the event is about, `{id}` its id, `{count}` how
many there are when one mail tells of several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from apps.audit.models import AuditEvent

ALARM = "portal:alarm"


class Audience(Enum):
    """OWNERS: members of the team that owns the hostname. ASKERS: who made the request, and its team.
    ENGINEERS: everybody with the role of security engineer."""

    OWNERS = "owners"
    ASKERS = "askers"
    ENGINEERS = "engineers"


@dataclass(frozen=True)
class Kind:
    """`headline` is the mail's subject, `todo` what the reader may do. Paths are of the portal's pages.

    `tells` says whether an event of the action is one to tell of.
    """

    headline: str
    headline_many: str
    todo: str
    path: str
    path_many: str
    audience: tuple[Audience, ...] = (Audience.OWNERS, Audience.ENGINEERS)
    tells: Callable[[AuditEvent], bool] = lambda _event: True

    def headline_of(self, events: list[AuditEvent]) -> str:
        subjects = _subjects(events)
        if len(subjects) == 1:
            return one_line(self.headline.format(subject=one_line(subjects[0], 253)), 300)
        return self.headline_many.format(count=len(subjects))

    def path_of(self, events: list[AuditEvent]) -> str:
        subjects = _subjects(events)
        if len(subjects) != 1:
            return self.path_many
        return self.path.format(subject=quote(subjects[0], safe=""), id=quote(events[0].subject_id, safe=""))


def _subjects(events: list[AuditEvent]) -> list[str]:
    """Each once: what came and went several times is still one."""
    return list(dict.fromkeys(event.subject_label for event in events))


def is_told(event: AuditEvent) -> bool:
    """Whether anybody is told of this event."""
    kind = KINDS.get(event.action)
    return kind is not None and kind.tells(event)


def why_of(event: AuditEvent) -> str:
    """The reason that the event itself gives."""
    after = event.after or {}
    return str(event.details.get("why") or after.get("why") or after.get("error") or event.reason)


def _sent_for_nobody(event: AuditEvent) -> bool:
    """A change that puts something back belongs to no request, which would fail with it and be told of."""
    return not event.details.get("requests")


ENGINEERS = (Audience.ENGINEERS,)
KINDS: dict[str, Kind] = {
    "hostname:locked_out": Kind(
        headline="{subject} refuses every client",
        headline_many="{count} hostnames refuse every client",
        todo=(
            "Open the page below: it shows what is at the edge and what was approved. Restore what was approved under "
            "Drift, or ask a responder to break the glass, which lets clients in while you look."
        ),
        path="/hostnames/{subject}/",
        path_many="/associations/?answer=locked_out",
    ),
    "hostname:lock_out_ended": Kind(
        headline="{subject} no longer refuses every client",
        headline_many="{count} hostnames no longer refuse every client",
        todo="Open the page below to see how it stands now: that it lets clients in does not say that it is protected.",
        path="/hostnames/{subject}/",
        path_many="/associations/",
    ),
    "request:failed": Kind(
        headline="{subject} could not be finished",
        headline_many="{count} requests could not be finished",
        todo=(
            "Open the page below: it shows which hostnames are done and which are not. Nothing more is sent for it "
            "until somebody retries it; a security engineer can, once the reason is gone."
        ),
        path="/requests/{id}/",
        path_many="/requests/",
        audience=(Audience.ASKERS, Audience.ENGINEERS),
    ),
    "plan:diverged": Kind(
        headline="{subject} was sent, and the edge shows something else",
        headline_many="{count} changes were sent, and the edge shows something else",
        todo=(
            "Open the page below: it has each call with Cloudflare's ray id. Somebody else may write the same list or "
            "rule. What is not at the edge is shown as drift."
        ),
        path="/changes/{id}/",
        path_many="/drift/",
        audience=ENGINEERS,
    ),
    "plan:failed": Kind(
        headline="{subject} could not put back what was approved",
        headline_many="{count} changes could not put back what was approved",
        todo="Open the page below: it has each call and Cloudflare's answer. The drift is still there.",
        path="/changes/{id}/",
        path_many="/drift/",
        audience=ENGINEERS,
        tells=_sent_for_nobody,
    ),
    "healing:stopped": Kind(
        headline="{subject}: what is put back is taken away again",
        headline_many="{count} zones: what is put back is taken away again",
        todo=(
            "Find out who writes this list at Cloudflare: its audit log names them. The portal puts nothing back there "
            "for an hour; the difference is listed under Drift."
        ),
        path="/drift/",
        path_many="/drift/",
        audience=ENGINEERS,
    ),
    "writes:stopped": Kind(
        headline="The portal stopped its own writes: {subject}",
        headline_many="The portal stopped its own writes in {count} places",
        todo=(
            "Nothing is sent there until an administrator lifts the stop, with a reason. Find out first what the "
            "portal saw: it does not fit what it did itself."
        ),
        path="/accounts/stops/",
        path_many="/accounts/stops/",
        audience=ENGINEERS,
        tells=lambda event: event.actor_id == ALARM,
    ),
    "zone:parked": Kind(
        headline="{subject} is no longer read or changed",
        headline_many="{count} zones are no longer read or changed",
        todo="Read the worker's log, mend what ends it, then retry the zone's change or ask for a new one.",
        path="/accounts/",
        path_many="/accounts/",
        audience=ENGINEERS,
    ),
    "account:parked": Kind(
        headline="The account {subject} is no longer read",
        headline_many="{count} accounts are no longer read",
        todo="Read the worker's log and mend what ends it. Any request in the account wakes it.",
        path="/accounts/",
        path_many="/accounts/",
        audience=ENGINEERS,
    ),
    "ca:push_failed": Kind(
        headline="The CA {subject} could not be sent to Cloudflare",
        headline_many="{count} CAs could not be sent to Cloudflare",
        todo="Open the page below: it has Cloudflare's words. Mend the reason, then retry there.",
        path="/cas/{id}/",
        path_many="/cas/",
        audience=ENGINEERS,
    ),
    "ca:deletion_parked": Kind(
        headline="The CA {subject} could not be deleted at Cloudflare",
        headline_many="{count} CAs could not be deleted at Cloudflare",
        todo="Open the page below: it says what still uses the CA. Ask for the deletion again once nothing does.",
        path="/cas/{id}/",
        path_many="/cas/",
        audience=ENGINEERS,
    ),
}


def one_line(text: str, limit: int = 300) -> str:
    """Text from outside as part of one line: no control or direction characters, cut at `limit` characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:limit])
