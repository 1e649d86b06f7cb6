"""One supervised process: started, watched, restarted with back-off, stopped with patience."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

PR_SET_PDEATHSIG = 1
GRACE_S = 12.0
STEADY_AFTER_S = 20.0
MAX_BACKOFF_S = 15.0


def _die_with_parent() -> None:
    """Linux only: a child gets SIGTERM when `up` is killed outright, so that nothing lingers."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    """`restart` is False for a part whose end must end everything."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    say: Callable[[str, str], None] = print
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    failures: int = 0
    next_start_at: float = 0.0

    def start(self) -> None:
        self.started_at = time.monotonic()
        # A session of its own: Ctrl-C reaches `up` alone, which stops the parts in order.
        self.process = subprocess.Popen(  # noqa: S603
            self.command,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        threading.Thread(target=self._forward, args=(self.process,), daemon=True).start()

    def _forward(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self.say(self.name, line.rstrip("\n"))

    def watch(self) -> None:
        """Restart the process if it ended, later each time it ends soon after its start."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.next_start_at:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            if now - self.started_at > STEADY_AFTER_S:
                self.failures = 0
            return
        # What it had started in turn would hold its port, or work on beside its successor.
        self._end_session(self.process.pid)
        delay = min(0.5 * 2**self.failures, MAX_BACKOFF_S)
        self.failures += 1
        self.process, self.next_start_at = None, now + delay
        self.say("up", f"{self.name} ended ({_why(code)}). It is started again in {delay:g} s.")

    def end(self, why: str) -> None:
        """Kill a process that lives and does nothing; `watch` starts another."""
        if self.process is not None and self.process.poll() is None:
            self.say("up", f"{self.name} is ended: {why}")
            self._end_session(self.process.pid)

    def stop(self) -> None:
        """Ask, wait, then insist. Its own children are in its session and go with it."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.say("up", f"{self.name} did not stop in {GRACE_S:g} s and is ended.")
        self._end_session(self.process.pid)
        self.process.wait()

    def _end_session(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _why(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
