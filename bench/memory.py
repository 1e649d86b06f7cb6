"""Resident memory of a worker's child that runs the reconciler over and over, without ever being replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.portal_parts import PortalParts
from tests.portal_process import PortalProcess, wait_for

ROOT = Path(__file__).resolve().parent.parent
ZONES = 20
NEVER = "100000000"
CELERY = (sys.executable, "-m", "celery", "-A", "byoca_portal", "--quiet")
# A child is replaced after 500 tasks or 256 MiB as deployed: that would hide a leak here.
WORKER = (
    *CELERY, "worker", "--queues", "maintenance,push,mail,probe,observe", "--concurrency", "1", "--loglevel", "WARNING",
    "--max-tasks-per-child", NEVER, "--max-memory-per-child", NEVER, "--without-mingle", "--without-gossip",
)  # fmt: skip


def run_in(portal: PortalProcess, code: str, *arguments: str) -> str:
    """Run code in a process of its own, with the portal's settings, database and edge. Returns what it printed."""
    socket = portal.folder / "broker" / "valkey.sock"
    environment = {
        **portal.environment,
        "DJANGO_SETTINGS_MODULE": "byoca_portal.settings",
        "CLOUDFLARE_API_BASE_URL": str(portal.demo["sandbox"]["base_url"]),
        "BYOCA_BROKER_SOCKET": str(socket),
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{code}", *arguments],
        cwd=ROOT, env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(done.stderr[-2000:])
    return done.stdout


def memory_over_cycles(cycles: int) -> dict[str, Any]:
    """A worker with one child and a scheduler, on as many sweeps as the child can take, measured ten times.

    `cycles` are complete readings of a zone, counted in the stand-in's log. `growth_kib` is from the second
    measurement to the last: the first fills caches.
    """
    with PortalParts(BYOCA_SWEEP_INTERVAL_S="0.5", BYOCA_TICK_S="0.5") as parts, ExitStack() as processes:
        parts.sandbox.switch(rate_limit_on=False, rate_limit=1_000_000)
        parts.sandbox.seed(*[f"cycle{number:02}.example" for number in range(ZONES)])
        worker = processes.enter_context(_process(parts, *WORKER))
        schedule = str(parts.folder / "beat-schedule")
        processes.enter_context(_process(parts, *CELERY, "beat", "--schedule", schedule, "--pidfile", ""))
        child = wait_for(lambda: _child_of(worker.pid), within_s=60, saying="the worker has a child")
        readings = Readings(parts)
        resident = []
        for part in range(1, 11):
            wait_for(lambda p=part: readings.count() >= cycles * p // 10, within_s=7200, every_s=1)  # type: ignore[misc]
            resident.append(_resident_kib(child))
        if _child_of(worker.pid) != child:
            raise AssertionError("The child was replaced: this measured nothing.")
    growth = resident[-1] - resident[1]
    return {"cycles": readings.seen, "writes": readings.writes, "resident_kib": resident, "growth_kib": growth}


class Readings:
    """Counts complete readings of zones (the rules are the last thing that is read of one), and calls that wrote."""

    def __init__(self, parts: PortalParts) -> None:
        self.parts, self.seen, self.writes, self._last = parts, 0, 0, 0

    def count(self) -> int:
        rows = self.parts.sandbox.requests(self._last)
        self._last = rows[-1]["seq"] if rows else self._last
        self.seen += sum(row["method"] == "GET" and row["path"].endswith("/entrypoint") for row in rows)
        self.writes += sum(row["method"] != "GET" and row["applied"] for row in rows)
        return self.seen


@contextmanager
def _process(parts: PortalParts, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A part of the portal as `make up` runs it: the broker on a socket. Its own children end with it."""
    environment = {name: value for name, value in parts.environment.items() if name != "REDIS_URL"}
    environment["BYOCA_BROKER_SOCKET"] = parts.redis.url.removeprefix("unix://")
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _child_of(pid: int) -> int:
    """The only child of a process; 0 while it has none."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return int(next(iter(listed.stdout.split()), 0))


def _resident_kib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
