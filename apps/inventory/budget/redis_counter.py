"""The window of `window.py`, kept in Redis and moved on by two small scripts, in Redis's own time.

Redis is asked with a short patience: a person may be waiting for the page. After a failure it is left alone for some
seconds, so that a Redis that hangs slows one call and not every call.
"""

from __future__ import annotations

import time

import redis
import structlog
from django.conf import settings

from apps.inventory.budget.window import SAME_RESET_S, SLOT_S, SLOTS, WINDOW_S, Ask, Told

log = structlog.get_logger(__name__)

PATIENCE_S = 0.3
LEAVE_ALONE_S = 5.0

NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local state = {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do state[fields[i]] = tonumber(fields[i + 1]) end
local left, resets_at = state['left'] or -1, state['resets_at'] or 0
local quota, span_s = state['quota'] or 0, state['span_s'] or 0
"""

TAKE = f"""{NOW}
local calls, cap, slot_cap, floor = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if left >= 0 and now >= resets_at and quota > 0 then
  left, resets_at = quota, now + span_s
  redis.call('HSET', KEYS[1], 'left', left, 'resets_at', string.format('%.3f', resets_at))
end
if left >= 0 and now < resets_at and left - calls < floor then return tostring(resets_at - now) end
local current = math.floor(now / {SLOT_S})
local slots, total = {{}}, 0
for name, count in pairs(state) do
  local slot = tonumber(name)
  if slot and slot < current - {SLOTS} then redis.call('HDEL', KEYS[1], name)
  elseif slot then table.insert(slots, slot); total = total + count end
end
local in_slot = state[tostring(current)] or 0
if in_slot > 0 and in_slot + calls > slot_cap then return tostring((current + 1) * {SLOT_S} - now) end
local over = total + calls - cap
if over > 0 then
  table.sort(slots)
  local free = slots[#slots] or 0
  for _, slot in ipairs(slots) do
    over = over - state[tostring(slot)]
    if over <= 0 then free = slot; break end
  end
  return tostring((free + {SLOTS} + 1) * {SLOT_S} - now)
end
redis.call('HINCRBY', KEYS[1], tostring(current), calls)
if left >= 0 then redis.call('HSET', KEYS[1], 'left', math.max(left - calls, 0)) end
redis.call('EXPIRE', KEYS[1], {2 * WINDOW_S})
return '0'
"""

NOTE = f"""{NOW}
local told, ends_at = tonumber(ARGV[1]), now + tonumber(ARGV[2])
if left >= 0 and now < resets_at and math.abs(ends_at - resets_at) <= {SAME_RESET_S} then
  told, ends_at = math.min(left, told), math.max(resets_at, ends_at)
end
redis.call('HSET', KEYS[1], 'left', told, 'resets_at', string.format('%.3f', ends_at))
redis.call('HSET', KEYS[1], 'quota', ARGV[3], 'span_s', ARGV[4])
redis.call('EXPIRE', KEYS[1], {2 * WINDOW_S})
return '0'
"""


class RedisSilent(Exception):
    """No answer, or none that can be used. The database counts instead."""


class RedisCounter:
    """One per process. `url` as redis-py takes it; its connections survive a fork."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S, decode_responses=True
        )
        self._left_alone_until = 0.0

    def take(self, token_hash: str, ask: Ask) -> float:
        """As `Window.take`. Raises RedisSilent."""
        return self._run(TAKE, token_hash, ask.calls, ask.cap, ask.slot_cap, ask.floor)

    def note(self, token_hash: str, told: Told) -> None:
        """As `Window.note`. Raises RedisSilent."""
        self._run(NOTE, token_hash, told.left, told.reset_s, told.quota, told.span_s)

    def _run(self, script: str, token_hash: str, *values: float) -> float:
        if time.monotonic() < self._left_alone_until:
            raise RedisSilent
        try:
            return float(str(self._redis.eval(script, 1, f"byoca:budget:{token_hash}", *map(str, values))))
        except (redis.RedisError, OSError, ValueError) as error:
            self._left_alone_until = time.monotonic() + LEAVE_ALONE_S
            log.warning("budget_redis_silent", error=type(error).__name__)
            raise RedisSilent from error


_counters: dict[str, RedisCounter] = {}


def redis_counter() -> RedisCounter | None:
    """The counter in the Redis of the settings; None where there is none to ask."""
    url = settings.BYOCA_BUDGET_REDIS_URL
    if url and url not in _counters:
        _counters[url] = RedisCounter(url)
    return _counters[url] if url else None
