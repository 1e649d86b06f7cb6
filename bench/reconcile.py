"""How many calls, how much time and how much memory the reconciler takes, beside a plain script with the official SDK.

    .venv/bin/python bench/reconcile.py                     # some minutes; prints a table, and JSON with --json FILE
    .venv/bin/python bench/reconcile.py --per-request 100   # as many changes in fewer requests
    .venv/bin/python bench/reconcile.py --cycles 10000      # the long memory run
    .venv/bin/python bench/reconcile.py --paced             # a budget too small for one window: takes over five minutes

Ends with 1 when a limit is broken. Everything is real: `manage.py up` with its workers, broker, database and the
stand-in for Cloudflare in processes of their own. Calls are counted in the stand-in's log of requests, not in the
portal. Not part of the tests.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from cloudflare import Cloudflare

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.memory import memory_over_cycles, run_in
from tests.certs import make_ca
from tests.portal_process import PortalProcess, wait_for

LISTS, RULES = "/hostname_associations", "/rulesets"
WINDOW_S = 300
# (part, number) -> the most it may be.
LIMITS = {
    ("portal", "calls_per_pair_most"): 3,
    ("portal", "rule_calls_per_zone_most"): 3,
    ("portal", "refused_429"): 0,
    ("portal", "violations"): 0,
    ("portal", "wall_to_allowed"): 1.3,
    ("approve_to_edge", "median_s"): 1.0,
    ("memory", "growth_kib"): 2048,
    ("memory", "writes"): 0,
}
TIGHTEN = """
import sys
from apps.inventory.models import Account
Account.objects.update(call_limit=int(sys.argv[1]), call_share_percent=50)
"""


class Bench:
    """One run on one portal."""

    def __init__(self, portal: PortalProcess, options: argparse.Namespace) -> None:
        self.portal, self.options = portal, options
        self.zones = [f"zone{n:02}.example" for n in range(options.zones)]
        self.per_zone = max(options.changes // (options.zones * options.cas), 1)
        self.engineer, self.engineer2 = portal.api("engineer"), portal.api("engineer2")
        self.owner, self.admin = portal.api("owner"), portal.api("admin")

    def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        url = f"{self.portal.edge_origin}/_sandbox/{path}"
        answer = httpx.post(url, json=body, timeout=60) if body is not None else httpx.get(url, timeout=60)
        return ok(answer)

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.control(f"requests?since={since}")["requests"]
        return rows

    def last_seq(self) -> int:
        return int(self.control("requests?since=100000000")["last_seq"])

    def prepare(self) -> None:
        """An edge with nothing but the bench's zones, and the CAs uploaded through the portal."""
        self._clear()
        for name in self.zones:
            self.control("zones", {"name": name})
        self.cas = [self._upload(f"Bench Root {n}") for n in range(self.options.cas)]
        wait_for(self._all_read, within_s=300, saying="every zone is read with every CA")

    def _clear(self) -> None:
        state = self.control("state")
        with self.portal.edge() as edge:
            for zone in state["zones"]:
                for ca_id in zone["lists"]:
                    self.control("edit", {"zone": zone["id"], "mtls_certificate_id": ca_id, "hostnames": []})
            account = self.portal.demo["sandbox"]["account_id"]
            for row in ok(edge.get(f"/accounts/{account}/mtls_certificates"))["result"]:
                if row["ca"] and row.get("type", "custom") == "custom":
                    edge.delete(f"/accounts/{account}/mtls_certificates/{row['id']}")
        for zone in state["zones"]:
            self.control("zones", {"name": zone["name"], "remove": True})

    def _upload(self, name: str) -> dict[str, Any]:
        body = {"name": name, "pem": make_ca(name).pem, "client_issuers": "self"}
        made = ok(self.engineer.post("/cas/", json=body))
        path = f"/cas/{made['id']}/"
        live = wait_for(
            lambda: (row := ok(self.engineer.get(path)))["state"] == "live" and row, within_s=120, saying="CA is live"
        )
        return dict(live)

    def _all_read(self) -> bool:
        found = ok(self.owner.get("/zones/", params={"page_size": 200}))["results"]
        read = {row["name"] for row in found if row["read_at"]}
        seen = {row["path"] + str(row["query"]) for row in self.requests() if row["path"].endswith(LISTS)}
        return read >= set(self.zones) and all(
            any(zone_id in key and ca["cloudflare_id"] in key for key in seen)
            for ca in self.cas
            for zone_id in [row["cloudflare_id"] for row in found if row["name"] in self.zones]
        )

    def _request(self, ca: dict[str, Any], hostnames: list[str], mode: str = "block") -> dict[str, Any]:
        body = {"kind": "cover", "ca": ca["id"], "hostnames": hostnames, "mode": mode, "reason": "Bench"}
        body |= {"override": "No client knows them"} if mode == "block" else {}
        return dict(ok(self.engineer.post("/requests/", json=body)))

    def _planned(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            wait_for(
                lambda r=row: (now := ok(self.owner.get(f"/requests/{r['id']}/")))["digest"] and now,  # type: ignore[misc]
                within_s=1800, saying="a plan is there",
            )
            for row in rows
        ]  # fmt: skip

    def _approve(self, row: dict[str, Any]) -> None:
        ok(self.engineer2.post(f"/requests/{row['id']}/approve/", json={"digest": row["digest"]}))

    def converge(self) -> dict[str, Any]:
        """Everything is planned, then approved while writes are stopped; then the stop is lifted, and the clock runs.

        Planned before the stop, because the rules of a plan are tried at Cloudflare only while writing is allowed.
        """
        rows = self._planned([self._request(ca, names) for ca in self.cas for names in self._portions()])
        stop = ok(self.engineer.post("/stops/", json={"scope": "everything", "reason": "Bench: collect approvals"}))
        for row in rows:
            self._approve(row)
        time.sleep(3)  # Runs that only read, caused by the approvals, are over before the count begins.
        if self.options.paced:
            self._tighten()
        since, began = self.last_seq(), time.monotonic()
        ok(self.admin.post(f"/stops/{stop['id']}/lift/", json={"reason": "Bench: go"}))
        wait_for(lambda: self._at_edge() and self._ended(rows), within_s=1800, every_s=0.2, saying="all is at the edge")
        wall_s = time.monotonic() - began
        return {"wall_s": round(wall_s, 2), **self._calls(since), **self._allowed(since, wall_s)}

    def _portions(self) -> list[list[str]]:
        """All hostnames of one CA, a request's worth in each list. Next to each other in it are those of one zone."""
        names = [f"h{n}.{zone}" for zone in self.zones for n in range(self.per_zone)]
        size = self.options.per_request
        return [names[begin : begin + size] for begin in range(0, len(names), size)]

    def _tighten(self) -> None:
        """A small budget, and an empty window to begin with: what the plans took is not to be paid for here."""
        run_in(self.portal, TIGHTEN, str(self.options.call_limit))
        time.sleep(WINDOW_S + 10)

    def _at_edge(self) -> bool:
        lists = {zone["name"]: zone["lists"] for zone in self.control("state")["zones"]}
        return all(
            len(lists[zone].get(ca["cloudflare_id"], [])) == self.per_zone for zone in self.zones for ca in self.cas
        )

    def _ended(self, rows: list[dict[str, Any]]) -> bool:
        states: set[str] = set()
        for row in reversed(rows):
            states.add(ok(self.owner.get(f"/requests/{row['id']}/"))["state"])
            if states != {"done"}:
                break
        if states - {"approved", "applying", "done"}:
            raise AssertionError(f"a request ended as {states}")
        return states == {"done"}

    def _calls(self, since: int) -> dict[str, Any]:
        pairs: Counter[tuple[str, str]] = Counter()
        rules: Counter[str] = Counter()
        writes = 0
        rows = self.requests(since)
        for row in rows:
            zone = row["path"].partition("/zones/")[2].partition("/")[0]
            if row["path"].endswith(LISTS):
                query, body = row["query"].get("mtls_certificate_id", [""]), json.loads(row["body"] or "{}")
                pairs[zone, body.get("mtls_certificate_id") or query[-1]] += 1
                writes += row["method"] == "PUT"
            elif RULES in row["path"]:
                rules[zone] += 1
        return {
            "calls": len(rows),
            "list_writes": writes,
            "calls_per_pair_most": max(pairs.values(), default=0),
            "calls_per_pair_mean": round(statistics.mean(pairs.values()), 2) if pairs else 0,
            "rule_calls_per_zone_most": max(rules.values(), default=0),
            "refused_429": sum(row["status"] == 429 for row in rows),
            "violations": sum(bool(row["violation"]) for row in rows),
        }

    def _allowed(self, since: int, wall_s: float) -> dict[str, Any]:
        """The least time in which a budget lets that many calls go, when its window was empty at the start."""
        if not self.options.paced:
            return {"budget": "not binding: all calls fit into one window"}
        calls, cap = len(self.requests(since)), int(self.options.call_limit * 0.5 * 0.95)
        allowed_s = (calls - 1) // cap * WINDOW_S
        return {"budget": f"{cap} calls per {WINDOW_S} s", "allowed_s": allowed_s,
                "wall_to_allowed": round(wall_s / allowed_s, 2) if allowed_s else None}  # fmt: skip

    def sdk(self) -> dict[str, Any]:
        """The same changes by a plain script: read the list, add one hostname, replace the list."""
        sandbox = self.portal.demo["sandbox"]
        client = Cloudflare(api_token=sandbox["token"], base_url=sandbox["base_url"], max_retries=0)
        account = sandbox["account_id"]
        zone_ids = {zone["name"]: zone["id"] for zone in self.control("state")["zones"]}
        ids = []
        for n in range(self.options.cas):
            pem = make_ca(f"Script Root {n}").pem
            made = client.mtls_certificates.create(account_id=account, ca=True, certificates=pem, name=f"Script {n}")
            ids.append(made.id)
        since, began = self.last_seq(), time.monotonic()
        for ca_id in ids:
            for zone in self.zones:
                for n in range(self.per_zone):
                    lists = client.certificate_authorities.hostname_associations
                    seen = lists.get(zone_id=zone_ids[zone], mtls_certificate_id=ca_id)
                    names = sorted({*(seen.hostnames or []), f"h{n}.{zone}"})
                    lists.update(zone_id=zone_ids[zone], mtls_certificate_id=ca_id, hostnames=names)
        wall_s = time.monotonic() - began
        mine = [row for row in self.requests(since) if any(str(i) in f"{row['query']}{row['body']}" for i in ids)]
        return {"calls": len(mine), "wall_s": round(wall_s, 2)}

    def latency(self) -> dict[str, Any]:
        """From the approval's POST to the hostname being in the edge's list, one after another."""
        taken = []
        for n in range(self.options.samples):
            zone, ca = self.zones[n % len(self.zones)], self.cas[0]
            name = f"late{n}.{zone}"
            (row,) = self._planned([self._request(ca, [name], mode="verify")])
            began = time.monotonic()
            self._approve(row)
            wait_for(lambda z=zone, c=ca, h=name: h in self._list(z, c), within_s=120, every_s=0.01)  # type: ignore[misc]
            taken.append(time.monotonic() - began)
            wait_for(lambda r=row: self._ended([r]), within_s=120, every_s=0.1)  # type: ignore[misc]
        return {"samples": len(taken), "median_s": round(statistics.median(taken), 3), "worst_s": round(max(taken), 3)}

    def _list(self, zone: str, ca: dict[str, Any]) -> list[str]:
        found = next(item for item in self.control("state")["zones"] if item["name"] == zone)
        return list(found["lists"].get(ca["cloudflare_id"], []))


def ok(answer: httpx.Response) -> Any:
    if answer.status_code >= 300:
        raise AssertionError(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
    return answer.json()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--zones", type=int, default=20)
    parser.add_argument("--cas", type=int, default=2)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--per-request", type=int, default=1, help="hostnames of one request")
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--cycles", type=int, default=2000, help="readings by one worker child; 0 leaves it out")
    parser.add_argument("--paced", action="store_true", help="with a budget that takes two windows")
    parser.add_argument("--call-limit", type=int, default=240, help="calls per five minutes, with --paced")
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    # Sweeps of their own accord would be counted with the changes: they are far apart here.
    with PortalProcess(BYOCA_SWEEP_INTERVAL_S="3600") as portal:
        bench = Bench(portal, options)
        bench.prepare()
        results["portal"] = bench.converge()
        results["sdk_script"] = bench.sdk()
        if not options.paced:
            results["approve_to_edge"] = bench.latency()
    if options.cycles:
        results["memory"] = memory_over_cycles(options.cycles)
    for name, values in results.items():
        print(f"{name}\n" + "\n".join(f"  {key:<26} {value}" for key, value in values.items()))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    broken = [
        f"{part}: {name} is {results[part][name]}, at most {limit}"
        for (part, name), limit in LIMITS.items()
        if (results.get(part, {}).get(name) or 0) > limit
    ]
    print("\n".join(broken) or "All limits are kept.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
