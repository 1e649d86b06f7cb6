"""Notices that the database was restored from a backup: its audit log is older than what was known outside of it.

The last event's number and hash are kept in two places that a restore of the database leaves alone, a file in the data
folder and a key in Redis. A log that ends before that number, or that has another event there, is not the one that was
written last: what was approved since is unknown, and pushing yesterday's state could lock out or open hostnames.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import redis
import structlog
from django.conf import settings

from apps.audit.models import AuditEvent, AuditHead
from apps.inventory.alarms import installation_name, is_decided, raise_alarm
from apps.inventory.models import Stop

log = structlog.get_logger(__name__)

PATIENCE_S = 0.3
RESTORED = "restored:"


@dataclass(frozen=True)
class Mark:
    """The last audit event that is known outside the database."""

    seq: int
    hash: str


def check_history() -> bool:
    """Compare the log with the marks outside, then move them on. False when it was restored and nobody has decided."""
    name = installation_name()
    # The marks first: what another process keeps meanwhile is newer than the head that was read before it.
    known = max(_marks(name), key=lambda mark: mark.seq, default=Mark(0, ""))
    head = AuditHead.objects.filter(pk=1).first()
    now = Mark(head.seq, head.hash) if head else Mark(0, "")
    if not _follows(now, known) and not is_decided(_cause(known)):
        stop = raise_alarm(
            cause=_cause(known),
            reason=(
                f"This database is older than the portal's own memory: its audit log ends at event {now.seq}, and "
                f"event {known.seq} was written before. It was restored from a backup. Changes since the backup are "
                "at the edge, but not known here. Compare Drift with the edge, adopt what is right, then lift this. "
                "What was approved before and is not at the edge needs a new plan; what is missing is not put back."
            ),
        )
        if stop:
            log.error("database_restored", head=now.seq, known=known.seq)
        return False
    if known != now:
        _keep(name, now)
    return True


def last_restore() -> Stop | None:
    """The stop of the last restore that was noticed, in force or lifted."""
    return Stop.objects.filter(cause__startswith=RESTORED).order_by("stopped_at").last()


def _cause(mark: Mark) -> str:
    return f"{RESTORED}{mark.seq}:{mark.hash[:16]}"


def _follows(now: Mark, known: Mark) -> bool:
    """Whether the log goes on from the mark, or is at it."""
    if known.seq > now.seq:
        return False
    if known.seq in {0, now.seq}:
        return known.seq == 0 or known.hash == now.hash
    return AuditEvent.objects.filter(seq=known.seq, hash=known.hash).exists()


def _marks(name: str) -> list[Mark]:
    found = []
    for text in (_in_file().get(name), _from_redis(name)):
        with contextlib.suppress(TypeError, ValueError):
            value = json.loads(text) if isinstance(text, str) else text
            found.append(Mark(int(value["seq"]), str(value["hash"])))  # type: ignore[index]
    return found


def _keep(name: str, mark: Mark) -> None:
    if not any([_into_file(name, mark), _into_redis(name, mark)]):
        log.warning("audit_mark_not_kept", seq=mark.seq)


def _into_file(name: str, mark: Mark) -> bool:
    path = _path()
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        beside.write_text(json.dumps({**_in_file(), name: asdict(mark)}), encoding="ascii")
        beside.replace(path)
    except OSError:
        return False
    return True


def _into_redis(name: str, mark: Mark) -> bool:
    if not (client := outside_redis()):
        return False
    try:
        with client:
            return bool(client.set(_key(name), json.dumps(asdict(mark))))
    except redis.RedisError:
        return False


def _path() -> Path:
    return Path(settings.DATA_DIR) / "audit-mark.json"


def _in_file() -> dict[str, object]:
    try:
        value = json.loads(_path().read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _from_redis(name: str) -> str | None:
    if not (client := outside_redis()):
        return None
    try:
        with client:
            return client.get(_key(name))  # type: ignore[return-value]
    except redis.RedisError:
        return None


def outside_redis() -> redis.Redis | None:
    """A client with little patience for the Redis beside the broker; None where messages travel without one."""
    url = settings.BYOCA_BUDGET_REDIS_URL
    if not url:
        return None
    return redis.Redis.from_url(
        url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S, decode_responses=True
    )


def _key(name: str) -> str:
    return f"byoca:audit-mark:{name}"
