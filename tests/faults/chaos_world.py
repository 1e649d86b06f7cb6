"""The edge as it should be once all is quiet, told from both logs, against the edge as it is and as clients meet it.

Whoever changed a hostname last has the word on it: somebody else's change is theirs and shows as drift; what the
portal changed last, or nobody, has to be as people decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.certs import make_leaf
from tests.faults.chaos_acts import PASSING, Acts
from tests.faults.driver import Driver
from tests.faults.model import History, Intent
from tests.faults.model.calls import Call
from tests.faults.model.rule_text import NONE, actions


def differences(driver: Driver, acts: Acts, waiting: set[str]) -> list[str]:
    """Sentences, none when the world is as it should be. `waiting` hostnames are decided and wait for a person."""
    history = driver.edge.history()
    intent = Intent(driver.audit(), history)
    state = driver.edge.state()
    zones = {zone["name"]: zone for zone in state["zones"]}
    found = [wrong for zone in state["zones"] for wrong in _of_lists(history, intent, zone, waiting)]
    cas = {row["id"] for row in state["certificates"]}
    for name in sorted({name for (_, name) in intent.words_now()} - waiting):
        zone = zones.get(history.zone_of(name))
        if zone is not None and zone["name"] != PASSING:
            found += _of_rules(driver, acts, history, intent, zone, name, cas)
    return found


def _of_lists(history: History, intent: Intent, zone: dict[str, Any], waiting: set[str]) -> list[str]:
    """Each list against the last word on each hostname, where that is certain."""
    found = []
    for (fingerprint, name), words in intent.words_now().items():
        if history.zone_of(name) != zone["name"] or zone["name"] == PASSING or len(words) > 1 or name in waiting:
            continue
        for ca_id in intent.ids_of(fingerprint):
            changes = history.lists((zone["id"], ca_id))
            if _last(changes, name) != "ours" or any(not row.pair for row, _ in changes):
                continue
            there, wanted = name in zone["lists"].get(ca_id, []), words == {"approved"}
            if there is not wanted:
                decided = "approved" if wanted else "released, or never approved"
                found.append(f"{name} is {decided}, and {'on' if there else 'not on'} the list of {ca_id}")
    return found


def _last(changes: Iterable[tuple[Call, frozenset[str]]], name: str) -> str:
    """Who changed whether a list holds the hostname last: ours, theirs, or nobody, which counts as ours."""
    there, who = False, "ours"
    for row, left in changes:
        if (name in left) != there:
            there, who = name in left, "theirs" if row.row["origin"] == "dashboard" else "ours"
    return who


def _of_rules(
    driver: Driver, acts: Acts, history: History, intent: Intent, zone: dict[str, Any], name: str, cas: set[str]
) -> list[str]:
    """One hostname as clients meet it: without a certificate, and with one of a CA that has it on its list."""
    modes = intent.mode_now(name)
    changes = [(row, actions(row.row["after"]).get(name, NONE)) for row in history.rule_changes(zone["id"])]
    listed = [
        ca for ca in acts.cas if any(name in zone["lists"].get(i, []) for i in _ids(intent, acts, ca) if i in cas)
    ]
    if len(modes) > 1 or _last_rule(changes) != "ours" or not listed:
        return []
    (mode,) = modes
    status = driver.edge.client(name)["status"]
    found = []
    if (status == 403) is not (mode == "block"):
        found.append(f"{name} is approved for {mode}, and a client without a certificate gets {status}")
    for ca in listed:
        judged = driver.edge.client(name, make_leaf("client", issuer=acts.roots[ca["id"]]).pem)
        if judged["status"] == 403:
            found.append(f"{name}: a client of {ca['name']} is refused: {judged['why']}")
    return found


def _last_rule(changes: list[tuple[Call, str]]) -> str:
    was, who = NONE, "ours"
    for row, action in changes:
        if action != was:
            was, who = action, "theirs" if row.row["origin"] == "dashboard" else "ours"
    return who


def _ids(intent: Intent, acts: Acts, ca: dict[str, Any]) -> set[str]:
    return set(intent.ids_of(acts.roots[ca["id"]].fingerprint))
