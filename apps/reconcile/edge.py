"""Reading the edge: which token a run has, one complete observation per zone.

An account may have a second token that can only read (INV-44). Whatever only reads then uses that one, and never the
other in its place. A run that is to write uses the write token for its reads too, so that what is approved still goes
while the read token is refused; dry runs need it, because Cloudflare asks for the right to write rules.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.cloudflare.answers import Answer
from apps.cloudflare.client import CallRecord, Client
from apps.cloudflare.errors import PermissionMissing, Unauthorized
from apps.cloudflare.rules import Ruleset
from apps.inventory.budget.gate import BudgetGate, Purpose, sweep_calls_per_s
from apps.inventory.credentials import CredentialUnreadable
from apps.inventory.holds import Hold
from apps.inventory.models import Account, TokenKind, Zone
from apps.inventory.selectors import base_url_of, slot_certificates, slot_keys, token_of, zones_of
from apps.outbox.services import Lease, renew
from apps.planning.state import ObservedZone, RuleState

# What ends a run because of its token, and the code of those of a read token.
TOKEN_FAULTS = (Unauthorized, PermissionMissing, CredentialUnreadable)
READ_TOKEN_REFUSED = "read_token_refused"  # noqa: S105  (a code)


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
    """A client whose every call counts against its account's budget, and may be held back by it (BudgetExhausted).

    Each answer renews the lease, so that it can be short: it outlives one call and not the whole run. A refusal of a
    read token says that it is one.
    """

    def __init__(
        self,
        account: Account,
        kind: TokenKind,
        *,
        deadline_s: float | None = None,
        lease: Lease | None = None,
        purpose: Purpose = Purpose.SWEEP,
    ) -> None:
        """Made per run, after the fork, and closed by the caller. Both tokens count in one budget (docs/budget.md)."""
        deadline = deadline_s if deadline_s is not None else settings.BYOCA_EDGE_DEADLINE_S
        self.account, self.kind, self.lease, self.deadline_s = account, kind, lease, deadline
        self.gate = BudgetGate(account=account, token=token_of(account), purpose=purpose)
        with _named(kind):
            super().__init__(
                base_url=base_url_of(account),
                token=token_of(account, kind),
                deadline_s=deadline,
                before_call=self.gate.before_call,
                on_response=self._answered,
            )

    def call(self, method: str, path: str, **options: Any) -> Answer:
        with _named(self.kind):
            return super().call(method, path, **options)

    def _answered(self, record: CallRecord) -> None:
        if self.lease is not None:
            renew(self.lease, lease_s=settings.BYOCA_LEASE_S)
        self.gate.on_response(record)


@contextmanager
def _named(kind: TokenKind) -> Iterator[None]:
    try:
        yield
    except TOKEN_FAULTS as error:
        if kind is TokenKind.READ:
            error.code, error.message = READ_TOKEN_REFUSED, f"Read token: {error.message}"
        raise


def client_for(account: Account, *, writes: bool = False, **options: Any) -> EdgeClient:
    """The client of one run, with the options of EdgeClient. `writes` says that the run is to write.

    Then the write token reads as well, unless it was refused of late and the read token was not: what can be read is.
    """
    broken = Account.TokenState.BROKEN
    only_reading_works = account.token_state == broken and account.read_token_state != broken
    by_write_token = not account.read_token_encrypted or (writes and not only_reading_works)
    return EdgeClient(account, TokenKind.WRITE if by_write_token else TokenKind.READ, **options)


@contextmanager
def with_token(client: EdgeClient, kind: TokenKind) -> Iterator[EdgeClient]:
    """The client itself where it has this token, otherwise another one for the same run."""
    if client.kind is kind:
        yield client
        return
    purpose = client.gate.purpose
    with EdgeClient(client.account, kind, deadline_s=client.deadline_s, lease=client.lease, purpose=purpose) as other:
        yield other


@contextmanager
def writer_from(client: EdgeClient) -> Iterator[EdgeClient]:
    """For writes and dry runs, in a run that may have begun to read only. Raises Unauthorized, before anything is
    stored for a write, when the token was refused of late and still is."""
    with with_token(client, TokenKind.WRITE) as writer:
        if writer is not client and client.account.token_state == Account.TokenState.BROKEN:
            writer.tokens.verify(client.account.cloudflare_id)
        yield writer


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

    The key is the certificate's fingerprint; one whose PEM could not be read, or is that of another slot, goes by its
    Cloudflare id.
    """
    return {key: ca_id for ca_id, key in slot_keys(account).items()}


def calls_of_reading(keys: dict[str, str]) -> int:
    """One for each list, and one for the rules."""
    return len(keys) + 1


def read_zone(client: EdgeClient, zone: Zone, keys: dict[str, str]) -> Observation:
    """Read every list and the rules of a zone. Any failure raises: a part is never taken for the whole (INV-10)."""
    client.gate.reserve(calls_of_reading(keys))
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
