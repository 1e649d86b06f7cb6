"""Work that would lock a hostname out waits until a CA of its own is at the edge.

A block rule refuses everybody when no approved CA holds its hostname: because the CA is not in the account (yet), or
because somebody took the hostname off the list and nobody has decided about that drift. Then nothing that depends on
this CA is sent: no new block, and no end to what lets clients through now.

No client passes under a CA that has expired, or is not valid yet. So it holds no hostname that is to be blocked; one
that is blocked already refuses nobody anew, and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from apps.planning.seen import edge_modes, maybe_blocked
from apps.planning.state import DesiredZone, Mode, ObservedZone


def waiting(desired: DesiredZone, observed: ObservedZone, adds: Mapping[str, AbstractSet[str]]) -> frozenset[str]:
    """Hostnames to be blocked that none of their approved CAs would hold, not even after these additions."""
    found = set()
    blocked = maybe_blocked(observed.rules) if desired.not_valid else frozenset()
    for name, mode in desired.modes.items():
        cas = desired.cas_of(name)
        able = cas if name in blocked else cas - desired.not_valid
        held = any(name in observed.lists.get(ca, ()) or name in adds.get(ca, ()) for ca in able)
        if mode is Mode.BLOCK and cas and not held:
            found.add(name)
    return frozenset(found)


def why_it_waits(name: str, desired: DesiredZone) -> str:
    """For people, with the keys of the CAs cut to 12 digits."""
    cas = desired.cas_of(name)
    valid = cas - desired.not_valid
    shown, verb = ", ".join(sorted(key[:12] for key in valid or cas)), "is" if len(valid or cas) == 1 else "are"
    words = f"{name} would refuse every client: {shown} {verb} approved for it, and "
    if valid:
        what = "no list at the edge has it. Decide on the drift of this hostname"
    else:
        what = "not valid at this time. Cover it with a CA that is"
    return f"{words}{what}; the request then goes on by itself."


def as_they_stand(desired: DesiredZone, observed: ObservedZone, names: frozenset[str]) -> DesiredZone:
    """The approved state, but with these hostnames left as the edge has them.

    One that is blocked now keeps the CAs that let its clients through, those whose end is approved too; one that is
    not blocked keeps its mode. One that is blocked and in no list is locked out already: its rule stays as approved.
    """
    if not names:
        return desired
    associations = {ca: set(hostnames) for ca, hostnames in desired.associations.items()}
    releases = {ca: set(hostnames) for ca, hostnames in desired.releases.items()}
    modes = dict(desired.modes)
    now, blocked = edge_modes(observed.rules), maybe_blocked(observed.rules)
    for name in names - blocked:
        modes[name] = now.get(name, Mode.VERIFY)
    for name in names & blocked:
        holding = {ca for ca, hostnames in observed.lists.items() if name in hostnames}
        keeping = {ca for ca in holding if name in releases.get(ca, ())} or holding
        if keeping:
            for hostnames in associations.values():
                hostnames.discard(name)
        for ca in keeping:
            associations.setdefault(ca, set()).add(name)
            releases.get(ca, set()).discard(name)
    return replace(desired, associations=_frozen(associations), releases=_frozen(releases), modes=modes)


def _frozen(sets: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {key: frozenset(names) for key, names in sets.items()}
