"""One zone as it was approved and as the edge shows it. Plain values: planning compares them and nothing else.

A CA goes by its key, the SHA-256 fingerprint of its DER in lower-case hex (for a CA that only the edge knows, any key
the caller makes). Hostnames are canonical.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """VERIFY: associated, no rule. LOG: the rule only counts. BLOCK: the rule refuses."""

    VERIFY = "verify"
    LOG = "log"
    BLOCK = "block"


@dataclass(frozen=True)
class RuleState:
    """One custom rule as the edge shows it. `position` counts from 0, in the order of evaluation."""

    id: str
    ref: str
    description: str
    action: str
    expression: str
    enabled: bool
    position: int


@dataclass(frozen=True)
class DesiredZone:
    """The approved state.

    `associations` must be present, `releases` must be absent; a pair in both counts as approved. `issuers` holds the
    SKIs (upper-case hex) of those that sign the CA's client certificates directly, None where that is not known.
    `settled` are the (CA, hostname) pairs and `settled_modes` the modes that a read has shown at the edge since their
    approval: when they differ now, somebody changed the edge, and that is drift, not unfinished work. `not_valid` are
    the CAs that have expired or are not valid yet: the edge lets no client in under them.
    """

    zone: str
    associations: Mapping[str, frozenset[str]] = field(default_factory=dict)
    releases: Mapping[str, frozenset[str]] = field(default_factory=dict)
    modes: Mapping[str, Mode] = field(default_factory=dict)
    issuers: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    settled: frozenset[tuple[str, str]] = frozenset()
    settled_modes: Mapping[str, Mode] = field(default_factory=dict)
    not_valid: frozenset[str] = frozenset()

    def fingerprint(self) -> str:
        """SHA-256 over the content, whatever the order it came in."""
        return digest_of(
            {
                "zone": self.zone,
                "associations": _sorted_sets(self.associations),
                "releases": _sorted_sets(self.releases),
                "modes": {name: mode.value for name, mode in self.modes.items()},
                "issuers": {ca: None if skis is None else sorted(skis) for ca, skis in self.issuers.items()},
                "settled": sorted(self.settled),
                "settled_modes": {name: mode.value for name, mode in self.settled_modes.items()},
                "not_valid": sorted(self.not_valid),
            }
        )

    def cas_of(self, hostname: str) -> frozenset[str]:
        """The CAs approved for a hostname."""
        return frozenset(ca for ca, names in self.associations.items() if hostname in names)


@dataclass(frozen=True)
class ObservedZone:
    """One complete read of the edge. A CA that has no entry in `lists` was not read, and its list is never written."""

    zone: str
    lists: Mapping[str, frozenset[str]] = field(default_factory=dict)
    ruleset_id: str | None = None
    ruleset_version: str | None = None
    rules: tuple[RuleState, ...] = ()

    def fingerprint(self) -> str:
        """SHA-256 over lists and rules. The version is left out: it counts writes, the content is what matters."""
        rules = sorted((asdict(rule) for rule in self.rules), key=lambda rule: (rule["position"], rule["id"]))
        return digest_of(
            {"zone": self.zone, "lists": _sorted_sets(self.lists), "ruleset_id": self.ruleset_id, "rules": rules}
        )


def digest_of(value: Any) -> str:
    """SHA-256 (lower-case hex) over canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _sorted_sets(sets: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    # An empty list says the same as no list only for approved state; at the edge it says that it was read.
    return {key: sorted(names) for key, names in sets.items()}
