"""Zones to plan for: made by hand for one case, or drawn for all of them; and what may never happen in one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import strategies as st

from apps.planning.diff import unfinished
from apps.planning.rule import BRIDGE_PREFIX, PREFIX, compile_rules, hostnames_in, make_rule, pins_in
from apps.planning.seen import edge_modes
from apps.planning.state import DesiredZone, Mode, ObservedZone, RuleState

ZONE = "example.com"
CAS = tuple(letter * 64 for letter in "abcd")
NAMES = tuple(f"{word}.example.com" for word in ("api", "app", "db", "ftp", "git", "pay"))
ISSUERS = {CAS[0]: frozenset({"AA01"}), CAS[1]: frozenset({"BB01", "BB02"}), CAS[2]: frozenset({"CC01"}), CAS[3]: None}
FOREIGN = (
    RuleState("f1", "f1", "Skip the office", "skip", "ip.src in {192.0.2.0/24}", enabled=True, position=0),
    RuleState("f2", "rate", "", "block", '(http.host eq "api.example.com")', enabled=True, position=0),
    RuleState("f3", "byocal-1", "Not ours", "block", "true", enabled=False, position=0),
)


def rule(
    ref: str, names: Iterable[str], *, pins: Iterable[str] | None = None, action: str = "block", enabled: bool = True
) -> RuleState:
    made = make_rule(ref, action, names, None if pins is None else frozenset(pins))
    return RuleState(f"id-{ref}", ref, made.description, action, made.expression, enabled=enabled, position=0)


def edited(state: RuleState, expression: str = "") -> RuleState:
    """The rule after somebody wrote an exception into it by hand."""
    return replace(state, expression=expression or f"(ip.src ne 192.0.2.1 and {state.expression})")


def edge(lists: dict[str, Iterable[str]], rules: Iterable[RuleState] = (), *, ruleset: bool = True) -> ObservedZone:
    placed = tuple(replace(rule, position=n) for n, rule in enumerate(rules))
    known = ("rs1", "7") if ruleset or placed else (None, None)
    return ObservedZone(ZONE, {ca: frozenset(names) for ca, names in lists.items()}, *known, placed)


def approved(
    associations: dict[str, Iterable[str]],
    modes: dict[str, Mode] | None = None,
    *,
    releases: dict[str, Iterable[str]] | None = None,
    settled: bool = False,
    issuers: dict[str, frozenset[str] | None] | None = None,
) -> DesiredZone:
    """`settled`: all of it has been seen at the edge since it was approved."""
    pairs = frozenset((ca, name) for ca, names in associations.items() for name in names)
    return DesiredZone(
        ZONE,
        {ca: frozenset(names) for ca, names in associations.items()},
        {ca: frozenset(names) for ca, names in (releases or {}).items()},
        modes or {},
        ISSUERS if issuers is None else issuers,
        settled=pairs if settled else frozenset(),
        settled_modes=(modes or {}) if settled else {},
    )


def rules_for(zone: DesiredZone) -> list[RuleState]:
    """The rules at an edge that is as approved."""
    return [
        RuleState(f"id-{rule.ref}", rule.ref, rule.description, rule.action, rule.expression, enabled=True, position=0)
        for rule in compile_rules(zone)
    ]


def seen(desired: DesiredZone, observed: ObservedZone) -> DesiredZone:
    """The approved state after a read has settled what it proves."""
    modes, open_names = edge_modes(observed.rules), unfinished(desired, observed)
    pairs = {
        (ca, name)
        for ca, names in desired.associations.items()
        for name in names & observed.lists.get(ca, frozenset()) - open_names
    }
    done = {n: m for n, m in desired.modes.items() if modes.get(n, Mode.VERIFY) is m and n not in open_names}
    return replace(desired, settled=desired.settled | pairs, settled_modes={**desired.settled_modes, **done})


def blocked(observed: ObservedZone) -> frozenset[str]:
    """Hostnames that a live block rule of ours refuses. One edited by hand refuses what it still quotes."""
    live = [rule for rule in observed.rules if rule.ref.startswith(PREFIX) and rule.enabled and rule.action == "block"]
    return frozenset(name for rule in live for name in _names(rule))


def locked_out(observed: ObservedZone) -> frozenset[str]:
    """Hostnames that are blocked for the clients of every CA that holds them."""
    return frozenset(name for name in blocked(observed) if not any(_lets_in(observed, ca, name) for ca in CAS))


def _names(rule: RuleState) -> frozenset[str]:
    text = rule.expression.replace("\\.", ".")
    return hostnames_in(rule.expression) or frozenset(n for n in NAMES if n in text or "http.host" not in text)


def _lets_in(observed: ObservedZone, ca: str, name: str) -> bool:
    if name not in observed.lists.get(ca, frozenset()):
        return False
    live = [rule for rule in observed.rules if rule.ref.startswith(PREFIX) and rule.enabled and rule.action == "block"]
    pins = [pins_in(rule.expression) for rule in live if name in _names(rule)]
    return all(pin is None or bool(pin & (ISSUERS[ca] or frozenset())) for pin in pins)


_names_of = st.frozensets(st.sampled_from(NAMES))
_some_lists = st.dictionaries(st.sampled_from(CAS), _names_of)
_modes = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([Mode.BLOCK, Mode.BLOCK, Mode.LOG, Mode.VERIFY]))


@st.composite
def desired_zones(draw: st.DrawFn) -> DesiredZone:
    """Any approved state, with any part of it settled."""
    lists, modes = draw(_some_lists), draw(_modes)
    pairs = sorted((ca, name) for ca, names in lists.items() for name in names)
    settled = draw(st.frozensets(st.sampled_from(pairs))) if pairs else frozenset()
    settled_modes = draw(st.dictionaries(st.sampled_from(sorted(modes)), st.sampled_from(Mode))) if modes else {}
    return DesiredZone(ZONE, lists, draw(_some_lists), modes, ISSUERS, settled, settled_modes)


@st.composite
def own_rules(draw: st.DrawFn, desired: DesiredZone) -> list[RuleState]:
    """Rules of ours: of this or another approved state, left by a plan cut off, switched off, edited, made up."""
    found = {rule.ref: rule for rule in rules_for(desired) if draw(st.booleans())}
    other = draw(desired_zones())
    found.update({rule.ref: rule for rule in rules_for(other) if draw(st.booleans())})
    pins = st.none() | st.frozensets(st.sampled_from(["AA01", "BB01", "BB02", "CC01"]), min_size=1)
    names = st.frozensets(st.sampled_from(NAMES), min_size=1)
    for number in range(draw(st.integers(0, 2))):
        ref = draw(st.sampled_from([f"{BRIDGE_PREFIX}{number}{number}-0", f"{PREFIX}{number}a-0", *sorted(found)]))
        found[ref] = rule(ref, draw(names), pins=draw(pins))
    for ref, state in found.items():
        fate = draw(st.sampled_from(["kept", "kept", "kept", "kept", "off", "log", "edited"]))
        if fate == "off":
            found[ref] = replace(state, enabled=False)
        elif fate == "log":
            found[ref] = replace(state, action="log")
        elif fate == "edited":
            found[ref] = edited(state)
    return list(found.values())


@st.composite
def zones(draw: st.DrawFn) -> tuple[DesiredZone, ObservedZone]:
    """Any approved state against any edge: other people's hostnames and rules, and the traces of every accident."""
    desired = draw(desired_zones())
    lists = dict(draw(_some_lists))
    for ca, names in desired.associations.items():
        if draw(st.booleans()):
            lists[ca] = lists.get(ca, frozenset()) | names
    rules = draw(st.permutations([*draw(own_rules(desired)), *FOREIGN[: draw(st.integers(0, 3))]]))
    return desired, edge(dict(lists), rules, ruleset=draw(st.booleans()))


@st.composite
def changes_of_mind(draw: st.DrawFn) -> tuple[DesiredZone, ObservedZone]:
    """An edge as it was approved once, all of it settled, and a new approved state: everyday work."""
    first, second = draw(desired_zones()), draw(desired_zones())
    lists = {ca: first.associations.get(ca, frozenset()) for ca in CAS}
    pairs = {(ca, name) for ca, names in lists.items() for name in names}
    gone = {ca: names - second.associations.get(ca, frozenset()) for ca, names in lists.items()}
    desired = replace(
        second,
        releases=gone,
        settled=frozenset(p for p in pairs if p[1] in second.associations.get(p[0], frozenset())),
        settled_modes=first.modes,
    )
    return desired, edge(dict(lists), [*FOREIGN, *rules_for(first)])
