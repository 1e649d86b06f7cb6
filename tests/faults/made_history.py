"""A history made by hand, for tests of the model checker: good as it begins, and theirs to spoil."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.certs import make_ca
from tests.faults.model import History, violations

ZONE, OTHER_ZONE, CA_ID = "a" * 32, "c" * 32, "ca-at-the-edge"
ZONES = {ZONE: "zone.example", OTHER_ZONE: "other.example"}
MADE = make_ca("Model Root")
PRINT = MADE.fingerprint
LIST = f"/client/v4/zones/{ZONE}/certificate_authorities/hostname_associations"
RULESET = f"/client/v4/zones/{ZONE}/rulesets/r1/rules"
ENTRYPOINT = f"/client/v4/zones/{ZONE}/rulesets/phases/http_request_firewall_custom/entrypoint"
UPLOAD = f"/client/v4/accounts/{'b' * 32}/mtls_certificates"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEPT, NEW = "kept.zone.example", "new.zone.example"


def rule(*hostnames: str, action: str = "block", ref: str = "byoca-0a1b-0", **more: Any) -> dict[str, Any]:
    """One rule as the stand-in keeps it."""
    names = " ".join(f'"{name}"' for name in hostnames)
    expression = f"(http.host in {{{names}}} and (not cf.tls_client_auth.cert_presented))"
    return {"id": ref, "ref": ref, "expression": expression, "action": action, "enabled": True, **more}


class Made:
    """One CA, one hostname approved for block: the list is read, sent once, read back; the rules too."""

    def __init__(self) -> None:
        self.audit: list[dict[str, Any]] = []
        self.named: dict[str, list[str]] = {}
        self.calls: list[dict[str, Any]] = []
        self.restarts: list[float] = []
        self.lags: list[tuple[float, float, float]] = []
        self.event("ca:admitted", "ca", "1", {"fingerprint": PRINT}, second=0)
        self.event("ca:live", "ca", "1", {"cloudflare_id": CA_ID}, second=1)
        self.request("7", "cover", NEW, second=2, mode="block")
        self.edit([], [KEPT], second=3)
        self.read(10)
        self.put([KEPT], [KEPT, NEW], 11)
        self.read(12)
        self.call("GET", ENTRYPOINT, 13)
        self.rules([], [rule(NEW)], 14, "POST")

    # The audit log

    def event(self, action: str, kind: str, subject: str, after: Any, *, second: float, **more: Any) -> dict[str, Any]:
        number = len(self.audit) + 1
        made = {
            "seq": number, "prev_hash": f"h{number - 1}", "hash": f"h{number}", "action": action, "hostnames": [],
            "subject_type": kind, "subject_id": subject, "after": after, "before": None, "zone": "",
            "at": at(second), **more,
        }  # fmt: skip
        self.audit.append(made)
        return made

    def request(
        self, number: str, kind: str, *names: str, second: float, mode: str = "verify", ca: str = PRINT
    ) -> None:
        """Asked for and approved in one moment."""
        created = {"kind": kind, "ca": ca, "mode": mode}
        self.named[number] = list(names)
        self.event("request:created", "request", number, created, second=second, hostnames=list(names))
        self.move("approved", number, second)

    def move(self, word: str, number: str, second: float, before: str = "approved") -> None:
        names, before_it = self.named.get(number, []), {"state": before}
        self.event(f"request:{word}", "request", number, {}, second=second, hostnames=names, before=before_it)

    def without(self, action: str) -> None:
        """The log as it were without some events, its chain whole."""
        self.audit = [event for event in self.audit if event["action"] != action]
        for number, event in enumerate(self.audit, start=1):
            event |= {"seq": number, "prev_hash": f"h{number - 1}", "hash": f"h{number}"}

    # The request log

    def call(self, method: str, path: str, second: float, **more: Any) -> dict[str, Any]:
        row = {
            "seq": len(self.calls) + 1, "at": at(second), "origin": "api", "method": method, "path": path, "query": {},
            "body": None, "status": 200, "token_id": "ours", "violation": None, "fault": None, "peer_port": 4000,
            "started_ns": int(second * 1e9), "ended_ns": int((second + 0.1) * 1e9), "applied": False, "before": None,
            "after": None, **more,
        }  # fmt: skip
        self.calls.append(row)
        return row

    def read(self, second: float, **more: Any) -> dict[str, Any]:
        return self.call("GET", LIST, second, query={"mtls_certificate_id": [CA_ID]}, **more)

    def put(
        self, before: list[str], after: list[str], second: float, *, sent: list[str] | None = None, **more: Any
    ) -> dict[str, Any]:
        """`sent` where it is not what was left there."""
        body = json.dumps({"mtls_certificate_id": CA_ID, "hostnames": after if sent is None else sent})
        row = {"body": body, "applied": True, "before": before, "after": after}
        return self.call("PUT", LIST, second, **{**row, **more})

    def rules(
        self, before: list[dict[str, Any]], after: list[dict[str, Any]], second: float, method: str = "PATCH",
        **more: Any,
    ) -> dict[str, Any]:  # fmt: skip
        return self.call(method, RULESET, second, **{"applied": True, "before": before, "after": after, **more})

    def rewrite(self, before: list[dict[str, Any]], after: list[dict[str, Any]], second: float) -> None:
        """The same run reads the rules and writes them."""
        self.call("GET", ENTRYPOINT, second - 1)
        self.rules(before, after, second)

    def edit(self, before: list[str], after: list[str], second: float) -> None:
        """By somebody else."""
        self.put(before, after, second, token_id=None, origin="dashboard", peer_port=None)

    def upload(self, second: float) -> None:
        self.call("POST", UPLOAD, second, applied=True, body=json.dumps({"certificates": MADE.pem}))

    def first(self, method: str, path: str = LIST) -> dict[str, Any]:
        """The first call of the portal of this kind."""
        return next(r for r in self.calls if (r["method"], r["path"], r["token_id"]) == (method, path, "ours"))

    def history(self) -> History:
        return History(self.calls, {"ours"}, ZONES, self.restarts, self.lags)

    def found(self) -> list[str]:
        return violations(self.audit, self.history())


def at(second: float) -> str:
    return (NOON + timedelta(seconds=second)).isoformat()
