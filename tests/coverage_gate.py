"""Fails unless the rooms that decide things are covered to the last branch. Reads the .coverage file of the run."""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path

import coverage

ROOMS = [
    "apps/pki/*", "apps/planning/*", "apps/cloudflare/*", "apps/*/services.py", "apps/*/*_services.py",
    "apps/coverage/moves.py", "apps/outbound/*", "apps/probing/handshake.py", "apps/probing/verdict.py",
]  # fmt: skip


def main() -> int:
    report = coverage.Coverage()
    report.load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        total = report.json_report(outfile=str(path), include=ROOMS)
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
    short = {name: row["summary"]["percent_covered"] for name, row in sorted(files.items())}
    short = {name: percent for name, percent in short.items() if percent < 100}
    if not short:
        print(f"Branch coverage of {len(files)} deciding modules: {total:.0f} %")
        return 0
    print("Not covered to the last branch:")
    details = io.StringIO()
    report.report(include=list(short), show_missing=True, file=details)
    print(details.getvalue())
    return 1


if __name__ == "__main__":
    sys.exit(main())
