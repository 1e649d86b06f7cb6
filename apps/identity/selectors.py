"""Reading people, teams and tokens."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from django.db import OperationalError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.identity.models import ApiToken, HostnameGrant, Person, Team
from apps.identity.permissions import ROLE_PERMISSIONS, Permission
from apps.identity.services import hash_token

USED_STAMP_EVERY = timedelta(minutes=1)


def person_for_token(secret: str) -> Person | None:
    """The active person a bearer token belongs to. Stamps its last use at most once a minute, if it can."""
    now = timezone.now()
    token = (
        ApiToken.objects.select_related("person")
        .filter(token_sha256=hash_token(secret), revoked_at=None, person__is_active=True)
        .filter(Q(expires_at=None) | Q(expires_at__gt=now))
        .first()
    )
    if token is None:
        return None
    if token.last_used_at is None or now - token.last_used_at > USED_STAMP_EVERY:
        # A database that takes no writes, for want of disk say, still serves reads.
        with suppress(OperationalError), transaction.atomic():
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token.person


def people_with(permission: Permission) -> QuerySet[Person]:
    """Active people whose roles grant the permission."""
    roles = [role.value for role, granted in ROLE_PERMISSIONS.items() if permission in granted]
    return Person.objects.filter(is_active=True, role_grants__role__in=roles).distinct().order_by("username")


def reserved_teams(hostnames: Iterable[str]) -> dict[str, Team]:
    """For each hostname that a team has reserved: that team, by the longest suffix."""
    grants = sorted(HostnameGrant.objects.select_related("team"), key=lambda grant: -len(grant.suffix))
    found: dict[str, Team] = {}
    for hostname in hostnames:
        for grant in grants:
            if hostname == grant.suffix or hostname.endswith("." + grant.suffix):
                found[hostname] = grant.team
                break
    return found
