"""Who acts. Every service takes one as `by`, for people and for the portal's own workers alike."""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.errors import Forbidden
from apps.identity.models import Person
from apps.identity.permissions import WHO_CAN, Permission, Role, allowed


@dataclass(frozen=True)
class Actor:
    """A person (with their roles at this moment) or the portal itself.

    `via` is page, api, cli or worker. `request_id` ties the audit event to the log lines of one HTTP request.
    """

    kind: str
    id: str
    label: str
    via: str
    request_id: str = ""
    person: Person | None = field(default=None, compare=False)

    @classmethod
    def of(cls, person: Person, *, via: str, request_id: str = "") -> Actor:
        return cls("person", str(person.subject), str(person), via, request_id, person)

    @classmethod
    def portal(cls, part: str = "worker") -> Actor:
        """The portal acting by itself: a worker, a sweep, a command without a person."""
        return cls("portal", f"portal:{part}", f"Portal ({part})", part)

    @property
    def roles(self) -> frozenset[Role]:
        """Read from the database at every question, so that a change of rights acts at once (INV-5)."""
        if self.person is None:
            return frozenset()
        return frozenset(Role(grant.role) for grant in self.person.role_grants.all())

    def may(self, permission: Permission) -> bool:
        if self.person is None:
            return False
        current = Person.objects.filter(pk=self.person.pk, is_active=True).prefetch_related("role_grants").first()
        if current is None:
            return False
        return allowed(frozenset(Role(grant.role) for grant in current.role_grants.all()), permission)

    def require(self, permission: Permission) -> None:
        """Raises Forbidden naming who can do it instead."""
        if not self.may(permission):
            who = WHO_CAN.get(permission, "an administrator")
            raise Forbidden(f"Your role does not allow this. Ask {who}.", code=permission.value)
