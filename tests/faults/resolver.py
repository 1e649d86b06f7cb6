"""A name server of the test's own, and a portal whose processes ask it alone.

They see another /etc/resolv.conf than the rest of the machine: a mount namespace, for which one has to be root, as for
port 53 (https://man7.org/linux/man-pages/man7/mount_namespaces.7.html).
"""

from __future__ import annotations

import random
import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.portals import FaultPortal

NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
A = 1


class Resolver:
    """Answers every question by UDP, as `mode` says: with 127.0.0.1, "servfail", "nxdomain", or not at all ("silent").

    `asked` holds the questions of the present mode: who asked (its port), the question's number and its type.
    """

    def __init__(self) -> None:
        # Any address of 127/8 is this machine's: one of its own lets two of these run beside each other.
        self.address = f"127.53.{random.randint(1, 254)}.{random.randint(1, 254)}"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.address, 53))
        self._lock = threading.Lock()
        self._mode = "answers"
        self.asked: set[tuple[int, bytes, bytes]] = set()
        threading.Thread(target=self._serve, name="resolver", daemon=True).start()

    @contextmanager
    def mode(self, mode: str) -> Iterator[None]:
        self._set(mode)
        try:
            yield
        finally:
            self._set("answers")

    def _set(self, mode: str) -> None:
        with self._lock:
            self._mode, self.asked = mode, set()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                question, client = self._socket.recvfrom(4096)
            except OSError:
                return
            with self._lock:
                mode = self._mode
                self.asked.add((client[1], question[:2], _type(question)))
            if mode != "silent":
                with suppress(OSError):
                    self._socket.sendto(_answer(question, mode), client)


def _end_of_question(message: bytes) -> int:
    """Of the one question of a message: RFC 1035, 4.1.2."""
    at = 12
    while message[at]:
        at += message[at] + 1
    return at + 5


def _type(message: bytes) -> bytes:
    end = _end_of_question(message)
    return message[end - 4 : end - 2]


def _answer(question: bytes, mode: str) -> bytes:
    """RFC 1035, 4.1: the question again, with one address where one was asked for."""
    code = {"servfail": SERVFAIL, "nxdomain": NXDOMAIN}.get(mode, NOERROR)
    found = code == NOERROR and _type(question) == A.to_bytes(2)
    flags = (0x8180 | code).to_bytes(2)
    counts = bytes([0, 1, 0, int(found), 0, 0, 0, 0])
    address = b"\xc0\x0c" + A.to_bytes(2) + (1).to_bytes(2) + (0).to_bytes(4) + (4).to_bytes(2) + bytes([127, 0, 0, 1])
    return question[:2] + flags + counts + question[12 : _end_of_question(question)] + (address if found else b"")


class ResolvingPortal(FaultPortal):
    """Its processes ask `resolver` for every name, and wait for it as long as the system's library ever does."""

    def __init__(self, resolver: Resolver, **environment: str) -> None:
        super().__init__(**environment)
        self.command = in_a_namespace(
            {
                "/etc/resolv.conf": f"nameserver {resolver.address}\noptions timeout:30 attempts:5\n",
                "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
            },
            self.folder / "etc",
            self.command,
        )


def in_a_namespace(files: dict[str, str], folder: Path, command: list[str]) -> list[str]:
    """`command`, for whose processes these files hold this. It keeps the process id it is started with."""
    folder.mkdir()
    mounts = ""
    for path, text in files.items():
        mine = folder / Path(path).name
        mine.write_text(text)
        mounts += f"mount --bind {shlex.quote(str(mine))} {path} && "
    return ["unshare", "--mount", "sh", "-c", f'{mounts}exec "$@"', "sh", *command]
