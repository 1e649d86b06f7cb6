"""docs/sandbox.md names every switch with its default, every fault with its fields, and every control call."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from apps.sandbox.control_actions import ACTIONS
from apps.sandbox.fault_kinds import BEFORE, BODY, INSTEAD
from apps.sandbox.switches import DEFAULTS

DOC = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def rows(after: str) -> list[list[str]]:
    """The cells of the table whose head starts with this text."""
    table = DOC.split(f"\n| {after} |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n")[2:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_switches_and_their_defaults() -> None:
    told = {named(cells[0])[0]: cells[1].strip("`") for cells in rows("switch")}
    assert told == {name: str(value).lower() for name, value in asdict(DEFAULTS).items()}
    assert all(re.match("[COI]", cells[3]) for cells in rows("switch"))


def test_faults_and_their_fields() -> None:
    families = {"instead of the answer": INSTEAD, "out of the real answer": BODY, "before the call": BEFORE}
    for head, kinds in families.items():
        told = {kind: cells[1] for cells in rows(head) for kind in named(cells[0])}
        assert set(told) == set(kinds)
        assert all(f"`{field}`" in told[kind] for kind, fields in kinds.items() for field in fields)


def test_control_calls() -> None:
    assert all(f"`{path}`" in DOC or f"/_sandbox/{path}" in DOC for path in ACTIONS)
