"""A whole portal whose every part may be killed, stopped or emptied: also the broker, where REDIS_URL names one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import redis

from byoca_portal.supervisor.up import valkey_server
from tests.portal_process import PortalProcess, free_port, wait_for


class RedisServer:
    """A server by TCP, as deployed. It keeps nothing: started again it is empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(valkey_server()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        self.process = subprocess.Popen(
            [*command, str(self.folder), "--maxmemory-policy", "noeviction"], stdout=subprocess.DEVNULL
        )
        client = redis.Redis.from_url(self.url)
        wait_for(lambda: _pings(client), within_s=20, saying="redis listens")
        client.close()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


class FaultPortal(PortalProcess):
    """With REDIS_URL set it gets a Redis of its own beside the one that names: tests stop and empty it."""

    def __init__(self, **environment: str) -> None:
        super().__init__(**environment)
        self.redis: RedisServer | None = None
        if os.environ.get("REDIS_URL") and valkey_server():
            self.redis = RedisServer(self.folder)
            self.redis.start()
            self.environment["REDIS_URL"] = self.redis.url

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self.redis:
            self.redis.stop()

    def broker(self) -> redis.Redis:
        if self.redis:
            return redis.Redis.from_url(self.redis.url)
        return redis.Redis(unix_socket_path=str(self.folder / "broker" / "valkey.sock"))

    def cut_connections(self) -> None:
        """End every session of the portal's PostgreSQL database, as a failover does."""
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as session:
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [self.database],
            )
