"""How `make up` ends, and starts again. No portal runs beside these: two on one Redis take each other's messages."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.integration.test_main_job import ok
from tests.portal_process import PortalProcess, wait_for


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def work_is_done(portal: PortalProcess) -> None:
    """Waits until its workers have read every zone. A run that was cut off may have left a lease that ends first."""
    with portal.api("owner") as api:
        wait_for(lambda: len(ok(api.get("/zones/"))["results"]) == 3, within_s=240, saying="the zones are read")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_asked_and_starts_again_with_what_it_had(number: signal.Signals) -> None:
    with PortalProcess() as portal:
        people = portal.demo["people"]
        children = list(portal.children())
        assert portal.stop(number) == 0
        assert [pid for pid in children if alive(pid)] == []
        portal.log.write_text("")
        portal.start()
        assert portal.demo["people"] == people
        work_is_done(portal)


@pytest.mark.parametrize("busy", [False, True])
def test_nothing_lingers_when_it_is_killed_outright(busy: bool) -> None:
    """Right after its start, and when its workers listen: those worked on for ever, as nobody read their last line."""
    with PortalProcess() as portal:
        if busy:
            work_is_done(portal)
        sessions = list(portal.children())
        portal.stop(signal.SIGKILL)
        wait_for(lambda: not any(map(at_work, sessions)), saying="every part ends, with all that it had started")
        portal.log.write_text("")
        portal.start()
        assert httpx.get(f"{portal.url}/healthz").status_code == 200


def at_work(session: int) -> list[str]:
    """What runs in this session, of which each part leads one: state and command of each process that has not ended."""
    command = ["ps", "-o", "stat=,args=", "-s", str(session)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if not line.startswith("Z")]
