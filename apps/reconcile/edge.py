"""Reading the edge: one client per account, one complete observation per zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from apps.cloudflare.client import CallRecord, Client
from apps.cloudflare.rules import Ruleset
from apps.inventory.models import Account, Zone
from apps.inventory.selectors import base_url_of, slot_certificates, token_of
from apps.outbox.services import Lease, renew
from apps.planning.state import ObservedZone, RuleState


@dataclass(frozen=True)
class Observation:
    """One complete read of a zone: every slot CA's list and the custom rules. Never part of one."""

    zone: ObservedZone
    read_at: datetime


def client_for(account: Account, *, deadline_s: float | None = None, lease: Lease | None = None) -> Client:
    """A client with the account's token. Made per run, after the fork, and closed by the caller.

    Each answer renews the lease, so that it can be short: it outlives one call and not the whole run.
    """
    deadline = deadline_s if deadline_s is not None else settings.BYOCA_EDGE_DEADLINE_S

    def answered(_record: CallRecord) -> None:
        if lease is not None:
            renew(lease, lease_s=settings.BYOCA_LEASE_S)

    return Client(base_url=base_url_of(account), token=token_of(account), deadline_s=deadline, on_response=answered)


def ca_keys(account: Account) -> dict[str, str]:
    """Planning's key of each slot CA of the account -> its Cloudflare id, from the last account listing.

    The key is the certificate's fingerprint; one whose PEM could not be read goes by its Cloudflare id.
    """
    return {key_of(row.fingerprint, row.cloudflare_id): row.cloudflare_id for row in slot_certificates(account)}


def key_of(fingerprint: str, cloudflare_id: str) -> str:
    return fingerprint or f"edge:{cloudflare_id}"


def read_zone(client: Client, zone: Zone, keys: dict[str, str]) -> Observation:
    """Read every list and the rules of a zone. Any failure raises: a part is never taken for the whole (INV-10)."""
    lists = {
        key: client.associations.read(zone.cloudflare_id, mtls_certificate_id=ca_id) for key, ca_id in keys.items()
    }
    ruleset = client.rules.entrypoint(zone.cloudflare_id)
    return Observation(observed_zone(zone.name, lists, ruleset), timezone.now())


def observed_zone(name: str, lists: dict[str, frozenset[str]], ruleset: Ruleset | None) -> ObservedZone:
    return ObservedZone(
        zone=name,
        lists=lists,
        ruleset_id=ruleset.id if ruleset else None,
        ruleset_version=ruleset.version if ruleset else None,
        rules=rule_states(ruleset),
    )


def rule_states(ruleset: Ruleset | None) -> tuple[RuleState, ...]:
    """The client's rules as planning sees them."""
    return tuple(
        RuleState(
            id=rule.id,
            ref=rule.ref,
            description=rule.description,
            action=rule.action,
            expression=rule.expression,
            enabled=rule.enabled,
            position=index,
        )
        for index, rule in enumerate(ruleset.rules if ruleset else ())
    )
