"""What still uses a CA: approved, asked for, or only seen at the edge. A zone that is no longer listed holds none."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import Association, CoverageRequest
from apps.coverage.states import OPEN
from apps.inventory.models import EdgeList


@dataclass(frozen=True)
class Uses:
    """`hostnames` are approved under it, `requests` undecided or unfinished, `unapproved` at the edge all the same."""

    hostnames: int
    requests: int
    unapproved: tuple[str, ...]

    @property
    def refusal(self) -> str:
        """Why the CA cannot be deleted and what to do first, without its name; empty when nothing uses it."""
        if self.hostnames:
            names = "1 hostname still uses it" if self.hostnames == 1 else f"{self.hostnames} hostnames still use it"
            return f"{names}. Request their removal first, then delete the CA."
        if self.requests:
            names = "1 open request names it" if self.requests == 1 else f"{self.requests} open requests name it"
            return f"{names}. Decide them first, then delete the CA."
        if self.unapproved:
            more = f" and {len(self.unapproved) - 5} more" if len(self.unapproved) > 5 else ""
            return (
                f"Nobody approved {', '.join(self.unapproved[:5])}{more}, but the edge lists them under it. Adopt them "
                "and then request their removal, or take them off outside the portal; then delete the CA."
            )
        return ""


def uses_of(ca: CertificateAuthority) -> Uses:
    """Everything that keeps this CA from being deleted (F10), as approved and as last read at the edge."""
    approved = set(Association.objects.filter(ca=ca, zone__vanished_at=None).values_list("zone_id", "hostname"))
    unapproved = sorted(name for zone_id, name in at_edge_under(ca) if (zone_id, name) not in approved)
    requests = CoverageRequest.objects.filter(ca=ca, state__in=OPEN).count()
    return Uses(len(approved), requests, tuple(unapproved))


def at_edge_under(ca: CertificateAuthority) -> set[tuple[UUID, str]]:
    """(zone, hostname) of every list of the CA, as last read."""
    if not ca.cloudflare_id:
        return set()
    lists = EdgeList.objects.filter(
        zone__vanished_at=None, zone__account_id=ca.account_id, ca_cloudflare_id=ca.cloudflare_id
    )
    return {(row.zone_id, name) for row in lists for name in row.hostnames}
