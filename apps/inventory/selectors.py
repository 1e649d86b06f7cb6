"""Reading accounts, zones and what the edge was last seen to hold."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from apps.errors import Invalid, NotFound
from apps.inventory.credentials import decrypt
from apps.inventory.models import Account, EdgeCertificate, EdgeList, TokenKind, Zone
from apps.planning.hostnames import zone_of


def accounts() -> QuerySet[Account]:
    return Account.objects.order_by("name")


def account_by_id(account_id: UUID | str) -> Account:
    """By the portal's id or Cloudflare's. Raises NotFound."""
    try:
        found = Account.objects.filter(pk=account_id).first()
    except (ValidationError, ValueError):
        found = None
    found = found or Account.objects.filter(cloudflare_id=str(account_id)).first()
    if found is None:
        raise NotFound("No such account. Pick one from the list of accounts.", field="account")
    return found


def zone_by_reference(reference: str, *, account_id: UUID | None = None) -> Zone:
    """By the portal's id, Cloudflare's, or its name, among the zones that are listed; of one account where it is given.

    Raises NotFound, Invalid when accounts have several such zones: none of them is taken for the one that was meant.
    """
    rows = Zone.objects.filter(vanished_at=None).select_related("account")
    try:
        found = list(rows.filter(pk=reference))
    except (ValidationError, ValueError):
        found = []
    if account_id and not found:
        rows = rows.filter(account=account_id)
    found = found or list(rows.filter(Q(cloudflare_id=reference) | Q(name=reference.lower())).order_by("account__name"))
    if not found:
        raise NotFound("No such zone. Pick one from the list of zones.", field="zone")
    if len(found) > 1:
        names = ", ".join(f"{zone.pk} in {zone.account}" for zone in found)
        raise Invalid(f"Several accounts have this zone. Name it by the portal's id of it: {names}.", field="zone")
    return found[0]


def zones_of(account: Account) -> QuerySet[Zone]:
    """Zones that exist at the last complete listing."""
    return Zone.objects.filter(account=account, vanished_at=None).order_by("name")


def vanished_zones() -> QuerySet[Zone]:
    """Zones that Cloudflare no longer lists."""
    return Zone.objects.exclude(vanished_at=None)


def zones_of_others(account: Account) -> QuerySet[Zone]:
    """Active zones of every other account, as last listed: a name belongs to the longest zone of all."""
    return Zone.objects.exclude(account=account).filter(vanished_at=None, status="active").select_related("account")


def served_elsewhere(zone: Zone, hostnames: Iterable[str], *, active: bool = True) -> dict[str, Zone]:
    """Those of the hostnames that a longer zone serves, by that zone: an active one of any account, as last listed.

    With `active=False` those that one which is not active would serve: until then this zone serves them.
    That the longest zone serves a hostname is inferred, not documented: nothing is decided by it without a person.
    """
    below = Zone.objects.filter(vanished_at=None, name__endswith=f".{zone.name}").select_related("account")
    longer = {row.name: row for row in below if (row.status == "active") is active}
    found = {name: zone_of(name, longer) for name in hostnames} if longer else {}
    return {name: longer[held_by] for name, held_by in found.items() if held_by}


def slot_certificates(account: Account) -> list[EdgeCertificate]:
    """What holds the account's CA slots, oldest deployment first."""
    return [row for row in account.edge_certificates.order_by("uploaded_at", "pk") if row.takes_slot]


def slot_keys(account: Account) -> dict[str, str]:
    """The Cloudflare id of each slot CA -> its key: the fingerprint, or one made of the id where that says too little.

    A slot may hold several certificates. Only the one under which a CA of ours is known by its id is that CA; another
    that begins with the same certificate is not, and has a list of its own.
    """
    slots = slot_certificates(account)
    ids = {row.cloudflare_id for row in slots}
    known = account.cas.exclude(state="deleted").filter(cloudflare_id__in=ids)
    ours: dict[str, str] = dict(known.values_list("cloudflare_id", "fingerprint"))
    taken, keys = set(ours.values()), {}
    for row in slots:
        free = row.fingerprint and row.fingerprint not in taken
        keys[row.cloudflare_id] = key = ours.get(row.cloudflare_id) or (
            row.fingerprint if free else f"edge:{row.cloudflare_id}"
        )
        taken.add(key)
    return keys


def edge_lists_of(account: Account) -> QuerySet[EdgeList]:
    """The last read of every (zone, CA) pair of the account."""
    return EdgeList.objects.filter(zone__account=account, zone__vanished_at=None).select_related("zone")


def base_url_of(account: Account) -> str:
    return account.base_url or settings.CLOUDFLARE_API_BASE_URL


def token_of(account: Account, kind: TokenKind = TokenKind.WRITE) -> str:
    """The Cloudflare token in clear: for the client only. Raises CredentialUnreadable."""
    return decrypt(getattr(account, kind.field("token_encrypted")), bound_to=token_row(account, kind))


def token_row(account: Account, kind: TokenKind = TokenKind.WRITE) -> str:
    """What a stored token is bound to: its account, and there its kind, so that neither can be put for the other."""
    return f"account:{account.pk}:read" if kind is TokenKind.READ else f"account:{account.pk}"
