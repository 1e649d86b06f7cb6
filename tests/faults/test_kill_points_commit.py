"""Killed, stopped or asked to end around the commits of a push, K0 to K2 and K8 to K10 of docs/reliability.md.

So are uploads. Pages and workers are held at a commit by what they wait for: the database, the broker, a parked call.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.faults.driver import Driver, ok
from tests.faults.locks import nothing_commits
from tests.faults.pushes import LONGER_THAN_A_LEASE_S, ZONE, Push, make_push, quiet
from tests.portal_process import wait_for

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def ca(running: Driver) -> dict[str, Any]:
    running.zone(ZONE)
    return running.upload("Kill Root")


def test_k0_the_web_is_killed_with_the_approval_open(driver: Driver, ca: dict[str, Any]) -> None:
    push = make_push(driver, ca, "list")
    refused: list[Exception] = []

    def approve() -> None:
        with driver.portal.api("engineer2") as api:
            try:
                api.post(f"/requests/{push.row['id']}/approve/", json={"digest": push.row["digest"]})
            except httpx.TransportError as error:
                refused.append(error)

    with nothing_commits(driver.portal):
        asking = Thread(target=approve)
        asking.start()
        asking.join(1.5)
        assert asking.is_alive(), "it waits for the commit"
        os.killpg(driver.part("web"), signal.SIGKILL)
        asking.join()
    assert refused
    wait_for(lambda: serves(driver), within_s=60, saying="the pages are back")
    assert driver.request(push.row)["state"] == "waiting", "what did not commit did not happen"
    assert driver.puts(ZONE, push.since) == []
    driver.approve(push.row)
    push.converged()


def serves(driver: Driver) -> bool:
    try:
        return httpx.get(f"{driver.portal.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_k0_the_web_is_stopped_with_the_approval_open(driver: Driver, ca: dict[str, Any]) -> None:
    push = make_push(driver, ca, "list")
    with driver.portal.api("engineer2") as api, ExitStack() as later:
        path, body = f"/requests/{push.row['id']}/approve/", {"digest": push.row["digest"]}
        asking = Thread(target=api.post, args=(path,), kwargs={"json": body, "timeout": 60})
        with nothing_commits(driver.portal):
            asking.start()
            asking.join(1.5)
            assert asking.is_alive(), "it waits for the commit"
            later.enter_context(driver.stopped(*driver.family("web")))
        time.sleep(LONGER_THAN_A_LEASE_S)
        assert driver.puts(ZONE, push.since) == [], "what did not commit did not happen"
        later.close()
        asking.join()
    # It commits when it wakes: nobody asks again.
    push.converged()


def test_k1_committed_and_stopped_before_it_enqueued(driver: Driver, ca: dict[str, Any]) -> None:
    push = make_push(driver, ca, "list")
    with ExitStack() as later:
        with driver.stopped(driver.broker_pid()):
            driver.approve(push.row)
            later.enter_context(driver.stopped(*driver.family("web")))
        # No bell, no page: the tick finds what is due.
        wait_for(lambda: push.hostname in driver.at_edge(ZONE, ca), within_s=60, saying="the hostname is at the edge")
    wait_for(lambda: serves(driver), within_s=60, saying="the pages are back")
    push.converged()


def test_k1_committed_and_never_enqueued(driver: Driver, ca: dict[str, Any]) -> None:
    push = make_push(driver, ca, "list")
    with driver.stopped(driver.broker_pid()):
        driver.approve(push.row)
        # The bell rings from a thread of the web process: it dies with it, and the message with the thread.
        os.killpg(driver.part("web"), signal.SIGKILL)
        wait_for(lambda: serves(driver), within_s=60, saying="the pages are back")
    push.converged()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_k2_enqueued_and_not_picked(driver: Driver, ca: dict[str, Any], how: str) -> None:
    push = make_push(driver, ca, "list")
    while not approved_beside_a_stopped_worker(push, how):
        pass
    push.converged()


def approved_beside_a_stopped_worker(push: Push, how: str) -> bool:
    """False when the worker happened to stop amid a write: it holds the database, which people are told in words."""
    driver = push.driver
    with driver.stopped(*driver.family("worker")):
        try:
            driver.approve(push.row)
        except AssertionError as error:
            if "database does not answer" in str(error):
                return False
            raise
        if how == "kill":
            driver.kill_worker()
        else:
            time.sleep(LONGER_THAN_A_LEASE_S)
            assert driver.puts(push.zone, push.since) == []
    return True


@pytest.mark.parametrize("how", ["kill", "stop", "end"])
def test_k8_verified_and_not_committed(driver: Driver, ca: dict[str, Any], how: str) -> None:
    push = make_push(driver, ca, "list")
    verify = push.park("verify", "after_apply_before_reply")
    worker = driver.caller(verify)
    with ExitStack() as later:
        with nothing_commits(driver.portal):
            driver.edge.release(verify)
            wait_for(lambda: not driver.edge.has_holds(), saying="the answer is out")
            if how == "kill":
                os.kill(worker, signal.SIGKILL)
            elif how == "end":
                os.kill(driver.part("worker"), signal.SIGTERM)
            else:
                later.enter_context(driver.stopped(worker))
        push.converged()
    quiet(push)
    push.converged()
    assert len([row for row in driver.puts(ZONE, push.since) if push.hostname in row["body"]]) == 1, "it reads first"


@pytest.mark.parametrize("how", ["kill", "stop", "end"])
def test_k9_committed_and_not_acknowledged(driver: Driver, ca: dict[str, Any], how: str) -> None:
    push = make_push(driver, ca, "list")
    verify = push.park("verify", "after_apply_before_reply")
    with ExitStack() as later:
        with driver.stopped(driver.broker_pid()):
            driver.edge.release(verify)
            driver.done(push.row)
            if how == "kill":
                driver.kill_worker()
            elif how == "end":
                os.kill(driver.part("worker"), signal.SIGTERM)
            else:
                later.enter_context(driver.stopped(*driver.family("worker")))
        if how == "stop":
            time.sleep(LONGER_THAN_A_LEASE_S)
    quiet(push)
    push.converged()
    assert len([row for row in driver.puts(ZONE, push.since) if push.hostname in row["body"]]) == 1


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_k10_acknowledged(driver: Driver, ca: dict[str, Any], how: str) -> None:
    push = make_push(driver, ca, "list")
    driver.approve(push.row)
    push.converged()
    if how == "kill":
        driver.kill_worker()
    else:
        with driver.stopped(*driver.family("worker")):
            time.sleep(LONGER_THAN_A_LEASE_S)
    quiet(push)
    push.converged()
    assert len([row for row in driver.puts(ZONE, push.since) if push.hostname in row["body"]]) == 1


UPLOADS = [
    ("kill", "K5", "mid_request_body", False),
    ("kill", "K6-not-applied", "before_apply", False),
    ("kill", "K6-applied-late", "before_apply", True),
    ("kill", "K6-applied", "after_apply_before_reply", True),
    ("stop", "K5", "mid_request_body", False),
    ("stop", "K6-not-applied", "before_apply", False),
    ("stop", "K6-applied-late", "before_apply", True),
    ("stop", "K6-applied", "after_apply_before_reply", True),
]


@pytest.mark.parametrize(("how", "point", "at", "applied"), UPLOADS, ids=[f"{row[0]}-{row[1]}" for row in UPLOADS])
def test_an_upload_burns_one_slot(
    driver: Driver, parked: list[dict[str, Any]], how: str, point: str, at: str, applied: bool
) -> None:
    driver.edge.hold(at, method="POST", path="/mtls_certificates")
    ca = driver.admit(f"Slot {how} {point}")
    hold = driver.edge.held(wait_s=60)
    parked.append(hold)
    caller = driver.caller(hold)
    if how == "kill":
        os.kill(caller, signal.SIGKILL)
        driver.edge.release(hold, apply=applied, reply="drop")
        live = driver.ca(ca, "live")
    else:
        with driver.stopped(caller):
            driver.edge.release(hold, apply=applied, reply="send" if applied else "drop")
            live = driver.ca(ca, "live")
    rows = [row for row in driver.edge.state()["certificates"] if row["name"] == ca["name"]]
    assert [row["id"] for row in rows] == [live["cloudflare_id"]]
    ok(driver.api("engineer").delete(f"/cas/{ca['id']}/", params={"reason": "Tested"}))
    driver.ca(ca, "deleted")
