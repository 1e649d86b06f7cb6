"""Notices another portal on the same Redis database. Each would take the other's messages and find nothing to do: both
stand still for minutes at a time, and nothing else says why.
"""

from __future__ import annotations

import redis
import structlog

from apps.inventory.alarms import installation_name
from apps.inventory.watermark import outside_redis

log = structlog.get_logger(__name__)

PORTALS = "byoca:portals"
SEEN_FOR_S = 60
SAY_EVERY_S = 600


def notice_neighbours() -> list[str]:
    """Leave a mark that this installation uses the Redis database, and return the names of the others that did within
    the last minute, by Redis's clock. The log has them once in ten minutes. Empty, too, where no Redis answers.
    """
    if not (client := outside_redis()):
        return []
    name = installation_name()
    try:
        with client:
            now = client.time()[0]  # type: ignore[index]
            client.zadd(PORTALS, {name: now})
            client.zremrangebyscore(PORTALS, "-inf", now - SEEN_FOR_S)
            others = sorted(set(client.zrange(PORTALS, 0, -1)) - {name})  # type: ignore[arg-type]
            if others and client.set(f"{PORTALS}:said:{name}", now, nx=True, ex=SAY_EVERY_S):
                do = "Give each portal a Redis database of its own: they take each other's messages."
                log.error("redis_is_shared", installation=name, with_others=others, do=do)
    except redis.RedisError:
        return []
    return others
