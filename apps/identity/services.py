"""Writing people, roles and API tokens."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from apps.audit.services import record
from apps.errors import Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.models import ApiToken, Person, RoleGrant, Team
from apps.identity.permissions import Permission, Role
from apps.pki.free_text import free_text

MOST_ADDRESS = 254
TOKEN_PREFIX = "byoca_"  # noqa: S105  (public, so that leak scanners find tokens)


def hash_token(token: str) -> str:
    """SHA-256 of a token. No salt is needed: a token has 256 random bits."""
    return hashlib.sha256(token.encode("utf-8")).hexdigest()


@transaction.atomic
def create_person(
    *,
    by: Actor,
    username: str,
    password: str,
    display_name: str,
    roles: Iterable[Role],
    teams: Iterable[Team] = (),
    email: str = "",
) -> Person:
    """Add a local account. Raises Invalid when the name is taken or the mail address is none.

    Without the permission only a command may call it: see `via`.
    """
    if by.via != "cli":
        by.require(Permission.ACCOUNT_MANAGE)
    if Person.objects.filter(username__iexact=username).exists():
        raise Invalid(f"{username} exists already. Choose another name.", field="username")
    person = Person.objects.create_user(
        username=username, password=password, display_name=display_name, email=checked_address(email)
    )
    for role in roles:
        RoleGrant.objects.create(person=person, role=role.value)
    person.teams.set(teams)
    after = {"roles": sorted(r.value for r in roles), "teams": sorted(t.slug for t in person.teams.all())}
    record(by=by, action="person:added", subject=("person", person.subject, str(person)), after=after)
    return person


@transaction.atomic
def set_address(*, by: Actor, email: str) -> Person:
    """Set or, with "", take away the acting person's own mail address. Raises Invalid.

    The log says that it changed and not what it is: the log cannot forget.
    """
    by.require(Permission.COVERAGE_READ)
    address = checked_address(email)
    person = Person.objects.select_for_update(no_key=True).get(pk=by.person.pk)  # type: ignore[union-attr]
    had, person.email = bool(person.email), address
    person.save(update_fields=["email"])
    record(
        by=by, action="person:address_set", subject=("person", person.subject, str(person)),
        before={"has_address": had}, after={"has_address": bool(address)},
    )  # fmt: skip
    return person


def checked_address(text: str) -> str:
    """The mail address, "" for none. Raises Invalid."""
    address = free_text(text, "email")
    try:
        if address:
            validate_email(address)
    except ValidationError:
        raise Invalid("That is no mail address. Write it as name@company.example.", field="email") from None
    if len(address) > MOST_ADDRESS:
        raise Invalid(f"The address is longer than {MOST_ADDRESS} characters.", field="email")
    return address


@transaction.atomic
def create_token(*, by: Actor, name: str, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """Make an API token for the person acting. Returns the row and the secret, which is never readable again."""
    by.require(Permission.TOKEN_CREATE)
    name = free_text(name, "name", "Give the token a name, so that you know it again.")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        person=by.person,
        name=name[:80],
        prefix=secret[:12],
        token_sha256=hash_token(secret),
        expires_at=expires_at,
    )
    after = {"name": token.name, "prefix": token.prefix, "expires_at": expires_at}
    record(by=by, action="token:created", subject=("token", token.pk, token.name), after=after)
    return token, secret


@transaction.atomic
def revoke_token(*, by: Actor, token_id: int) -> ApiToken:
    """End one of the actor's own tokens. Raises NotFound for anybody else's."""
    token = ApiToken.objects.select_for_update().filter(pk=token_id, person=by.person, revoked_at=None).first()
    if token is None:
        raise NotFound("No such token. It may be revoked already.")
    token.revoked_at = timezone.now()
    token.save(update_fields=["revoked_at"])
    record(by=by, action="token:revoked", subject=("token", token.pk, token.name), before={"prefix": token.prefix})
    return token
