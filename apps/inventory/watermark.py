"""Notices that the database was restored from a backup: its audit log is older than what was known outside of it.

The last event's number and hash are kept in two places that a restore of the database leaves alone, a file in the data
folder and a key in Redis. A log that ends before that number, or that has another event there, is not the one that was
written last: what was approved since is unknown, and pushing yesterday's state could lock out or open hostnames.

A log of which neither place knows anything, though its end was kept before, is that of a copy: started elsewhere with
the same keys it would write to the same accounts as the portal it was copied from.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import transaction

from apps.audit.models import AuditEvent, AuditHead
from apps.inventory.alarms import is_decided, raise_alarm, this_installation
from apps.inventory.models import Installation, Stop

log = structlog.get_logger(__name__)

PATIENCE_S = 0.3
RESTORED, COPY = "restored:", "copy"


@dataclass(frozen=True)
class Mark:
    """The last audit event that is known outside the database."""

    seq: int
    hash: str


def check_history() -> bool:
    """Compare the log with the marks outside, then move them on. False when it was restored and nobody has decided."""
    installation = this_installation()
    name = installation.name
    # The marks first: what another process keeps meanwhile is newer than the head that was read before it.
    marks, all_answered = _marks(name)
    known = max(marks, key=lambda mark: mark.seq, default=Mark(0, ""))
    head = AuditHead.objects.filter(pk=1).first()
    now = Mark(head.seq, head.hash) if head else Mark(0, "")
    if installation.is_marked and not marks and all_answered:
        _stop_a_copy(now)
        return False
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
    if known != now and _keep(name, now) and not installation.is_marked:
        Installation.objects.filter(pk=1).update(is_marked=True)
    return True


@transaction.atomic
def _stop_a_copy(now: Mark) -> None:
    """A mark was kept once of this log that nobody has now: stops writes, once, and remembers anew from here."""
    installation = Installation.objects.select_for_update(no_key=True).get(pk=1)
    if not installation.is_marked or _marks(installation.name)[0]:
        # Another process has said so meanwhile, and perhaps remembers anew already.
        return
    raise_alarm(
        cause=f"{RESTORED}{COPY}:{now.seq}:{now.hash[:16]}",
        reason=(
            "Neither the data folder nor Redis knows this database any more, though they did. Either both were lost, "
            "or this is a copy of another portal's database, which may run still: two that write to one account undo "
            "each other's changes. If it is a copy, take its tokens away or leave this in force. Otherwise compare "
            "Drift with the edge, then lift this. What was approved before and is not at the edge needs a new plan."
        ),
    )
    installation.is_marked = False
    installation.save(update_fields=["is_marked"])
    log.error("database_without_its_marks", head=now.seq)


def last_restore() -> Stop | None:
    """The stop of the last restore, or copy, that was noticed, in force or lifted."""
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


def _marks(name: str) -> tuple[list[Mark], bool]:
    """What the two places know of this installation, and whether both could be asked."""
    found, all_answered = [], True
    for read in (_from_file, _from_redis):
        try:
            if value := read(name):
                found.append(Mark(int(value["seq"]), str(value["hash"])))
        except (OSError, redis.RedisError, TypeError, ValueError, KeyError):
            all_answered = False
    return found, all_answered


def _keep(name: str, mark: Mark) -> bool:
    kept = any([_into_file(name, mark), _into_redis(name, mark)])
    if not kept:
        log.warning("audit_mark_not_kept", seq=mark.seq)
    return kept


def _into_file(name: str, mark: Mark) -> bool:
    path = _path()
    beside = path.with_suffix(f".{os.getpid()}")
    others: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        others = _in_file()
    try:
        beside.write_text(json.dumps({**others, name: asdict(mark)}), encoding="ascii")
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


def _in_file() -> dict[str, Any]:
    """By installation. Empty before the first mark; raises OSError, or ValueError when it is no such file."""
    try:
        value = json.loads(_path().read_text(encoding="ascii"))
    except FileNotFoundError:
        return {}
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _from_file(name: str) -> Any:
    return _in_file().get(name)


def _from_redis(name: str) -> Any:
    """Raises RedisError, or ValueError when it is no JSON."""
    if not (client := outside_redis()):
        return None
    with client:
        text = client.get(_key(name))
    return json.loads(str(text)) if text else None


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
