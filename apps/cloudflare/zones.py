"""Zones of an account. https://developers.cloudflare.com/api/resources/zones/methods/list/"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.cloudflare.records import Caller, all_pages, flag, identifier, mapping, segment, text, unreadable


@dataclass(frozen=True)
class Zone:
    """One zone; `name` in lower case, `plan` is Cloudflare's name of it, empty when not said."""

    id: str
    name: str
    status: str
    paused: bool
    account_id: str
    plan: str


@dataclass(frozen=True)
class Zones:
    """The zones that the token may see."""

    client: Caller

    def list(self, account_id: str) -> tuple[Zone, ...]:
        """Every zone of the account, all pages. None at all may mean that the token sees none."""
        found = all_pages(self.client, "/zones", {"account.id": segment(account_id, "account")}, _zone, paged=True)
        if any(zone.account_id.lower() not in {"", account_id.lower()} for zone in found):
            raise unreadable("a zone of another account")
        return found


def _zone(row: dict[str, Any]) -> Zone:
    account = mapping(row.get("account", {}), "account")
    plan = row.get("plan")
    return Zone(
        id=identifier(row),
        name=text(row, "name").lower(),
        status=text(row, "status", "active"),
        paused=flag(row, "paused", default=False),
        account_id=text(account, "id", ""),
        plan=text(plan, "name", "") if isinstance(plan, dict) else "",
    )
