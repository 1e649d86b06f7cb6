"""Naming the process that holds a lease, so that its death frees the lease at once and not when the time is up.

Only processes of the same process space (one boot, one PID namespace) can be judged; for all others the lease's own
end is the answer. Linux only, by /proc: elsewhere nobody is ever judged.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

PROC = Path("/proc")
MAX_HOST = 60


def this_process() -> str:
    """`host:space:pid:start`, where a pid that is used again has another start."""
    return f"{socket.gethostname()[:MAX_HOST]}:{_space()}:{os.getpid()}:{_start_of(os.getpid())}"


def is_gone(name: str) -> bool:
    """Whether the named process has certainly ended. False for whatever cannot be judged from here."""
    parts = name.rsplit(":", 3)
    if len(parts) != 4 or not parts[1] or parts[1] != _space() or not parts[2].isdigit():
        return False
    return _start_of(int(parts[2])) != parts[3]


@cache
def _space() -> str:
    """Boot and PID namespace; empty where there is no /proc."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        return f"{boot}-{(PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """When the process started, in clock ticks since boot; empty for one that has ended, a zombie too."""
    try:
        # The name in parentheses may hold blanks and parentheses of its own: fields are counted from its end.
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]
