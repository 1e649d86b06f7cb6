"""A real sandbox process on a free port, for any test that needs an edge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent


class SandboxProcess:
    """`with SandboxProcess() as edge:` starts it, seeded. `data_dir` holds its store, by default a temporary folder."""

    def __init__(self, data_dir: Path | None = None, *, seed: bool = True, port: int = 0) -> None:
        self._folder = None if data_dir else tempfile.TemporaryDirectory(prefix="sandbox-")
        self.data_dir = data_dir or Path(self._folder.name)  # type: ignore[union-attr]
        self._seed, self._port = seed, port
        self.process: subprocess.Popen[str] | None = None
        self.origin = ""

    def __enter__(self) -> SandboxProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._folder:
            self._folder.cleanup()

    def start(self) -> None:
        """Returns when it listens. Raises RuntimeError with its words when it ends instead."""
        command = [sys.executable, "-m", "apps.sandbox", "--port", str(self._port), "--data-dir", str(self.data_dir)]
        self.process = subprocess.Popen(
            [*command, "--seed"] if self._seed else command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        said = self.process.stdout.readline()  # type: ignore[union-attr]
        if not said.startswith("listening on "):
            rest, _ = self.process.communicate(timeout=10)
            raise RuntimeError(f"The sandbox did not start: {said}{rest}")
        self.origin = said.removeprefix("listening on ").strip()
        self._port = int(self.origin.rpartition(":")[2])

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._end(lambda process: process.terminate())

    def kill(self) -> int:
        """SIGKILL: whatever was not yet on disk is lost."""
        return self._end(lambda process: process.kill())

    def restart(self) -> None:
        """The same store, the same port."""
        self.stop()
        self.start()

    @property
    def base_url(self) -> str:
        return f"{self.origin}/client/v4"

    @property
    def card(self) -> dict[str, Any]:
        return json.loads((self.data_dir / "sandbox.json").read_text())

    @property
    def token(self) -> str:
        return self.card["token"]

    @property
    def account_id(self) -> str:
        return self.card["account_id"]

    @property
    def zones(self) -> dict[str, str]:
        """Name -> id."""
        return self.card["zones"]

    def state(self) -> dict[str, Any]:
        return self._control("GET", "state")

    def requests(self, since: int = 0, *, origin: str = "api") -> list[dict[str, Any]]:
        """API calls after `since`, in the order of their effect. `origin="all"` includes edits past the API."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._control("GET", f"requests?since={since}&origin={origin}")
            found += page["requests"]
            if not page["more"]:
                return found
            since = found[-1]["seq"]

    def last_seq(self) -> int:
        """The number of the newest entry of the log; 0 while there is none."""
        return int(self._control("GET", "requests?since=1000000000")["last_seq"])

    def violations(self) -> list[str]:
        return [entry["violation"] for entry in self.requests() if entry["violation"]]

    def switch(self, **switches: Any) -> dict[str, Any]:
        """For instance down=True, association_lag_s=30, profile="realistic" or reset=True. Returns all switches."""
        return self._control("POST", "switches", switches)

    def faults(self, *rules: dict[str, Any], random: dict[str, Any] | None = None) -> dict[str, Any]:
        """Append `{"match": ..., "do": ...}` rules to the script, or start the random mode. Returns the script."""
        sent: dict[str, Any] = {"rules": list(rules)}
        return self._control("POST", "faults", sent if random is None else {**sent, "random": random})

    def fault(self, kind: str, match: dict[str, Any] | None = None, **fields: Any) -> None:
        """One rule, for instance fault("timeout", {"method": "PUT"}, applied=True)."""
        self.faults({"match": match or {}, "do": {"fault": kind, **fields}})

    def faults_left(self) -> int:
        """How many rules still wait for calls."""
        return self._control("GET", "faults")["left"]

    def clear_faults(self) -> None:
        self._control("POST", "faults", {"replace": True})

    def hold(self, at: str, **match: Any) -> None:
        """Park the next matching call at before_apply, after_apply_before_reply or mid_request_body."""
        self.fault("hold", match, at=at)

    def held(self, wait_s: float = 20, *, after: int = 0) -> dict[str, Any]:
        """The oldest parked call with an id above `after`; waits for it. Raises AssertionError when none comes."""
        found = self._control("GET", f"holds?wait_s={wait_s}&after={after}", timeout=wait_s + 10)["holds"]
        if not found:
            raise AssertionError(f"No call was parked within {wait_s} s. The script: {self._control('GET', 'faults')}")
        return found[0]

    def release(self, hold: dict[str, Any], *, apply: bool = True, reply: str = "send") -> None:
        """End a parked call. `apply` counts before the effect only; `reply` is "send" or "drop"."""
        self._control("POST", f"holds/{hold['id']}", {"apply": apply, "reply": reply})

    def client(self, host: str, certificate: str = "", *, path: str = "/", method: str = "GET") -> dict[str, Any]:
        """Would the edge let this client in? `certificate` is PEM, the client's own first."""
        sent = {"host": host, "certificate": certificate, "path": path, "method": method}
        return self._control("POST", "client", sent)

    def revoke_token(self, revoked: bool = True, token_id: str | None = None) -> None:
        self.change_token(token_id, revoked=revoked)

    def change_token(self, token_id: str | None = None, **changes: Any) -> None:
        """revoked, status (active, disabled, expired), expires_on, permissions; of the first token without an id."""
        self._control("POST", "tokens", {"id": token_id, **changes})

    def make_token(self, name: str = "test", **fields: Any) -> str:
        """A further token: kind, permissions and zones (names or ids) as the control port takes them."""
        return self._control("POST", "tokens", {"name": name, **fields})["token"]

    def add_account(self, name: str) -> str:
        """A further account, without zones and tokens. Returns its id."""
        return self._control("POST", "accounts", {"name": name})["id"]

    def seed(self, *zones: str | dict[str, Any], account_id: str | None = None) -> dict[str, str]:
        """Many zones at once, by name or as {name, status, paused, lists}. Returns name -> id."""
        return self._control("POST", "seed", {"zones": list(zones), "account_id": account_id})["zones"]

    def add_certificate(self, name: str, pem: str, **fields: Any) -> str:
        """A row past quota and API; fields are ca and type. Returns its id."""
        return self._control("POST", "certificates", {"name": name, "certificates": pem, **fields})["id"]

    def delete_certificate(self, certificate_id: str) -> None:
        """Past the API, with all its lists."""
        self._control("POST", "certificates/delete", {"id": certificate_id})

    def edit(self, zone: str, certificate_id: str | None, hostnames: list[str]) -> list[str]:
        """Replace a list past the API. `zone` is a name or an id."""
        sent = {"zone": zone, "mtls_certificate_id": certificate_id, "hostnames": hostnames}
        return self._control("POST", "edit", sent)["hostnames"]

    def edit_rule(self, zone: str, rule: str, **changes: Any) -> dict[str, Any]:
        """`rule` is an id or a ref."""
        return self._control("POST", "rules/edit", {"zone": zone, "rule": rule, "changes": changes})

    def add_rule(self, zone: str, rule: dict[str, Any], position: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._control("POST", "rules/add", {"zone": zone, "rule": rule, "position": position})

    def delete_rule(self, zone: str, rule: str) -> dict[str, Any]:
        return self._control("POST", "rules/delete", {"zone": zone, "rule": rule})

    def add_zone(self, name: str, status: str = "active") -> str:
        return self._control("POST", "zones", {"name": name, "status": status})["id"]

    def remove_zone(self, name: str) -> None:
        self._control("POST", "zones", {"name": name, "remove": True})

    def hostnames(self, zone: str, certificate_id: str) -> list[str]:
        """The list as it is at the edge, without an API call."""
        found = next(item for item in self.state()["zones"] if zone in (item["name"], item["id"]))
        return found["lists"].get(certificate_id, [])

    def rules(self, zone: str) -> list[dict[str, Any]]:
        found = next(item for item in self.state()["zones"] if zone in (item["name"], item["id"]))
        return found["ruleset"]["rules"] if found["ruleset"] else []

    def _control(self, method: str, path: str, body: dict[str, Any] | None = None, timeout: float = 10) -> Any:
        answer = httpx.request(method, f"{self.origin}/_sandbox/{path}", json=body, timeout=timeout, trust_env=False)
        if answer.status_code != 200:
            raise AssertionError(f"{path}: {answer.status_code} {answer.text}")
        return answer.json()

    def _end(self, how: Any) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            how(self.process)
        self.process.communicate(timeout=15)
        code = self.process.returncode
        self.process = None
        return code
