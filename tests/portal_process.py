"""The whole portal as `make up` runs it, in processes of its own, for tests that see it from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis

ROOT = Path(__file__).resolve().parent.parent
START_DEADLINE_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: Callable[[], Any], *, within_s: float = 90, every_s: float = 0.1, saying: str = "") -> Any:
    """Poll from outside until `what` is truthy; the deadline only ends a test that cannot pass."""
    deadline = time.monotonic() + within_s
    while True:
        if value := what():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {within_s} s: {saying or what}")
        time.sleep(every_s)


class PortalProcess:
    """`manage.py up` with a data folder and ports of its own. On PostgreSQL it gets a database of its own too."""

    def __init__(self, **environment: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="byoca-up-"))
        self.url = f"http://127.0.0.1:{free_port()}"
        self.database = ""
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BYOCA_")},
            "BYOCA_DATA_DIR": str(self.folder),
            "BYOCA_PORT": self.url.rpartition(":")[2],
            "BYOCA_SANDBOX_PORT": str(free_port()),
            "BYOCA_SWEEP_INTERVAL_S": "2",
            "BYOCA_TICK_S": "1",
            "BYOCA_CALL_LIMIT": "1000000",
            **environment,
        }
        self.command = [sys.executable, "manage.py", "up"]
        self.process: subprocess.Popen[str] | None = None
        self.log = self.folder / "up.log"

    def __enter__(self) -> PortalProcess:
        self._own_database()
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        self._drop_database()

    def start(self) -> None:
        self._said_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=self.environment, text=True,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_for(self._serves, within_s=START_DEADLINE_S, saying="the portal serves its sign-in page")
        # Sweeps are far more frequent here than anywhere else; the budget has tests of its own.
        unlimited = {"rate_limit_on": False, "rate_limit": 1_000_000}
        httpx.post(f"{self.edge_origin}/_sandbox/switches", json=unlimited).raise_for_status()

    def _serves(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"up ended: {self.log.read_text()[-2000:]}")
        return "Ctrl-C stops everything" in self.log.read_text()[self._said_before :]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask `up` to end and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def children(self) -> dict[int, str]:
        """Process id -> command line of what `up` started."""
        assert self.process is not None
        listed = subprocess.run(
            ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return {int(line.split(None, 1)[0]): line.split(None, 1)[1] for line in listed.stdout.splitlines()}

    @property
    def demo(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "demo.json").read_text())
        return value

    def api(self, person: str) -> httpx.Client:
        """The REST API as one of the demo's people, with a connection per call.

        One that is kept may be closed by the web server, or with it, in the moment that it is used again.
        """
        token = self.demo["people"][person]["token"]
        headers, alone = {"Authorization": f"Bearer {token}"}, httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=30, limits=alone)

    def edge(self) -> httpx.Client:
        """The stand-in's own API, as anybody with its token."""
        sandbox = self.demo["sandbox"]
        headers = {"Authorization": f"Bearer {sandbox['token']}"}
        return httpx.Client(base_url=sandbox["base_url"], headers=headers, timeout=30)

    @property
    def edge_origin(self) -> str:
        return str(self.demo["sandbox"]["base_url"]).split("/client")[0]

    def _own_database(self) -> None:
        """PostgreSQL: a fresh database beside the one DATABASE_URL names. Redis: without what the last portal left."""
        if redis_url := self.environment.get("REDIS_URL", ""):
            with redis.Redis.from_url(redis_url) as client:
                client.flushdb()
        url = self.environment.get("DATABASE_URL", "")
        if not url.startswith("postgres"):
            self.environment.pop("DATABASE_URL", None)
            return
        self.database = f"byoca_up_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{self.database}"')
        self.environment["DATABASE_URL"] = f"{url.rpartition('/')[0]}/{self.database}"

    def _drop_database(self) -> None:
        if self.database:
            with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
