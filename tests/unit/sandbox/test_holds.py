"""A driver parks a call at a named point, sees it, and decides how it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from .conftest import Edge

ZONE = "northwind.example"
NEW = ["new.northwind.example"]
Parked = Future[tuple[int, Any, dict[str, str]]]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def park(edge: Edge, pool: ThreadPoolExecutor, at: str) -> tuple[Parked, dict[str, Any]]:
    edge.control("POST", "faults", {"rules": [{"match": {"method": "PUT"}, "do": {"fault": "hold", "at": at}}]})
    sent = {"mtls_certificate_id": edge.legacy_ca(), "hostnames": NEW}
    call = pool.submit(edge.call, "PUT", edge.lists(ZONE), sent)
    (hold,) = edge.control("GET", "holds", query="wait_s=30")[1]["holds"]
    return call, hold


def at_edge(edge: Edge) -> list[str]:
    return list(edge.state()["zones"][1]["lists"][edge.legacy_ca()])


@pytest.mark.parametrize("apply", [True, False])
@pytest.mark.parametrize("reply", ["send", "drop"])
def test_before_the_effect_everything_is_open(edge: Edge, pool: ThreadPoolExecutor, apply: bool, reply: str) -> None:
    before = at_edge(edge)
    call, hold = park(edge, pool, "before_apply")
    assert (hold["at"], hold["method"], hold["path"]) == ("before_apply", "PUT", edge.lists(ZONE))
    assert edge.seeded.token not in str(hold)
    assert at_edge(edge) == before
    assert edge.log() == []
    assert edge.control("POST", f"holds/{hold['id']}", {"apply": apply, "reply": reply})[0] == 200
    status = call.result(30)[0]
    assert status == (0 if reply == "drop" else 200 if apply else 503)
    assert at_edge(edge) == (NEW if apply else before)
    (entry,) = edge.log()
    assert (entry["status"], entry["applied"], entry["fault"]) == (status, apply, "hold")


@pytest.mark.parametrize(("reply", "status"), [("send", 200), ("drop", 0)])
def test_after_the_effect_only_the_reply_is_open(edge: Edge, pool: ThreadPoolExecutor, reply: str, status: int) -> None:
    call, hold = park(edge, pool, "after_apply_before_reply")
    assert at_edge(edge) == NEW
    assert edge.log()[0]["applied"]
    edge.control("POST", f"holds/{hold['id']}", {"apply": False, "reply": reply})
    assert call.result(30)[0] == status
    assert at_edge(edge) == NEW
    assert edge.log()[0]["status"] == status


def test_other_calls_go_on_while_one_is_parked(edge: Edge, pool: ThreadPoolExecutor) -> None:
    call, hold = park(edge, pool, "before_apply")
    assert edge.call("GET", "/zones")[0] == 200
    edge.control("POST", f"holds/{hold['id']}", {})
    assert call.result(30)[0] == 200
    assert edge.control("GET", "holds")[1] == {"holds": []}


def test_a_second_parked_call_is_waited_for_by_id(edge: Edge, pool: ThreadPoolExecutor) -> None:
    first_call, first = park(edge, pool, "before_apply")
    assert edge.control("GET", "holds", query=f"after={first['id']}")[1] == {"holds": []}
    edge.control("POST", "faults", {"rules": [{"do": {"fault": "hold"}}]})
    second_call = pool.submit(edge.call, "GET", "/zones")
    (second,) = edge.control("GET", "holds", query=f"wait_s=30&after={first['id']}")[1]["holds"]
    assert (second["method"], len(edge.control("GET", "holds")[1]["holds"])) == ("GET", 2)
    for hold in (first, second):
        edge.control("POST", f"holds/{hold['id']}", {})
    assert [first_call.result(30)[0], second_call.result(30)[0]] == [200, 200]


def test_a_stop_drops_what_is_parked(edge: Edge, pool: ThreadPoolExecutor) -> None:
    before = at_edge(edge)
    call, _ = park(edge, pool, "before_apply")
    waiting = threading.Thread(target=edge.gateway.holds.close)
    waiting.start()
    assert call.result(30)[0] == 0
    waiting.join()
    assert at_edge(edge) == before


@pytest.mark.parametrize("sent", [{"apply": 1}, {"reply": "shout"}, []])
def test_a_wrong_decision_is_refused(edge: Edge, pool: ThreadPoolExecutor, sent: Any) -> None:
    call, hold = park(edge, pool, "before_apply")
    assert edge.control("POST", f"holds/{hold['id']}", sent)[0] == 400
    assert edge.control("POST", "holds/999", {})[0] == 404
    assert edge.control("POST", "holds/x", {})[0] == 404
    assert edge.control("POST", f"holds/{hold['id']}", {})[0] == 200
    assert call.result(30)[0] == 200
    assert edge.control("POST", f"holds/{hold['id']}", {})[0] == 404
