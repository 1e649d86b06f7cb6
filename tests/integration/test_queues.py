"""What workers take from the queues, and in which order (docs/celery.md). Workers are processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis

from byoca_portal.celery import QUEUES
from tests.integration.queues import CHANGED, SWEPT
from tests.portal_parts import PortalParts
from tests.portal_process import ROOT, wait_for

WORKER = ("--concurrency", "1", "--loglevel", "ERROR", "--without-mingle", "--without-gossip", "--without-heartbeat")


def test_a_change_goes_before_a_thousand_sweeps() -> None:
    with parts_with_broker() as parts:
        step(parts, "prepare")
        # What rang on the way there.
        redis.Redis.from_url(parts.redis.url).flushdb()
        step(parts, "flood")
        edge = parts.sandbox
        began = max(call["seq"] for call in edge.requests())
        with working(parts):
            wait_for(lambda: calls(parts, SWEPT, began), within_s=120, saying="the sweep is made")
        assert [call["method"] for call in calls(parts, CHANGED, began)].count("PUT") == 1
        assert calls(parts, CHANGED, began)[-1]["seq"] < calls(parts, SWEPT, began)[0]["seq"]


def test_a_worker_hears_a_scheduler_whose_clock_is_behind() -> None:
    with parts_with_broker() as parts:
        step(parts, "behind")
        with working(parts):
            wait_for(lambda: "True" in step(parts, "heard"), every_s=1.0, saying="a tick is run")


def test_a_worker_whose_output_nobody_reads_any_more_ends_when_asked() -> None:
    with parts_with_broker() as parts, working(parts, stdout=subprocess.PIPE) as worker:
        step(parts, "behind")
        wait_for(lambda: "True" in step(parts, "heard"), every_s=1.0, saying="it works")
        assert worker.stdout
        worker.stdout.close()
        worker.terminate()
        assert worker.wait(60) == 0


@contextmanager
def parts_with_broker() -> Iterator[PortalParts]:
    with PortalParts() as parts:
        del parts.environment["REDIS_URL"]
        parts.environment["BYOCA_BROKER_SOCKET"] = str(parts.redis.socket)
        yield parts


@contextmanager
def working(parts: PortalParts, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """One worker with one process, on every queue."""
    command = [sys.executable, "-m", "celery", "-A", "byoca_portal", "worker", "--queues", ",".join(QUEUES), *WORKER]
    worker = subprocess.Popen(command, cwd=ROOT, env=parts.environment, start_new_session=True, stdout=stdout)
    try:
        yield worker
    finally:
        worker.terminate()
        try:
            worker.wait(60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)


def step(parts: PortalParts, name: str) -> str:
    command = [sys.executable, "-m", "tests.integration.queues", name]
    return subprocess.run(
        command, cwd=ROOT, env=parts.environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def calls(parts: PortalParts, zone: str, after: int) -> list[dict[str, str]]:
    zone_id = parts.sandbox.zones[zone]
    return [call for call in parts.sandbox.requests(after) if f"/zones/{zone_id}/" in call["path"]]
