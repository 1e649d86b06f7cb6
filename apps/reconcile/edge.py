"""Reading the edge: one client per account, one complete observation per zone."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.cloudflare.client import CallRecord, Client
from apps.cloudflare.rules import Ruleset
from apps.inventory.budget.gate import BudgetGate, Purpose, sweep_calls_per_s
from apps.inventory.holds import Hold
from apps.inventory.models import Account, Zone
from apps.inventory.selectors import base_url_of, slot_certificates, token_of, zones_of
from apps.outbox.services import Lease, renew
from apps.planning.state import ObservedZone, RuleState


@dataclass(frozen=True)
class Observation:
    """One complete read of a zone: every slot CA's list and the custom rules. Never part of one.

    `read_at` is when it was complete; `clock` and `rules_clock` are when it began, and when its last call began, that
    for the rules, on this process's monotonic clock in seconds. `revision` is the zone's edge revision from before the
    first call: a reading that a known change overtook is not stored.
    """

    zone: ObservedZone
    read_at: datetime
    ruleset: Ruleset | None = None
    clock: float = 0.0
    revision: int | None = None
    rules_clock: float = 0.0


class EdgeClient(Client):
    """A client whose every call counts against its token's budget, and may be held back by it (BudgetExhausted).

    Each answer renews the lease, so that it can be short: it outlives one call and not the whole run.
    """

    def __init__(self, *, gate: BudgetGate, lease: Lease | None = None, **options: Any) -> None:
        super().__init__(before_call=gate.before_call, on_response=self._answered, **options)
        self.gate = gate
        self.lease = lease

    def _answered(self, record: CallRecord) -> None:
        if self.lease is not None:
            renew(self.lease, lease_s=settings.BYOCA_LEASE_S)
        self.gate.on_response(record)


def client_for(
    account: Account,
    *,
    deadline_s: float | None = None,
    lease: Lease | None = None,
    purpose: Purpose = Purpose.SWEEP,
) -> EdgeClient:
    """A client with the account's token. Made per run, after the fork, and closed by the caller."""
    deadline = deadline_s if deadline_s is not None else settings.BYOCA_EDGE_DEADLINE_S
    token = token_of(account)
    gate = BudgetGate(account=account, token=token, purpose=purpose)
    return EdgeClient(gate=gate, lease=lease, base_url=base_url_of(account), token=token, deadline_s=deadline)


def sweep_interval_s(account: Account) -> float:
    """Seconds until the next reading of the account or of one of its zones, with jitter, so that readings spread out.

    The configured interval, stretched when reading every zone that often would take more than sweeps may have.
    """
    zones = zones_of(account).count()
    calls = zones * (len(slot_certificates(account)) + 1) + 3
    per_second = sweep_calls_per_s(account)
    return max(settings.BYOCA_SWEEP_INTERVAL_S, calls / per_second) * random.uniform(0.9, 1.1)


def next_run_in_s(account: Account, hold: Hold | None) -> float:
    """Seconds until the next run. What a freeze window holds back goes when the window ends."""
    sweep = sweep_interval_s(account)
    if hold and hold.until:
        return max(min(sweep, (hold.until - timezone.now()).total_seconds()), 0.1)
    return sweep


def ca_keys(account: Account) -> dict[str, str]:
    """Planning's key of each slot CA of the account -> its Cloudflare id, from the last account listing.

    The key is the certificate's fingerprint; one whose PEM could not be read goes by its Cloudflare id.
    """
    return {key_of(row.fingerprint, row.cloudflare_id): row.cloudflare_id for row in slot_certificates(account)}


def key_of(fingerprint: str, cloudflare_id: str) -> str:
    return fingerprint or f"edge:{cloudflare_id}"


def read_zone(client: EdgeClient, zone: Zone, keys: dict[str, str]) -> Observation:
    """Read every list and the rules of a zone. Any failure raises: a part is never taken for the whole (INV-10)."""
    client.gate.reserve(len(keys) + 1)
    revision, clock = revision_of(zone), time.monotonic()
    lists = {
        key: client.associations.read(zone.cloudflare_id, mtls_certificate_id=ca_id) for key, ca_id in keys.items()
    }
    rules_clock = time.monotonic()
    ruleset = client.rules.entrypoint(zone.cloudflare_id)
    state = observed_zone(zone.name, lists, ruleset)
    return Observation(state, timezone.now(), ruleset, clock, revision, rules_clock)


def revision_of(zone: Zone) -> int:
    """How many changes of the zone's edge are known by now."""
    return Zone.objects.values_list("edge_revision", flat=True).get(pk=zone.pk)


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
