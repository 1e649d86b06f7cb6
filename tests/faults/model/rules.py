"""Custom rules: others stay whole, ours change only as people decided, over what the same run has read."""

from __future__ import annotations

from tests.faults.model.calls import BELIEVED, Call, History
from tests.faults.model.intent import Intent
from tests.faults.model.limits import RUN_S
from tests.faults.model.lists import stale
from tests.faults.model.rule_text import NONE, actions, others

# This fault spoils hostname lists only: an answer about rules stays as it is.
TRUE_OF_RULES = {*BELIEVED, "wrong_types"}


def rules(intent: Intent, history: History) -> list[str]:
    found = []
    for call in (row for row in history.by_start if row.is_write and row.rules_zone):
        found += _base_of(call, history)
        if call.applied:
            found += _change(intent, history, call)
    return found


def _base_of(call: Call, history: History) -> list[str]:
    """A rehearsal leaves nothing, so it may be asked by whoever has not read."""
    if call.rehearses:
        return []
    base = next((row for row in history.earlier(call) if row.rules_zone == call.rules_zone and _tells(row)), None)
    if base is None:
        return [f"INV-10: {call} writes rules that the same run had not read"]
    found = stale(call, history)
    if call.started - base.started > RUN_S:
        found.append(f"INV-10: {call} writes rules that were read {call.started - base.started:.0f} s before")
    return found + [
        f"INV-16: {call} writes rules over {base}, and {other} by another run came between them"
        for other in history.between(base, call)
        if other.rules_zone == call.rules_zone and other.applied
    ]


def _is_back(history: History, call: Call, name: str) -> bool:
    """Whether a rule that only logs names it again before the run could have ended: it went to another group's rule."""
    later = (row for row in history.rule_changes(call.rules_zone) if row.seq > call.seq)
    return any(name in actions(row.row["after"]) for row in later if row.started - call.started < RUN_S)


def _tells(row: Call) -> bool:
    """Whether it told the run the rules: a believable reading, or a write, which is answered with all of them."""
    if row.row["fault"] not in TRUE_OF_RULES:
        return False
    return row.row["status"] in {200, 404} if row.method == "GET" else row.applied and row.row["status"] == 200


def _change(intent: Intent, history: History, call: Call) -> list[str]:
    before, after = call.row["before"] or [], call.row["after"] or []
    found = []
    if before == after:
        found.append(f"INV-15: {call} writes a rule that is there already")
    if others(before) != others(after):
        found.append(f"INV-11: {call} changes rules that are not the portal's")
    was, is_now, began = actions(before), actions(after), history.began(call)
    for name in sorted(was.keys() | is_now.keys()):
        old, new = was.get(name, NONE), is_now.get(name, NONE)
        if old == new:
            continue
        allowed = intent.modes(name, began)
        # On the way to another mode a hostname may stand in no rule for a moment: one is written, then the other.
        moves = new == NONE and (allowed - {old} or (old == "log" and _is_back(history, call, name)))
        if new not in allowed and not moves:
            found.append(f"INV-11: {call} takes {name} from {old} to {new}, and no approval names that")
        if new != NONE and history.zones.get(call.rules_zone, "") != history.zone_of(name):
            found.append(f"INV-8: {call} names {name}, which is not of this zone")
    return found
