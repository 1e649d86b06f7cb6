"""CAs by the names people know, in place of the fingerprints that planning knows them by."""

from __future__ import annotations

from collections.abc import Mapping

from apps.inventory.models import Account
from apps.inventory.selectors import slot_certificates, slot_keys


def ca_labels(account: Account) -> dict[str, str]:
    """Planning's key -> name. Our own name wins over the one that Cloudflare lists."""
    keys = slot_keys(account)
    labels = {keys[row.cloudflare_id]: str(row) for row in slot_certificates(account)}
    return labels | {ca.fingerprint: ca.name for ca in account.cas.exclude(state="deleted")}


def named(summary: str, labels: Mapping[str, str]) -> str:
    """A step's sentence with each CA's name."""
    for key, name in labels.items():
        summary = summary.replace(key[:12], name)
    return summary
