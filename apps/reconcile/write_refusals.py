"""When Cloudflare refuses a token that reads as it has to write in a zone (INV-25).

It may lack a permission, or that permission in this zone. Such a write is not made again before another token is
stored, but for one try an hour; meanwhile nothing is stored for it, the zone is read as any other, and what waits says
why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from apps.coverage.models import CoverageRequest
from apps.coverage.progress_services import wait_for_token
from apps.coverage.selectors import in_flight_requests
from apps.inventory.models import Zone
from apps.inventory.services import store_zone_write_refusal
from apps.outbox.clock import database_now
from apps.reconcile.edge import TOKEN_FAULTS, EdgeClient
from apps.reconcile.observe import WORKER

TRY_TOKEN_EVERY = timedelta(hours=1)


def refused_for_s(zone: Zone) -> float:
    """Seconds until a write may be tried in the zone again; zero when none was refused of late."""
    if zone.writes_refused_at is None:
        return 0.0
    return max((zone.writes_refused_at + TRY_TOKEN_EVERY - database_now()).total_seconds(), 0.0)


@contextmanager
def noting_refusals(client: EdgeClient, zone: Zone, requests: Iterable[CoverageRequest]) -> Iterator[None]:
    """Keep it, and tell the requests, when the token is refused as it writes. If it cannot read, reading tells."""
    try:
        yield
    except TOKEN_FAULTS:
        if client.last_call is not None and client.last_call.method != "GET":
            store_zone_write_refusal(zone=zone, at=database_now())
            tell_refused(zone, requests)
        raise


def tell_refused(zone: Zone, requests: Iterable[CoverageRequest]) -> None:
    """Requests that would go now say what they wait for."""
    why = "Cloudflare refused the one it has. The portal tries again in an hour, and at once with another token."
    wait_for_token(by=WORKER, request_ids=[request.pk for request in requests], zone=zone, why=why)


def forget_refusal(zone: Zone) -> None:
    """A write was taken, or none is wanted any more: nothing waits for the token in this zone."""
    if zone.writes_refused_at is not None:
        store_zone_write_refusal(zone=zone, at=None)
    wait_for_token(by=WORKER, request_ids=[request.pk for request in in_flight_requests(zone)], zone=zone, why="")
