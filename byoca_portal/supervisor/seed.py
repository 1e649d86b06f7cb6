"""What an empty portal begins with: five people, two teams, and the account of the local stand-in."""

from __future__ import annotations

import secrets
from typing import Any

from apps.identity.actors import Actor
from apps.identity.models import HostnameGrant, Person, Team
from apps.identity.permissions import Role
from apps.identity.services import create_person, create_token
from apps.inventory.services import add_account, set_budget

SETUP = Actor("portal", "portal:setup", "Portal (set-up)", "cli")
PEOPLE = {
    "engineer": ("Mara Okafor", [Role.ENGINEER, Role.RESPONDER]),
    "engineer2": ("Tom Brandt", [Role.ENGINEER]),
    "owner": ("Jonas Weber", [Role.OWNER]),
    "auditor": ("Ines Duarte", [Role.AUDITOR]),
    "admin": ("Ada Lindqvist", [Role.ADMIN]),
}
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
RESERVED = "fleet.devices.northwind.example"


def is_empty() -> bool:
    return not Person.objects.exists()


def seed(card: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Fill an empty database through the services. Returns each person's password and API token, known only now."""
    payments = Team.objects.create(slug="payments-core", name="Payments Core")
    fleet = Team.objects.create(slug="fleet", name="Fleet")
    HostnameGrant.objects.create(team=fleet, suffix=RESERVED)
    people: dict[str, dict[str, str]] = {}
    for username, (name, roles) in PEOPLE.items():
        password = "-".join("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(4))
        teams = [payments] if Role.OWNER in roles else []
        person = create_person(
            by=SETUP, username=username, password=password, display_name=name, roles=roles, teams=teams,
            email=f"{username}@northwind.example",
        )  # fmt: skip
        _, token = create_token(by=Actor.of(person, via="cli"), name="demo")
        people[username] = {"password": password, "token": token, "role": ", ".join(roles)}
    account = add_account(
        by=SETUP, name="Northwind Production", cloudflare_id=card["account_id"], token=card["token"], mode="read_write"
    )
    # Nobody but the portal uses the stand-in's token.
    set_budget(by=SETUP, account_id=account.pk, call_limit=None, call_share_percent=90)
    return people
