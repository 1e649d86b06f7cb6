"""Chaos can fail: a seed plays again what it played, no failure of an act is hidden, and a wrong world is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.faults.chaos import Chaos
from tests.faults.chaos_peace import Peace
from tests.faults.chaos_world import differences
from tests.faults.driver import Refused
from tests.faults.made_history import CA_ID, KEPT, MADE, NEW, ZONE, Made, rule
from tests.faults.model import History


def drawn(seed: int, used: int) -> list[tuple[str, float, float]]:
    """The first draws; each act takes `used` numbers of its own stream, as it may by what it meets."""
    found = []
    for act, pause, stream in islice(Chaos(None, seed).draws(), 50):  # type: ignore[arg-type]
        found.append((act.__name__, pause, stream.random()))
        for _ in range(used):
            stream.random()
    return found


def test_a_seed_plays_the_same_acts_whatever_they_meet() -> None:
    assert drawn(7, used=0) == drawn(7, used=3)
    assert drawn(7, used=0) != drawn(8, used=0)


def answered(status: int) -> Callable[[], bool]:
    def act() -> bool:
        raise Refused(httpx.Response(status, request=httpx.Request("GET", "http://portal/")))

    return act


@pytest.mark.parametrize(
    ("status", "named"), [(409, False), (422, False), (503, False), (400, True), (404, True), (500, True), (502, True)]
)
def test_only_what_a_good_portal_may_answer_is_taken_for_granted(status: int, named: bool) -> None:
    chaos = Chaos(None, 1)  # type: ignore[arg-type]
    chaos.play(answered(status))
    assert bool(chaos.wrong) is named
    assert chaos.counts() == "act 0/1"


def test_an_act_that_cannot_be_played_is_named_and_a_part_that_is_down_is_not() -> None:
    def hopeless() -> bool:
        raise AssertionError("the worker never came back")

    def unreachable() -> bool:
        raise httpx.ConnectError("refused")

    chaos = Chaos(None, 1)  # type: ignore[arg-type]
    chaos.play(unreachable)
    assert not chaos.wrong
    chaos.play(hopeless)
    assert list(chaos.wrong) == ["hopeless: AssertionError: the worker never came back"]


class World:
    """The edge and the portal after a made history: it takes the place of the driver and of the acts."""

    def __init__(self, made: Made, listed: list[str], open_to: set[str]) -> None:
        self.made, self.listed, self.open_to = made, listed, open_to
        self.edge = self
        self.cas = [{"id": "1", "name": "Model Root"}]
        self.roots = {"1": MADE}

    def history(self) -> Any:
        return self.made.history()

    def audit(self) -> list[dict[str, Any]]:
        return self.made.audit

    def state(self) -> dict[str, Any]:
        zone = {"id": ZONE, "name": "zone.example", "lists": {CA_ID: self.listed}}
        return {"zones": [zone], "certificates": [{"id": CA_ID}]}

    def client(self, name: str, certificate: str = "") -> dict[str, Any]:
        admitted = name in self.open_to or ("with certificate" in self.open_to and certificate)
        return {"status": 200 if admitted else 403, "why": "A rule."}


def judged(made: Made, listed: list[str], open_to: set[str], waiting: Iterable[str] = ()) -> list[str]:
    world: Any = World(made, listed, open_to)
    return differences(world, SimpleNamespace(cas=world.cas, roots=world.roots), set(waiting))  # type: ignore[arg-type]


def test_a_world_as_decided_passes() -> None:
    assert judged(Made(), [KEPT, NEW], {"with certificate"}) == []


def test_a_list_that_lacks_what_was_approved_is_named() -> None:
    assert any("not on the list" in found for found in judged(Made(), [KEPT], {"with certificate"}))


def test_a_list_that_keeps_what_was_released_is_named() -> None:
    made = Made()
    made.request("8", "uncover", NEW, second=20)
    made.move("completed", "8", 25, before="applying")
    assert any("released" in found for found in judged(made, [KEPT, NEW], {NEW}))


def test_a_hostname_in_block_that_is_open_is_named() -> None:
    assert any("without a certificate gets 200" in found for found in judged(Made(), [KEPT, NEW], {NEW}))


def test_a_client_that_is_locked_out_is_named() -> None:
    assert any("is refused" in found for found in judged(Made(), [KEPT, NEW], set()))


def test_what_somebody_else_changed_last_is_theirs() -> None:
    made = Made()
    made.edit([KEPT, NEW], [KEPT], 20)
    assert judged(made, [KEPT], set()) == []
    made = Made()
    made.rules([rule(NEW)], [], 20, token_id=None, origin="dashboard")
    assert judged(made, [KEPT, NEW], {NEW}) == []


def test_what_waits_for_a_person_is_not_there_yet() -> None:
    assert judged(Made(), [KEPT], {NEW}, waiting=[NEW]) == []


class Quiet:
    """A portal without anything in it, whose zone is read anew at each look."""

    def __init__(self, written: list[dict[str, Any]]) -> None:
        self.written, self.tokens, self.edge = written, {"ours"}, self

    def get(self, _path: str) -> dict[str, Any]:
        return {"results": []}

    def zones(self) -> list[dict[str, Any]]:
        return [{"name": "zone.example", "read_at": datetime.now(UTC).isoformat(), "failing_since": None}]

    def seq(self) -> int:
        return 1

    def requests(self, _since: int) -> list[dict[str, Any]]:
        return self.written

    def json(self, _code: str) -> dict[str, Any]:
        return {"parked": [("zone", "")], "open": 1} if self.written else {"parked": [], "open": 0}

    def state(self) -> dict[str, Any]:
        return {"certificates": [], "zones": []}

    def history(self) -> History:
        return History([], [], {})

    def audit(self) -> list[dict[str, Any]]:
        return []

    violations = audit


def peace(*written: dict[str, Any]) -> list[str]:
    acts: Any = SimpleNamespace(undo=lambda: None, requests=lambda _state: [], cas=[], roots={})
    return Peace(Quiet(list(written)), acts).wrong()  # type: ignore[arg-type]


def test_a_portal_at_rest_passes() -> None:
    assert peace() == []


def test_whoever_writes_at_rest_parks_without_a_word_or_leaves_plans_open_is_named() -> None:
    row = {"token_id": "ours", "method": "PUT", "path": "/list", "query": {}}
    assert peace(row, {**row, "token_id": "theirs"}, {**row, "query": {"dry_run": ["true"]}}) == [
        "it rests and still writes: PUT /list", "zone is parked without a reason", "1 plans are open",
    ]  # fmt: skip


class SendsWhatWaited(Quiet):
    """Its request has waited for a token, which it has now; the next reading of its zone sends it."""

    def __init__(self) -> None:
        super().__init__([{"token_id": "ours", "method": "PUT", "path": "/list", "query": {}}])
        self.looks = 0

    def seq(self) -> int:
        if self.waits():
            return 1
        self.written = []
        return 2

    def waits(self) -> bool:
        self.looks += 1
        return self.looks < 3

    def request(self, _row: dict[str, Any]) -> dict[str, Any]:
        words = "Waits for a token that may write in zone.example. The portal tries again in an hour."
        return {"id": 1, "state": "approved", "needs_override": None, "ca": {"id": 1}, "state_reason": words,
                "hostnames": []}  # fmt: skip


def test_what_waited_for_the_token_that_is_back_goes_before_there_is_rest() -> None:
    driver = SendsWhatWaited()
    requests = lambda state: [{"id": 1}] if state == "approved" and driver.waits() else []  # noqa: E731
    acts: Any = SimpleNamespace(undo=lambda: None, requests=requests, cas=[], roots={})
    assert Peace(driver, acts).wrong() == []  # type: ignore[arg-type]
