"""Which process holds which end of a connection, as Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path


def inode_of(port: int) -> str:
    """The socket, by its inode, whose own end has this TCP port on the loopback."""
    suffix = f":{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(suffix) and fields[9] != "0":
            return fields[9]
    return "none"


def sockets(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found
