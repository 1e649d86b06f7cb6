"""The differences between approved and edge that nobody here made."""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.seen import edge_modes
from apps.planning.state import DesiredZone, Mode, ObservedZone


@dataclass(frozen=True, order=True)
class Difference:
    """`kind` is missing, unexpected or altered. `ca` is "" for altered: that is about the rule."""

    kind: str
    ca: str
    hostname: str
    detail: str = ""


def drift(desired: DesiredZone, observed: ObservedZone) -> tuple[Difference, ...]:
    """What differs, sorted. Unfinished work is no drift: only what was once read as approved can be missing."""
    found: list[Difference] = []
    for ca, present in observed.lists.items():
        approved = desired.associations.get(ca, frozenset())
        managed = approved | desired.releases.get(ca, frozenset())
        found += [Difference("unexpected", ca, name, "At the edge, not approved") for name in present - managed]
        gone = {name for name in approved - present if (ca, name) in desired.settled}
        found += [Difference("missing", ca, name, "Approved, not at the edge") for name in gone]
    now = edge_modes(observed.rules)
    for name in set(now) | set(desired.settled_modes):
        if detail := _altered(name, desired, now.get(name, Mode.VERIFY)):
            found.append(Difference("altered", "", name, detail))
    return tuple(sorted(found))


def _altered(name: str, desired: DesiredZone, edge: Mode) -> str:
    approved = desired.modes.get(name)
    released = any(name in names for names in desired.releases.values())
    if approved is None:
        return "" if released else f"A rule of ours ({edge.value}) names it, and nothing is approved for it"
    if desired.settled_modes.get(name) is not approved or edge is approved:
        return ""
    return f"Approved mode is {approved.value}, the edge has {edge.value}"
