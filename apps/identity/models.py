"""People, teams, roles and API tokens."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models

from apps.identity.permissions import Role


class Team(models.Model):
    """Owns hostnames. A person may belong to several."""

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=120)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Person(AbstractUser):
    """Somebody who signs in. `subject` never changes and is what four eyes compare, not the name."""

    subject = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    display_name = models.CharField(max_length=120, blank=True)
    teams: models.ManyToManyField[Team, models.Model] = models.ManyToManyField(Team, related_name="members", blank=True)

    def __str__(self) -> str:
        return self.display_name or self.username

    @property
    def initials(self) -> str:
        """Two letters for the round mark beside the name."""
        words = str(self).split()
        return "".join(word[0] for word in words[:2]).upper() if len(words) > 1 else str(self)[:2].upper()


class RoleGrant(models.Model):
    """One role of one person."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="role_grants")
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in Role])

    class Meta:
        constraints = (models.UniqueConstraint(fields=["person", "role"], name="identity_role_once"),)

    def __str__(self) -> str:
        return f"{self.person}: {self.role}"


class HostnameGrant(models.Model):
    """Reserves a name and everything below it for one team. The longest matching suffix wins."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="hostname_grants")
    suffix = models.CharField(max_length=253, unique=True)

    def __str__(self) -> str:
        return f"{self.suffix} -> {self.team}"


class ApiToken(models.Model):
    """A bearer token. Only its SHA-256 is kept; `prefix` is what people recognise it by."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=16)
    token_sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
