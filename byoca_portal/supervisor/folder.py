"""The data folder: one `up` at a time, readable by its owner only."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import IO, Any

SOCKET_PATH_LIMIT = 100


class CannotStart(Exception):
    """A plain sentence for whoever typed `make up`."""


def prepare(folder: Path) -> IO[str]:
    """Make the folder and take its lock. The lock lives as long as the returned file is open."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "broker").mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        lock = open(folder / "up.lock", "a+", encoding="utf-8")  # noqa: SIM115  (held until the end)
    except OSError as error:
        raise CannotStart(
            f"The data folder {folder} cannot be written ({error.strerror}). "
            "Give yourself the right, or set BYOCA_DATA_DIR to another folder."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        running = lock.read().strip() or "another process"
        raise CannotStart(f"The portal runs already: {running}. Stop it first, or set BYOCA_DATA_DIR.") from None
    return lock


def sign(lock: IO[str], text: str) -> None:
    """Write who holds the lock, for the next one to read."""
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()


def require_free(host: str, port: int, variable: str) -> None:
    """Raises CannotStart when the port is taken, before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(
                f"Port {port} on {host} cannot be used ({error.strerror}). "
                f"Stop what uses it, or choose another with {variable}."
            ) from None


def broker_socket(folder: Path) -> Path:
    """Where Valkey listens. Socket paths are short: a deep data folder gets a private one elsewhere."""
    path = folder / "broker" / "valkey.sock"
    if len(os.fsencode(path)) < SOCKET_PATH_LIMIT:
        return path
    return Path(tempfile.mkdtemp(prefix="byoca-")) / "valkey.sock"


def write_private(path: Path, value: dict[str, Any]) -> None:
    """Write JSON for the owner's eyes only, whole or not at all."""
    beside = path.with_suffix(".new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
    beside.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
