"""What people are told of: one entry per audit action, with its words and who hears it.

A further kind of notice is one more entry here. `{subject}` is what the event is about, `{count}` how many there are
when one mail tells of several.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from apps.audit.models import AuditEvent


class Audience(Enum):
    """OWNERS: members of the team that owns the hostname. ENGINEERS: everybody with the role of security engineer."""

    OWNERS = "owners"
    ENGINEERS = "engineers"


@dataclass(frozen=True)
class Kind:
    """`headline` is the mail's subject, `todo` what the reader may do. Paths are of the portal's pages."""

    headline: str
    headline_many: str
    todo: str
    path: str
    path_many: str
    audience: tuple[Audience, ...] = (Audience.OWNERS, Audience.ENGINEERS)

    def headline_of(self, events: list[AuditEvent]) -> str:
        subjects = _subjects(events)
        if len(subjects) == 1:
            return one_line(self.headline.format(subject=one_line(subjects[0], 253)), 300)
        return self.headline_many.format(count=len(subjects))

    def path_of(self, events: list[AuditEvent]) -> str:
        subjects = _subjects(events)
        return self.path.format(subject=quote(subjects[0], safe="")) if len(subjects) == 1 else self.path_many


def _subjects(events: list[AuditEvent]) -> list[str]:
    """Each once: what came and went several times is still one."""
    return list(dict.fromkeys(event.subject_label for event in events))


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
}


def one_line(text: str, limit: int = 300) -> str:
    """Text from outside as part of one line: no control or direction characters, cut at `limit` characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:limit])
