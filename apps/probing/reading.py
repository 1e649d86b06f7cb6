"""What the last read of the edge says of a hostname: which CAs list it, and whether a rule refuses or logs.

From the stored lists and rules, as they were read; never from what was approved.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.inventory.models import EdgeList, EdgeRules, Zone
from apps.planning.rule import hostnames_in


@dataclass(frozen=True)
class Reading:
    """One zone's last read, by hostname. `changed_at` is when a read last showed any change of the zone."""

    lists: dict[str, frozenset[str]]
    modes: dict[str, str]
    read_at: datetime | None
    changed_at: datetime | None

    def of(self, hostname: str) -> dict[str, Any]:
        """As stored in `ProbeTarget.expected`."""
        cas = sorted(ca for ca, names in self.lists.items() if hostname in names)
        return {"cas": cas, "rule": self.modes.get(hostname, "none")}


def reading_of(zone: Zone) -> Reading:
    lists = list(EdgeList.objects.filter(zone=zone))
    rules = EdgeRules.objects.filter(zone=zone).first()
    changes = [row.changed_at for row in lists] + ([rules.changed_at] if rules else [])
    return Reading(
        lists={row.ca_cloudflare_id: frozenset(row.hostnames) for row in lists},
        modes=_modes(rules.rules if rules else []),
        read_at=Zone.objects.values_list("read_at", flat=True).get(pk=zone.pk),
        changed_at=max(changes, default=None),
    )


def _modes(rules: list[dict[str, Any]]) -> dict[str, str]:
    """Hostname -> block or log, by the enabled rules that name it; block wins."""
    modes: dict[str, str] = {}
    for action in ("log", "block"):
        for rule in rules:
            if rule["enabled"] and rule["action"] == action:
                modes |= dict.fromkeys(hostnames_in(str(rule["expression"])), action)
    return modes
