"""Start and stop of the stand-in, for `manage.py sandbox` and `python -m apps.sandbox`."""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from apps.sandbox import seed
from apps.sandbox.incoming import PREFIX
from apps.sandbox.server import SandboxServer, listen
from apps.sandbox.store import Store
from apps.sandbox.tokens import create_token, find_token

PORT_TAKEN = 3
NOT_WRITABLE = 4
CARD = "sandbox.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8787, help="0 takes a free one")
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of sandbox.sqlite3 and sandbox.json")
    parser.add_argument("--seed", action="store_true", help="fill an empty store with an example account")


def run(*, port: int, bind: str, data_dir: Path, with_seed: bool) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 0, PORT_TAKEN or NOT_WRITABLE."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Store(data_dir / "sandbox.sqlite3")
    except (OSError, sqlite3.Error) as refusal:
        return _say(f"The sandbox cannot write its data in {data_dir}: {refusal}. Choose another folder.", NOT_WRITABLE)
    try:
        server = listen(bind, port, store)
    except OSError as refusal:
        store.close()
        taken = refusal.errno == errno.EADDRINUSE
        why = "is in use by another program" if taken else f"cannot be opened ({refusal.strerror})"
        return _say(f"Port {port} on {bind} {why}. Stop that program or choose another port.", PORT_TAKEN)
    try:
        seeded = seed.seed(store) if with_seed else None
        write_card(store, data_dir / CARD, server.origin + PREFIX, seeded)
    except (OSError, sqlite3.Error) as refusal:
        server.server_close()
        store.close()
        return _say(f"The sandbox cannot write its data in {data_dir}: {refusal}. Choose another folder.", NOT_WRITABLE)
    _serve(server)
    store.close()
    return 0


def _serve(server: SandboxServer) -> None:
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    print(f"listening on {server.origin}", flush=True)
    done.wait()
    server.stop()
    thread.join()


def write_card(store: Store, path: Path, base_url: str, seeded: seed.SeedResult | None) -> None:
    """Write `sandbox.json` (mode 600): where the API is, its token and ids.

    The store knows only the token's hash. When the file is gone or its token is not known, a new token is made.
    """
    with store.transaction() as db:
        account = db.execute("SELECT id FROM accounts ORDER BY rowid").fetchone()
        token = seeded.token if seeded else _earlier_token(path)
        if account and not (token and find_token(db, token).id):
            _, token = create_token(db, account_id=account["id"], name="BYOCA Portal", now=store.clock())
        names = {row["name"]: row["id"] for row in db.execute("SELECT name, id FROM zones ORDER BY rowid")}
    card: dict[str, Any] = {
        "base_url": base_url,
        "token": token if account else None,
        "account_id": account["id"] if account else None,
        "zones": names,
    }
    beside = path.with_suffix(".new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(card, file, indent=2)
    beside.replace(path)


def _earlier_token(path: Path) -> str | None:
    try:
        token = json.loads(path.read_text(encoding="utf-8"))["token"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return token if isinstance(token, str) else None


def _say(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr, flush=True)
    return code
