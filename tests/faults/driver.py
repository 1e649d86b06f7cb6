"""Drives a whole portal and its stand-in from outside: people by the API, faults by control port, parts by signal."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from byoca_portal.supervisor.folder import broker_socket
from tests.certs import make_ca
from tests.faults.edge import Edge
from tests.faults.model import violations
from tests.faults.portals import FaultPortal
from tests.faults.sockets import inode_of, sockets
from tests.portal_process import ROOT, wait_for

MARKS = {
    "web": "gunicorn",
    "worker": "--quiet worker",
    "beat": "--quiet beat",
    "sandbox": "sandbox --port",
    "broker": "valkey-server",
}
ENDED = ("done", "failed", "partly_done", "stale", "rejected", "withdrawn")
LIST_PATH = "hostname_associations"
# One call ends after this many seconds; a lease is over after twice as long.
TEMPO = {
    "BYOCA_EDGE_DEADLINE_S": "3",
    "BYOCA_PREVIEW_DEADLINE_S": "3",
    "BYOCA_LEASE_S": "6",
    "BYOCA_SWEEP_INTERVAL_S": "5",
}


class Refused(AssertionError):
    """The portal did not do what was asked of its API. `status` is the answer's."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
        self.status = answer.status_code


def ok(answer: httpx.Response) -> Any:
    """What the API answered. Raises Refused."""
    if answer.status_code >= 300:
        raise Refused(answer)
    return answer.json()


class Driver:
    """One running portal, its people and its edge."""

    def __init__(self, portal: FaultPortal) -> None:
        self.portal = portal
        self.edge = Edge(portal)
        self.tokens = self.edge.tokens
        self._api: dict[str, httpx.Client] = {}

    # People

    def api(self, person: str) -> httpx.Client:
        if person not in self._api:
            self._api[person] = self.portal.api(person)
        return self._api[person]

    def get(self, path: str, person: str = "engineer") -> Any:
        return ok(self.api(person).get(path))

    def pages(self, path: str, person: str = "engineer") -> list[dict[str, Any]]:
        """The rows of every page."""
        rows: list[dict[str, Any]] = []
        for page in itertools.count(1):
            found = self.get(f"{path}?page={page}&page_size=100", person)
            rows += found["results"]
            if not found["next"]:
                break
        return rows

    def send(self, path: str, body: dict[str, Any], person: str) -> Any:
        return ok(self.api(person).post(path, json=body))

    def admit(self, name: str, **fields: str) -> dict[str, Any]:
        """A fresh CA, admitted and due for its upload. `account` is needed where there are several."""
        row: dict[str, Any] = self.send("/cas/", {"name": name, "pem": make_ca(name).pem, **fields}, "engineer")
        return row

    def upload(self, name: str, **fields: str) -> dict[str, Any]:
        return self.ca(self.admit(name, **fields), "live")

    def ca(self, ca: dict[str, Any], state: str) -> dict[str, Any]:
        found: dict[str, Any] = wait_for(
            lambda: (row := self.get(f"/cas/{ca['id']}/"))["state"] == state and row,
            within_s=90, every_s=0.2, saying=f"{ca['name']} is {state}",
        )  # fmt: skip
        return found

    def ask(self, ca: dict[str, Any], *hostnames: str, kind: str = "cover", mode: str = "verify") -> dict[str, Any]:
        override = "Every client was tried in staging." if mode == "block" else ""
        body = {"kind": kind, "ca": ca["id"], "hostnames": list(hostnames), "mode": mode, "reason": "Launch"}
        return self.planned(self.send("/requests/", {**body, "override": override}, "owner"))

    def planned(self, request: dict[str, Any]) -> dict[str, Any]:
        """With its newest plan, which is what can be approved."""
        found: dict[str, Any] = wait_for(
            lambda: (row := self.request(request))["digest"] and row, within_s=90, every_s=0.2, saying="it is planned"
        )
        return found

    def approve(self, row: dict[str, Any], person: str = "engineer2") -> dict[str, Any]:
        body = {"digest": row["digest"], "confirm": row["confirm"]}
        approved: dict[str, Any] = self.send(f"/requests/{row['id']}/approve/", body, person)
        return approved

    def request(self, row: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/requests/{row['id']}/")
        return found

    def ended(self, row: dict[str, Any], within_s: float = 120) -> dict[str, Any]:
        found: dict[str, Any] = wait_for(
            lambda: (now := self.request(row))["state"] in ENDED and now, within_s=within_s, every_s=0.2,
            saying=f"request {row['id']} ends: {self.request(row)['state']}",
        )  # fmt: skip
        return found

    def done(self, row: dict[str, Any], within_s: float = 120) -> dict[str, Any]:
        found = self.ended(row, within_s)
        assert found["state"] == "done", found["state_reason"]
        return found

    def cover(self, ca: dict[str, Any], *hostnames: str, mode: str = "verify") -> dict[str, Any]:
        row = self.ask(ca, *hostnames, mode=mode)
        self.approve(row)
        return self.done(row)

    def answer(self, hostname: str) -> str:
        return str(self.get(f"/hostnames/{hostname}/")["answer"])

    def page(self, path: str) -> str:
        """A page as an administrator's browser gets it."""
        with httpx.Client(base_url=self.portal.url, follow_redirects=True, timeout=30) as browser:
            page = browser.get("/accounts/login/")
            token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
            person = self.portal.demo["people"]["admin"]
            sent = {"csrfmiddlewaretoken": token, "login": "admin", "password": person["password"]}
            browser.post("/accounts/login/", data=sent, headers={"Referer": self.portal.url})
            return browser.get(path).text

    # The edge

    def zone(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = wait_for(
            lambda: next((row for row in self.zones() if row["name"] == name and row["read_at"]), None),
            within_s=90, every_s=0.3, saying=f"{name} is read",
        )  # fmt: skip
        return found

    def zones(self) -> list[dict[str, Any]]:
        return self.pages("/zones/")

    def new_zones(self, *zones: str | dict[str, Any]) -> None:
        """Seed zones, as `edge.seed` takes them, and wait until the portal has read each of them."""
        names = set(self.edge.seed(*zones))
        wait_for(
            lambda: names <= {row["name"] for row in self.zones() if row["read_at"]},
            within_s=180, every_s=0.5, saying="the new zones are read",
        )  # fmt: skip

    def puts(self, zone: str, since: int = 0) -> list[dict[str, Any]]:
        """PUTs of lists of a zone, by whoever has the portal's token."""
        return [row for row in self._calls(zone, since) if row["method"] == "PUT" and LIST_PATH in row["path"]]

    def rule_writes(self, zone: str, since: int = 0) -> list[dict[str, Any]]:
        """Writes of rules of a zone, without those that were only tried."""
        rows = [row for row in self._calls(zone, since) if row["method"] != "GET" and "/rulesets" in row["path"]]
        return [row for row in rows if "dry_run" not in row["query"]]

    def whole(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The calls whose body arrived whole, with it as `sent`; a body that was cut never has an effect."""
        found = []
        for row in rows:
            try:
                found.append({**row, "sent": json.loads(row["body"] or "null")})
            except ValueError:
                assert not row["applied"], row
        return found

    def drift(self, zone: str) -> list[dict[str, Any]]:
        return [row for row in self.pages("/drift/") if row["hostname"].endswith(f".{zone}")]

    def _calls(self, zone: str, since: int) -> list[dict[str, Any]]:
        zone_id = next(item["id"] for item in self.edge.state()["zones"] if item["name"] == zone)
        rows = self.edge.requests(since)
        return [row for row in rows if zone_id in row["path"] and row["token_id"] in self.tokens]

    def at_edge(self, zone: str, ca: dict[str, Any]) -> list[str]:
        return sorted(self.edge.hostnames(zone, ca["cloudflare_id"]))

    def seq(self) -> int:
        rows = self.edge.requests(origin="all")
        return int(rows[-1]["seq"]) if rows else 0

    # The portal's own code, in a process of its own

    def python(self, code: str, *arguments: str) -> str:
        """Run `code` with Django set up as in the portal's processes. Returns what it printed."""
        ended = subprocess.run(
            [sys.executable, "-c", f"import django; django.setup()\n{code}", *arguments],
            cwd=ROOT, env=self._environment(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-2000:]
        return ended.stdout

    def json(self, code: str, *arguments: str) -> Any:
        """As `python`, of code that prints JSON."""
        return json.loads(self.python(code, *arguments))

    @contextmanager
    def more(
        self, *command: str, times: int = 1, program: tuple[str, ...] = ("celery",)
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Further parts beside those of `up`, each in a session of its own. `program`: the module that runs celery."""
        started = [
            subprocess.Popen(
                [sys.executable, "-m", *program, "-A", "byoca_portal", "--quiet", *command], cwd=ROOT,
                env=self._environment(), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for _ in range(times)
        ]  # fmt: skip
        try:
            yield started
        finally:
            for process in started:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _environment(self) -> dict[str, str]:
        edge = {"CLOUDFLARE_API_BASE_URL": self.edge.base_url, "DJANGO_SETTINGS_MODULE": "byoca_portal.settings"}
        if self.portal.redis is None:
            edge["BYOCA_BROKER_SOCKET"] = str(broker_socket(self.portal.folder))
        return {**self.portal.environment, **edge}

    # Parts

    def part(self, name: str) -> int:
        """Process id of one part, once it runs."""
        found: int = wait_for(
            lambda: next((pid for pid, args in self.portal.children().items() if MARKS[name] in args), 0), within_s=60
        )
        return found

    def broker_pid(self) -> int:
        """Process id of the broker: of `up`'s own, or of the server that the tests started for REDIS_URL."""
        return self.portal.redis.pid if self.portal.redis else self.part("broker")

    def pool(self) -> list[int]:
        """The worker's children, which run the tasks."""
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.part("worker"))], capture_output=True, text=True, check=False
        )
        return [int(word) for word in listed.stdout.split()]

    def family(self, name: str) -> list[int]:
        """A part and every process below it."""
        listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [(int(pid), int(parent)) for pid, parent in map(str.split, listed.splitlines())]
        found = [self.part(name)]
        for pid in found:
            found += [child for child, parent in pairs if parent == pid]
        return found

    def caller(self, hold: dict[str, Any]) -> int:
        """The process that made a parked call, by the port it calls from."""
        inode = inode_of(int(hold["peer_port"]))
        found: int = wait_for(
            lambda: next((pid for pid in self.pool() if inode in sockets(pid)), 0), within_s=5, saying="the caller"
        )
        return found

    def is_of_worker(self, hold: dict[str, Any]) -> bool:
        """Whether a worker made the parked call, and not a page."""
        inode = inode_of(int(hold["peer_port"]))
        return any(inode in sockets(pid) for pid in self.pool())

    def kill_worker(self) -> None:
        """SIGKILL to the whole worker, its pool included: `up` starts another."""
        os.killpg(self.part("worker"), signal.SIGKILL)

    @contextmanager
    def stopped(self, *pids: int) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    # Judgement

    def audit(self) -> list[dict[str, Any]]:
        """The whole audit log, oldest first."""
        by_seq = {row["seq"]: row for row in self.pages("/audit/", "auditor")}
        return [by_seq[seq] for seq in sorted(by_seq)]

    def violations(self) -> list[str]:
        """What the model checker says of everything so far."""
        # The audit log last: what it lacks may be on its way, what the request log lacks is not judged.
        history = self.edge.history()
        return violations(self.audit(), history)

    def close(self) -> None:
        for client in self._api.values():
            client.close()
