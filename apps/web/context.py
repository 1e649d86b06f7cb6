"""What every page's shell shows: the account, counts, and who is signed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from apps.coverage.break_glass import open_break_glasses
from apps.coverage.models import BreakGlass
from apps.coverage.selectors import requests_waiting_for
from apps.identity.actors import Actor
from apps.identity.models import Person
from apps.identity.permissions import ROLE_LABELS, Permission, Role
from apps.inventory.holds import stops_in_force
from apps.inventory.models import Account, Stop
from apps.inventory.selectors import accounts
from apps.reconcile.lock_outs import open_lock_outs
from apps.reconcile.models import LockOut
from apps.reconcile.selectors import drift_open

ROLE_RANK = (Role.ADMIN, Role.ENGINEER, Role.APPROVER, Role.AUDITOR, Role.OWNER, Role.RESPONDER, Role.VIEWER)


@dataclass(frozen=True)
class Shell:
    """Read once per page."""

    account: Account | None
    accounts: tuple[Account, ...]
    waiting_count: int
    drift_count: int
    nav: str
    person: Person
    role_label: str
    can: dict[str, bool]
    stops: tuple[Stop, ...]
    break_glasses: tuple[BreakGlass, ...]
    lock_outs: tuple[LockOut, ...]


def current_account(request: HttpRequest) -> Account | None:
    """The account chosen in the switcher, else the first."""
    rows = list(accounts())
    chosen = request.session.get("account", "")
    return next((row for row in rows if str(row.pk) == chosen), rows[0] if rows else None)


def actor_of(request: HttpRequest) -> Actor:
    """The signed-in person, acting through a page."""
    return Actor.of(request.user, via="page", request_id=request_id_of(request))  # type: ignore[arg-type]


def request_id_of(request: HttpRequest) -> str:
    """The id that ties this request's log lines and audit events together."""
    return str(getattr(request, "id", "") or request.META.get("REQUEST_ID", ""))


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor. Empty for whoever is not signed in."""
    person = getattr(request, "user", None)
    if not isinstance(person, Person):
        return {}
    actor = actor_of(request)
    roles = actor.roles
    account = current_account(request)
    label = next((ROLE_LABELS[role] for role in ROLE_RANK if role in roles), ROLE_LABELS[Role.VIEWER])
    return {
        "shell": Shell(
            account=account,
            accounts=tuple(accounts()),
            waiting_count=requests_waiting_for(actor).count(),
            drift_count=drift_open(account).count() if account else 0,
            nav=_section(request.path),
            person=person,
            role_label=label,
            can={permission.name.lower(): actor.may(permission) for permission in Permission},
            stops=tuple(stops_in_force()),
            lock_outs=tuple(open_lock_outs(account)) if account else (),
            break_glasses=tuple(open_break_glasses(account)[:5]) if account else (),
        )
    }


def _section(path: str) -> str:
    return path.strip("/").split("/")[0] or "overview"
