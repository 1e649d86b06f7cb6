"""`manage.py inspect_pem`: the gate for pipelines. It needs no database and no data folder, and writes nothing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from apps.pki.bundle import MAX_BYTES
from apps.pki.findings import Finding
from apps.pki.inspection import Inspection, inspect
from apps.pki.names import safe_text

ADMITTED, REFUSED, UNREADABLE = 0, 1, 2
STANDARD_INPUT = "-"
HELP = "Say what each certificate file is and whether Cloudflare will take it as a CA. Nothing is stored."
EXIT_CODES = (
    "Exit code: 0 when every file is accepted or accepted with caution, 1 when one is refused, "
    "2 when a path cannot be read (the others are still judged)."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declared once for `manage.py inspect_pem` and for `call_command`."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file in PEM, DER or PKCS#7; - is standard input")
    parser.add_argument("--jsonl", action="store_true", help="one JSON object per file")
    parser.add_argument("--choose", default="", metavar="SHA256", help="fingerprint of the one meant among several")
    parser.add_argument("--accept-expired", action="store_true", help="an expired CA is a caution, not a refusal")


def main(arguments: Sequence[str]) -> int:
    """The command line without Django: it starts in a tenth of the time and reads no settings."""
    parser = argparse.ArgumentParser("manage.py inspect_pem", description=HELP, epilog=EXIT_CODES)
    add_arguments(parser)
    given = parser.parse_intermixed_args(arguments)
    # Names of files and subjects may not fit the terminal's encoding; that is no reason to fail.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return run(given.paths, jsonl=given.jsonl, choose=given.choose, accept_expired=given.accept_expired)
    except BrokenPipeError:
        # Whoever read has enough. Nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED


def run(
    paths: Sequence[str],
    *,
    jsonl: bool = False,
    choose: str = "",
    accept_expired: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Judge each path in turn, print one answer each, and return the exit code. At most 64 KB of each are read."""
    code, now = ADMITTED, datetime.now(UTC)
    for path in paths:
        try:
            data = _read(path)
        except (OSError, ValueError) as fault:
            words = getattr(fault, "strerror", None) or "not a path"
            print(
                f"{safe_text(path)}: cannot be read ({words}). Check the path and its permissions.",
                file=err or sys.stderr,
            )
            code = UNREADABLE
            continue
        seen = inspect(data, now=now, choose=choose, accept_expired=accept_expired)
        print(_json(path, seen) if jsonl else "\n".join(_lines(path, seen)), file=out or sys.stdout)
        code = max(code, REFUSED if seen.verdict == "refuse" else ADMITTED)
    return code


def _read(path: str) -> bytes:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    with Path(path).open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _json(path: str, seen: Inspection) -> str:
    return json.dumps(
        {
            "path": path,
            "verdict": seen.verdict,
            "findings": [_finding(finding) for finding in seen.findings],
            "certificates": [{**one.to_dict(), "chosen": one is seen.chosen} for one in seen.candidates],
        }
    )


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "severity": finding.severity.value,
        "message": finding.message,
        "detail": finding.detail,
        "citation": finding.citation,
        "position": finding.position,
    }


def _lines(path: str, seen: Inspection) -> Iterator[str]:
    """For people: the verdict, each certificate, and every finding that is more than "passed"."""
    yield f"{safe_text(path)}: {seen.verdict}"
    for one in seen.candidates:
        yield f"  {one.position}. {one.label} ({one.role})"
        if one.facts:
            yield f"     {one.facts.key_label}, {one.facts.signature_label}"
            yield f"     {one.facts.not_before:%Y-%m-%d} to {one.facts.not_after:%Y-%m-%d}"
        yield f"     SHA-256 {one.fingerprint}"
    for finding in seen.findings:
        if finding.severity != "passed":
            place = f"certificate {finding.position}: " if finding.position else ""
            yield f"  {finding.severity.value}: {place}{finding.message}. {finding.detail}".rstrip()
