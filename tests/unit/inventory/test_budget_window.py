"""The window: no stretch of five minutes holds more than allowed, and the Lua scripts count as the Python does."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from apps.inventory.budget import redis_counter
from apps.inventory.budget.redis_counter import NOTE, TAKE, RedisCounter, RedisSilent
from apps.inventory.budget.window import SLOT_S, WINDOW_S, Ask, Told, Window

STEPS = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 6)), max_size=80)


def ask(calls: int = 1, cap: int = 20, slot_cap: int = 1000, floor: int = 0) -> Ask:
    return Ask(calls, cap, slot_cap, floor)


@given(STEPS)
def test_no_five_minutes_hold_more_than_the_cap(steps: list[tuple[float, int]]) -> None:
    window, now, made = Window(), 1_000_000.0, []
    for pause_s, calls in steps:
        now += pause_s
        if window.take(now, ask(calls)) == 0:
            made += [now] * calls
    for begin in made:
        assert sum(begin <= at <= begin + WINDOW_S for at in made) <= 20


@given(STEPS)
def test_the_wait_is_long_enough_and_not_endless(steps: list[tuple[float, int]]) -> None:
    window, now = Window(), 1_000_000.0
    for pause_s, calls in steps:
        now += pause_s
        wait_s = window.take(now, ask(calls))
        assert wait_s <= WINDOW_S + 2 * SLOT_S
        if wait_s:
            assert window.take(now + wait_s + 0.001, ask(calls)) == 0
            now += wait_s + 0.001


def test_more_than_is_ever_allowed_waits_for_the_whole_window() -> None:
    window = Window()
    assert window.take(0.0, ask(21)) > 0
    window.take(0.0, ask(1))
    assert window.take(0.0, ask(40)) > WINDOW_S


def test_a_burst_fits_into_its_slot_or_waits_for_the_next() -> None:
    window = Window()
    assert window.take(1.0, ask(9, slot_cap=4)) == 0, "what is taken at once stays together"
    assert window.take(1.0, ask(1, slot_cap=4)) == pytest.approx(SLOT_S - 1.0)
    assert window.take(SLOT_S, ask(1, slot_cap=4)) == 0


def test_what_the_far_side_says_is_left_is_not_passed() -> None:
    window = Window()
    window.note(0.0, Told(left=2, reset_s=30.0))
    assert [window.take(0.0, ask()) for _ in range(3)] == [0.0, 0.0, 30.0]
    window.note(1.0, Told(left=2, reset_s=29.0))
    assert window.take(1.0, ask()) == 29.0, "an answer that was overtaken does not give calls back"
    assert window.take(31.0, ask()) == 0.0
    window.note(31.0, Told(left=5, reset_s=300.0))
    assert window.take(31.0, ask(floor=5)) == 300.0, "a floor is kept for others"
    assert window.take(31.0, ask()) == 0.0


def test_what_is_on_its_way_counts_before_the_far_sides_next_window_answers() -> None:
    window = Window()
    window.note(0.0, Told(left=0, reset_s=5.0, quota=2, span_s=10.0))
    assert window.take(1.0, ask()) == 4.0
    assert [window.take(6.0, ask()) for _ in range(3)] == [0.0, 0.0, 10.0], "no answer came yet"
    window.note(6.5, Told(left=1, reset_s=10.0, quota=2, span_s=10.0))
    assert window.take(16.2, ask()) == pytest.approx(0.3), "it began with the first call that arrived"
    assert window.take(16.5, ask()) == 0.0
    window.note(17.0, Told(left=0, reset_s=4.0))
    assert window.take(17.0, ask()) == 4.0, "the far side knows better when its window ends"


class _ClockedRedis:
    """The scripts as shipped, with their clock set by the test."""

    def __init__(self, server: Any) -> None:
        self.server, self.key = server, f"byoca:test:{uuid.uuid4()}"

    def run(self, script: str, now: float, *values: float) -> float:
        clocked = re.sub(r"local time = .*\nlocal now = .*\n", f"local now = {now!r}\n", script)
        assert clocked != script
        return float(self.server.eval(clocked, 1, self.key, *map(str, values)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The Redis of REDIS_URL, or the embedded server on a socket of its own."""
    if url := os.environ.get("REDIS_URL"):
        yield redis.Redis.from_url(url, decode_responses=True)
        return
    from tests.valkey_process import ValkeyProcess

    with ValkeyProcess(tmp_path_factory.mktemp("valkey")) as running:
        yield redis.Redis.from_url(running.url, decode_responses=True)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 90, allow_subnormal=False), st.sampled_from(["take", "take", "take", "note"]),
            st.integers(1, 9), st.integers(1, 30), st.integers(1, 8), st.integers(0, 5),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_lua_and_python_count_the_same(server: Any, steps: list[tuple[float, str, int, int, int, int]]) -> None:
    window, clocked, now = Window(), _ClockedRedis(server), 1_764_000_000.0
    for pause_s, what, calls, cap, slot_cap, floor in steps:
        now = round(now + pause_s, 3)
        if what == "take":
            expected = window.take(now, Ask(calls, cap, slot_cap, floor))
            assert clocked.run(TAKE, now, calls, cap, slot_cap, floor) == pytest.approx(expected, abs=0.01)
        else:
            told = Told(left=cap, reset_s=float(calls * 10), quota=slot_cap - 1, span_s=float(floor * 20))
            window.note(now, told)
            clocked.run(NOTE, now, told.left, told.reset_s, told.quota, told.span_s)
    server.delete(clocked.key)


def test_the_counter_of_one_token_is_shared_by_its_connections(server: Any) -> None:
    url = os.environ.get("REDIS_URL") or f"unix://{server.connection_pool.connection_kwargs['path']}"
    one, two, token = RedisCounter(url), RedisCounter(url), uuid.uuid4().hex
    waits = [counter.take(token, ask(1, cap=3)) for counter in (one, two, one, two)]
    assert waits[:3] == [0.0, 0.0, 0.0]
    assert waits[3] > 0
    one.note(token, Told(left=0, reset_s=30.0))
    assert 29 < two.take(token, ask(1, cap=100)) < 31
    assert server.ttl(f"byoca:budget:{token}") > WINDOW_S
    server.delete(f"byoca:budget:{token}")


def test_a_silent_redis_is_named_once_and_then_left_alone(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = RedisCounter(f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(RedisSilent) as first:
        counter.take("x", ask())
    with pytest.raises(RedisSilent) as second:
        counter.note("x", Told(1, 1.0))
    assert first.value.__cause__ is not None
    assert second.value.__cause__ is None, "the second call does not even try"
    monkeypatch.setattr(redis_counter, "LEAVE_ALONE_S", 0.0)
    counter._left_alone_until = 0.0
    with pytest.raises(RedisSilent) as third:
        counter.take("x", ask())
    assert third.value.__cause__ is not None
