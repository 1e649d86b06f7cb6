"""Twenty at once: one upload gets the last slot (INV-27), one worker records a threshold, on either database."""

from __future__ import annotations

import ast
import collections
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.portal_process import ROOT

PROCESSES, THREADS = 2, 10
READY_S = 15.0


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An empty database: beside the one DATABASE_URL names, or a SQLite file."""
    values = {name: value for name, value in os.environ.items() if not name.startswith("BYOCA_")}
    values["BYOCA_DATA_DIR"] = str(tmp_path)
    url = values.pop("DATABASE_URL", "")
    if not url.startswith("postgres"):
        yield values
        return
    name = f"byoca_parallel_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield {**values, "DATABASE_URL": f"{url.rpartition('/')[0]}/{name}"}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def start(environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.integration.crowd", *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def twenty(environment: dict[str, str], act: str) -> dict[str, int]:
    # The processes load first and begin together; one that is late only has less company.
    crowd = [start(environment, act, str(THREADS), str(time.time() + READY_S)) for _ in range(PROCESSES)]
    ends: collections.Counter[str] = collections.Counter()
    for process in crowd:
        out, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
        ends.update(ast.literal_eval(out.strip().splitlines()[-1]))
    return dict(ends)


def test_of_twenty_at_once_exactly_one_has_the_effect(environment: dict[str, str]) -> None:
    made = start(environment, "prepare")
    _, said = made.communicate(timeout=120)
    assert made.returncode == 0, said
    assert twenty(environment, "upload") == {"admitted": 1, "full": PROCESSES * THREADS - 1}
    assert twenty(environment, "expire") == {"1": 1, "0": PROCESSES * THREADS - 1}
