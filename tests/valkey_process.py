"""The Redis-compatible server of `make up`, on a socket of its own, for tests without a REDIS_URL."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from byoca_portal.supervisor.up import valkey_server


class ValkeyProcess:
    """`with ValkeyProcess(folder) as server:` until it listens; `server.url` is for redis-py."""

    def __init__(self, folder: Path, *options: str) -> None:
        # Socket paths are short; a test's own folder may be deep.
        self._socket = Path(tempfile.mkdtemp(prefix="valkey-")) / "s"
        self._folder, self._options = folder, options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def broker_url(self) -> str:
        return f"redis+socket://{self._socket}"

    @property
    def socket(self) -> Path:
        return self._socket

    def __enter__(self) -> ValkeyProcess:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        server = valkey_server()
        if server is None:
            raise RuntimeError("There is no Valkey wheel for this system. Set REDIS_URL.")
        self._socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [str(server), "--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._folder), "--save", "",
             *self._options],
            stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while not self._socket.exists():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("Valkey did not start.")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
