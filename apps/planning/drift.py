"""The differences between approved and edge that nobody here made."""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.rule import pins_for
from apps.planning.seen import accepted_issuers, edge_modes, maybe_blocked
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
        if detail := _altered(name, desired, observed, now.get(name, Mode.VERIFY)):
            found.append(Difference("altered", "", name, detail))
    return tuple(sorted(found))


def _altered(name: str, desired: DesiredZone, observed: ObservedZone, edge: Mode) -> str:
    approved = desired.modes.get(name)
    released = any(name in names for names in desired.releases.values())
    if approved is None:
        stray = edge is not Mode.VERIFY and not released
        return f"A rule of ours ({edge.value}) names it, and nothing is approved for it" if stray else ""
    if desired.settled_modes.get(name) is not approved:
        return ""
    if edge is approved:
        return _other_issuers(name, desired, observed) if edge is Mode.BLOCK and not released else ""
    if name in maybe_blocked(observed.rules) and edge is not Mode.BLOCK:
        return f"Approved mode is {approved.value}. Our rule was rewritten by hand, so what it does now is not known"
    return f"Approved mode is {approved.value}, the edge has {edge.value}"


def _other_issuers(name: str, desired: DesiredZone, observed: ObservedZone) -> str:
    """A rule that lost its pin accepts a certificate of any CA in the account, one with a wrong pin nobody's."""
    cas = desired.cas_of(name)
    if not cas or any((ca, name) not in desired.settled for ca in cas):
        return ""
    if accepted_issuers(observed.rules, name) == pins_for(cas, desired.issuers):
        return ""
    return "The rule accepts other issuers than approved"
