"""A plan: the calls for one zone in their safe order, and what they come to for each hostname.

`effects` are what an approval is about; `steps` are how it is done. docs/plans.md shows one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from apps.planning.rule import DesiredRule
from apps.planning.state import RuleState, digest_of


def _count(number: int, one: str = "hostname") -> str:
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def _rule_dict(rule: DesiredRule) -> dict[str, Any]:
    return {**asdict(rule), "hostnames": sorted(rule.hostnames)}


@dataclass(frozen=True)
class ReplaceList:
    """PUT the whole list of one CA. All four are sorted; a step adds or removes, never both."""

    kind: ClassVar[str] = "replace_list"
    ca: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    adds: tuple[str, ...]
    removes: tuple[str, ...]

    @classmethod
    def of(cls, ca: str, before: frozenset[str], after: frozenset[str]) -> ReplaceList:
        lists = (before, after, after - before, before - after)
        return cls(ca, *(tuple(sorted(names)) for names in lists))

    def summary(self) -> str:
        done = [f"add {_count(len(self.adds))}"] if self.adds else []
        done += [f"remove {_count(len(self.removes))}"] if self.removes else []
        return f"Send the list of {self.ca[:12]}: {', '.join(done)}, {len(self.after)} in all."

    def to_dict(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("before", "after", "adds", "removes")}
        return {"kind": self.kind, "ca": self.ca, **lists}


@dataclass(frozen=True)
class ReadBackLists:
    """Read these CAs' lists again; the plan stops here until they are what was sent."""

    kind: ClassVar[str] = "read_back_lists"
    cas: tuple[str, ...]

    def summary(self) -> str:
        return f"Read {_count(len(self.cas), 'list')} back."

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "cas": list(self.cas)}


@dataclass(frozen=True)
class AddRule:
    """Add a rule, ahead of all others when `first`. `creates_ruleset`: the zone has no custom rules at all yet."""

    kind: ClassVar[str] = "add_rule"
    rule: DesiredRule
    first: bool = True
    creates_ruleset: bool = False

    def summary(self) -> str:
        return f"Add a {self.rule.action} rule for {_count(len(self.rule.hostnames))}."

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "rule": _rule_dict(self.rule),
            "first": self.first,
            "creates_ruleset": self.creates_ruleset,
        }


@dataclass(frozen=True)
class EditRule:
    """Write the whole rule anew, in its place. It is enabled afterwards."""

    kind: ClassVar[str] = "edit_rule"
    rule_id: str
    before: RuleState
    rule: DesiredRule

    def summary(self) -> str:
        return f"Change rule {self.rule.ref} to {self.rule.action} {_count(len(self.rule.hostnames))}."

    def to_dict(self) -> dict[str, Any]:
        before, rule = asdict(self.before), _rule_dict(self.rule)
        return {"kind": self.kind, "rule_id": self.rule_id, "before": before, "rule": rule}


@dataclass(frozen=True)
class DeleteRule:
    """Delete a rule. `rule_id` is "" for one that this very plan added: find it by `before.ref` then."""

    kind: ClassVar[str] = "delete_rule"
    rule_id: str
    before: RuleState

    def summary(self) -> str:
        return f"Delete the {self.before.action} rule {self.before.ref}."

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "rule_id": self.rule_id, "before": asdict(self.before)}


@dataclass(frozen=True)
class ReadBackRules:
    """Read the zone's rules again; the plan stops here until ours are what was sent."""

    kind: ClassVar[str] = "read_back_rules"

    def summary(self) -> str:
        return "Read the rules back."

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind}


RuleStep = AddRule | EditRule | DeleteRule
Step = ReplaceList | ReadBackLists | RuleStep | ReadBackRules


@dataclass(frozen=True, order=True)
class Effect:
    """What the plan means for one hostname.

    `operation` is associate, adopt (at the edge already), dissociate, enforce or relax; `mode` the hostname's mode
    afterwards. `ca` is "" for enforce and relax: they concern the hostname, whatever its CAs.
    """

    operation: str
    zone: str
    ca: str
    hostname: str
    mode: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """`base` is the fingerprint of the read it stands on; `pairs_left` how many (CA, hostname) pairs remain after.

    `waits` are hostnames whose work is held back, because it would lock them out: no CA of theirs is at the edge.
    """

    zone: str
    base: str
    steps: tuple[Step, ...]
    effects: tuple[Effect, ...]
    pairs_left: int | None = None
    waits: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Names exactly these effects, whatever order they stand in."""
        return digest_of([effect.to_dict() for effect in sorted(self.effects)])

    @property
    def is_noop(self) -> bool:
        """Whether nothing would be sent. Effects may remain: adopting sends nothing."""
        return not self.steps

    def to_dict(self) -> Mapping[str, Any]:
        return {
            "zone": self.zone,
            "base": self.base,
            "digest": self.digest,
            "steps": [step.to_dict() for step in self.steps],
            "effects": [effect.to_dict() for effect in self.effects],
            "pairs_left": self.pairs_left,
            "waits": list(self.waits),
        }
