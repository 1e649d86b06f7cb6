"""The model checker: what must hold in every history, whatever faults it went through.

It knows nothing of the product's code. It replays two logs that are written by different programs, the portal's audit
log (as its API gives it) and the stand-in's request log, and says in sentences what they break. Numbers are those of
the invariants in docs/reliability.md.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from tests.faults.model.calls import CA, UPLOAD, History
from tests.faults.model.intent import IN_FLIGHT, Intent
from tests.faults.model.lists import lists, overlaps
from tests.faults.model.rules import rules


def violations(audit: Iterable[dict[str, Any]], history: History) -> list[str]:
    """Sentences, none for a good history. `audit` is the whole log, oldest first."""
    intent = Intent(list(audit), history)
    found = [f"INV-9: {row} breaks the API: {row.row['violation']}" for row in history.ours if row.row["violation"]]
    found += _chain(intent.events)
    found += lists(intent, history)
    found += overlaps(history)
    found += rules(intent, history)
    found += _stopped(intent, history)
    found += _uploads(intent, history)
    return found


def _stopped(intent: Intent, history: History) -> list[str]:
    """INV-18: nothing is written while it is stopped: in a zone, in the account, everywhere."""
    found = []
    for since, until, event in intent.stops:
        ids = {key for key, name in history.zones.items() if name == event["zone"]}
        found += [
            f"INV-18: {call} writes although writes are stopped since {since:%H:%M:%S}"
            for call in history.ours
            if call.is_write and (not event["zone"] or any(f"/zones/{key}/" in call.path for key in ids))
            if history.began(call) > since + IN_FLIGHT and (until is None or history.began(call) < until)
        ]
    return found


def _uploads(intent: Intent, history: History) -> list[str]:
    """INV-23: the same certificate takes one slot, until that slot is given up."""
    ours = {id(row) for row in history.ours}
    taken: set[str] = set()
    found = []
    for call in history.rows:
        if not call.applied:
            continue
        if call.method == "DELETE" and (gone := CA.search(call.path)):
            # One whose id the portal never learnt may have been any.
            known = intent.fingerprints.get(gone[1])
            taken = taken - {known} if known else set()
        elif id(call) in ours and call.method == "POST" and UPLOAD.match(call.path):
            print_ = fingerprint(str(call.body.get("certificates")))
            if print_ in taken:
                found.append(f"INV-23: {call} takes a second slot for the same CA")
            taken.add(print_)
    return found


def fingerprint(pem: str) -> str:
    """SHA-256 of the first certificate's DER, in lower-case hex."""
    text = pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
    return hashlib.sha256(base64.b64decode(text)).hexdigest()


def _chain(events: list[dict[str, Any]]) -> list[str]:
    """INV-32: no gap, and each event names the one before it."""
    return [
        f"INV-32: event {event['seq']} does not follow event {before['seq']}"
        for before, event in pairwise(events)
        if event["seq"] != before["seq"] + 1 or event["prev_hash"] != before["hash"]
    ]


__all__ = ["History", "Intent", "violations"]
