"""A flood of sweeps delays no change (docs/celery.md): told by the order of the calls at the edge."""

from __future__ import annotations

import subprocess
import sys

import redis

from byoca_portal.celery import QUEUES
from tests.integration.queues import CHANGED, SWEPT
from tests.portal_parts import PortalParts
from tests.portal_process import ROOT, wait_for

WORKER = ("--concurrency", "1", "--loglevel", "ERROR", "--without-mingle", "--without-gossip", "--without-heartbeat")


def test_a_change_goes_before_a_thousand_sweeps() -> None:
    with PortalParts() as parts:
        del parts.environment["REDIS_URL"]
        parts.environment["BYOCA_BROKER_SOCKET"] = str(parts.redis.socket)
        step(parts, "prepare")
        # What rang on the way there.
        redis.Redis.from_url(parts.redis.url).flushdb()
        step(parts, "flood")
        edge = parts.sandbox
        began = max(call["seq"] for call in edge.requests())
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "byoca_portal",
            "worker",
            "--queues",
            ",".join(QUEUES),
            *WORKER,
        ]
        worker = subprocess.Popen(command, cwd=ROOT, env=parts.environment, start_new_session=True)
        try:
            wait_for(lambda: calls(parts, SWEPT, began), within_s=120, saying="the sweep is made")
        finally:
            worker.terminate()
            worker.wait(60)
        assert [call["method"] for call in calls(parts, CHANGED, began)].count("PUT") == 1
        assert calls(parts, CHANGED, began)[-1]["seq"] < calls(parts, SWEPT, began)[0]["seq"]


def step(parts: PortalParts, name: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.integration.queues", name], cwd=ROOT, env=parts.environment, check=True
    )


def calls(parts: PortalParts, zone: str, after: int) -> list[dict[str, str]]:
    zone_id = parts.sandbox.zones[zone]
    return [call for call in parts.sandbox.requests(after) if f"/zones/{zone_id}/" in call["path"]]
