"""Hostname associations: one list per (zone, CA). The only place in the tree that knows their path.

https://developers.cloudflare.com/api/resources/certificate_authorities/subresources/hostname_associations/
A call without the certificate id would read or replace another list, that of the Cloudflare Managed CA, without any
error. So neither call can be built here without it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from apps.cloudflare.records import Caller, listing, mapping, segment, unreadable


@dataclass(frozen=True)
class Associations:
    """Reads and replaces whole lists."""

    client: Caller

    def read(self, zone_id: str, *, mtls_certificate_id: str) -> frozenset[str]:
        """The CA's hostnames in the zone, canonical, as a set: Cloudflare promises no order."""
        query = {"mtls_certificate_id": segment(mtls_certificate_id, "certificate")}
        return _hostnames(self.client.call("GET", _path(zone_id), query=query).result)

    def replace(self, zone_id: str, *, mtls_certificate_id: str, hostnames: Collection[str]) -> frozenset[str]:
        """Replace the whole list; an empty one removes every association. Returns the list in the answer.

        Raises ValueError for a string or anything else that is no collection of strings: a generator that was
        used up would empty the list.
        """
        body = {
            "mtls_certificate_id": segment(mtls_certificate_id, "certificate"),
            "hostnames": _to_send(hostnames),
        }
        return _hostnames(self.client.call("PUT", _path(zone_id), body=body).result)


def _path(zone_id: str) -> str:
    return f"/zones/{segment(zone_id, 'zone')}/certificate_authorities/hostname_associations"


def _to_send(hostnames: Collection[str]) -> list[str]:
    if isinstance(hostnames, str | bytes) or not isinstance(hostnames, Collection):
        raise ValueError("hostnames must be a collection of names")
    if not all(isinstance(name, str) and name for name in hostnames):
        raise ValueError("hostnames must be names")
    return sorted(hostnames)


def _hostnames(result: Any) -> frozenset[str]:
    names = listing(mapping(result, "result").get("hostnames"), "hostnames")
    if not all(isinstance(name, str) and name and "\x00" not in name for name in names):
        raise unreadable("hostnames")
    return frozenset(name.lower().removesuffix(".") for name in names)
