"""Who hears of an event by mail: people who have an address, each once, with the reason why it is them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from apps.audit.models import AuditEvent
from apps.coverage.models import Association, CoverageRequest
from apps.identity.models import Person, Team
from apps.identity.permissions import Role
from apps.identity.selectors import reserved_teams
from apps.notify.kinds import Audience, Kind, one_line


@dataclass(frozen=True)
class Recipient:
    address: str
    label: str
    because: str


def mail_recipients(event: AuditEvent, kind: Kind) -> list[Recipient]:
    """Owners before engineers: who is both is told as owner. An address that two people share gets one mail."""
    found: dict[str, Recipient] = {}
    for audience in kind.audience:
        for person, because in _people(event, audience):
            address = person.email.strip().lower()
            found.setdefault(address, Recipient(address, one_line(str(person), 200), one_line(because)))
    return list(found.values())


def _people(event: AuditEvent, audience: Audience) -> list[tuple[Person, str]]:
    if audience is Audience.ENGINEERS:
        return [(person, "you are a security engineer of the portal") for person in security_engineers()]
    if audience is Audience.ASKERS:
        return _askers(event)
    teams = owning_teams(event)
    members = _reachable(Person.objects.filter(teams__in=teams)).prefetch_related("teams")
    return [(person, f"your team {_team_of(person, teams)} owns {event.subject_label}") for person in members]


def _askers(event: AuditEvent) -> list[tuple[Person, str]]:
    """Who made the request of the event, and then the rest of its team."""
    request = CoverageRequest.objects.select_related("team").filter(pk=event.subject_id).first()
    if request is None:
        return []
    found = [(person, "you asked for it") for person in _reachable(Person.objects.filter(pk=request.requested_by_id))]
    if request.team:
        members = _reachable(request.team.members.all()).exclude(pk=request.requested_by_id)
        found += [(person, f"your team {request.team} asked for it") for person in members]
    return found


def security_engineers() -> QuerySet[Person]:
    return _reachable(Person.objects.filter(role_grants__role=Role.ENGINEER.value))


def _reachable(people: QuerySet[Person, Any]) -> QuerySet[Person, Any]:
    return people.filter(is_active=True).exclude(email="").distinct().order_by("username")


def _team_of(person: Person, teams: list[Team]) -> Team:
    mine = {team.pk for team in person.teams.all()}
    return next(team for team in teams if team.pk in mine)


def owning_teams(event: AuditEvent) -> list[Team]:
    """Teams whose approved coverage names a hostname of the event, and those that reserved it."""
    rows = Association.objects.filter(zone__account_id=event.account or None, zone__name=event.zone)
    owned = rows.filter(hostname__in=event.hostnames).exclude(owner_team=None).select_related("owner_team")
    teams = {row.owner_team for row in owned if row.owner_team} | set(reserved_teams(event.hostnames).values())
    return sorted(teams, key=lambda team: team.slug)
