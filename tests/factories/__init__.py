"""Objects for tests, made through the product's own services wherever one exists."""

from __future__ import annotations

import itertools

from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca, move_ca
from apps.authorities.states import CaState
from apps.identity.actors import Actor
from apps.identity.models import Person, RoleGrant, Team
from apps.identity.permissions import Role
from apps.inventory.models import Account, EdgeCertificate, EdgeList, Zone
from apps.inventory.services import add_account
from tests.certs import make_ca as make_certificate

_numbers = itertools.count(1)
SETUP = Actor("portal", "portal:test", "Portal (test)", "cli")
ZONES = ("pay.example", "shop.example", "devices.shop.example")


def make_person(*roles: Role | str, username: str = "", teams: tuple[Team, ...] = ()) -> Person:
    """A person with these roles and a password of `correct horse battery staple`."""
    person = Person.objects.create_user(username or f"person{next(_numbers)}", password="correct horse battery staple")
    for role in roles:
        RoleGrant.objects.create(person=person, role=Role(role).value)
    person.teams.set(teams)
    return person


def actor(*roles: Role | str, teams: tuple[Team, ...] = (), via: str = "page") -> Actor:
    """Somebody new with these roles, acting."""
    return Actor.of(make_person(*roles, teams=teams), via=via)


def make_team(name: str = "") -> Team:
    number = next(_numbers)
    return Team.objects.create(slug=f"team-{number}", name=name or f"Team {number}")


def make_account(*, zones: tuple[str, ...] = ZONES, mode: str = "read_write", **values: object) -> Account:
    """An account with zones, as if it had been read a moment ago."""
    number = next(_numbers)
    account = add_account(
        by=SETUP, name=f"Account {number}", cloudflare_id=f"{number:032x}", token=f"token-{number}", mode=mode
    )
    for name, value in values.items():
        setattr(account, name, value)
    account.read_at = timezone.now()
    account.save()
    for index, name in enumerate(zones):
        Zone.objects.create(
            account=account, cloudflare_id=f"{number:016x}{index:016x}", name=name, read_at=timezone.now()
        )
    return account


def make_ca(
    account: Account, *, name: str = "", by: Actor | None = None, client_issuers: str = "", live: bool = True
) -> CertificateAuthority:
    """An admitted CA; with `live`, one that the account's listing shows."""
    number = next(_numbers)
    made = make_certificate(f"Root {number}")
    ca = admit_ca(
        by=by or actor(Role.ENGINEER), account=account, name=name or f"Root {number}", data=made.pem,
        client_issuers=client_issuers, reason="Partners need it.",
    )  # fmt: skip
    return make_live(ca) if live else ca


def make_live(ca: CertificateAuthority) -> CertificateAuthority:
    """As if the worker had uploaded it."""
    cloudflare_id = f"00000000-0000-4000-8000-{next(_numbers):012x}"
    EdgeCertificate.objects.create(
        account=ca.account, cloudflare_id=cloudflare_id, name=ca.name, fingerprint=ca.fingerprint, pem=ca.pem,
        expires_at=ca.not_after, uploaded_at=timezone.now(),
    )  # fmt: skip
    move_ca(by=SETUP, ca_id=ca.pk, target=CaState.LIVE, action="ca:live", cloudflare_id=cloudflare_id)
    ca.refresh_from_db()
    return ca


def at_edge(ca: CertificateAuthority, zone: Zone, *hostnames: str) -> EdgeList:
    """As if a read had shown these hostnames in the CA's list of the zone."""
    now = timezone.now()
    row, _ = EdgeList.objects.update_or_create(
        zone=zone,
        ca_cloudflare_id=ca.cloudflare_id,
        defaults={"hostnames": sorted(hostnames), "read_at": now, "changed_at": now},
    )
    return row
