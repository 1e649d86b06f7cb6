"""Locks that cannot deadlock with the head of the audit log.

Every act takes the head last and checks its foreign keys when it commits, with the head still held. An act that holds a
row those keys name, key and all, and waits for the head would wait for ever: PostgreSQL then ends one of the two (seen:
an approval beside a reading of its zone). So rows that others refer to are locked without their key.
"""

from __future__ import annotations

import re
from pathlib import Path

APPS = Path(__file__).resolve().parents[3] / "apps"
PARENT = re.compile(r"\b(?:Account|CertificateAuthority|Zone)\.objects\.select_for_update\(([^)]*)\)")


def test_rows_that_others_refer_to_are_locked_without_their_key() -> None:
    found = [
        (path.name, match[0])
        for path in APPS.rglob("*.py")
        for match in PARENT.finditer(path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 10
    assert [place for place in found if "no_key=True" not in place[1]] == []
