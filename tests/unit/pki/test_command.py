"""`manage.py inspect_pem`: in a process of its own, as a pipeline runs it, and by parts."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from apps.pki import command
from tests.certs import Made, make_ca, make_leaf
from tests.unit.pki import raw

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-W", "error", "manage.py", "inspect_pem"]


@pytest.fixture
def files(tmp_path: Path, root: Made) -> Path:
    expired = make_ca(not_before=datetime.now(UTC) - timedelta(days=9), not_after=datetime.now(UTC) - timedelta(days=1))
    (tmp_path / "root.pem").write_text(root.pem)
    (tmp_path / "root.der").write_bytes(root.der)
    (tmp_path / "serial.der").write_bytes(raw.raw_certificate(serial=b"\xff"))
    (tmp_path / "leaf.pem").write_text(make_leaf(issuer=root).pem)
    (tmp_path / "both.pem").write_text(root.pem + make_ca("Other").pem)
    (tmp_path / "expired.pem").write_text(expired.pem)
    (tmp_path / "damaged.der").write_bytes(raw.raw_certificate(version=7))
    (tmp_path / "key.pem").write_text(root.pem + root.key_pem)
    return tmp_path


def judged(folder: Path, names: Sequence[str], **options: Any) -> tuple[int, list[dict[str, Any]]]:
    out = io.StringIO()
    code = command.run([str(folder / name) for name in names], jsonl=True, out=out, **options)
    return code, [json.loads(line) for line in out.getvalue().splitlines()]


def test_one_object_per_file_in_the_order_of_the_paths(files: Path, root: Made) -> None:
    code, rows = judged(files, ["root.pem", "serial.der", "both.pem"])
    assert code == 0
    assert [row["verdict"] for row in rows] == ["accept", "caution", "caution"]
    assert [set(row) for row in rows] == [{"path", "verdict", "findings", "certificates"}] * 3
    assert rows[0]["path"] == str(files / "root.pem")
    facts = rows[0]["certificates"][0]
    assert (facts["fingerprint"], facts["role"], facts["chosen"]) == (root.fingerprint, "root", True)
    assert facts["pem"] == root.pem
    told = next(row for row in rows[1]["findings"] if row["severity"] == "caution")
    assert (told["check"], told["message"]) == ("serial_number", "The serial number is negative")
    assert told["detail"].endswith(".")
    assert told["citation"].startswith("https://")
    assert [facts["chosen"] for facts in rows[2]["certificates"]] == [False, False]


def test_one_refusal_makes_the_exit_code_1(files: Path) -> None:
    for name in ("leaf.pem", "expired.pem", "damaged.der", "key.pem"):
        code, rows = judged(files, ["root.pem", name, "root.der"])
        assert (code, [row["verdict"] for row in rows]) == (1, ["accept", "refuse", "accept"])
    assert judged(files, ["damaged.der"])[1][0]["certificates"][0]["role"] == "unreadable"


def test_choice_and_override_are_options(files: Path, root: Made) -> None:
    assert judged(files, ["both.pem"], choose=root.fingerprint)[1][0]["verdict"] == "accept"
    assert judged(files, ["expired.pem"], accept_expired=True)[0] == 0


def test_no_byte_of_a_key_is_printed(files: Path, root: Made, capsys: pytest.CaptureFixture[str]) -> None:
    secret = root.key_pem.splitlines()[1]
    for jsonl in (True, False):
        assert command.run([str(files / "key.pem")], jsonl=jsonl) == 1
    printed = capsys.readouterr()
    assert "private key" in printed.out
    assert secret not in printed.out + printed.err


def test_words_for_people(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(files / name) for name in ("root.pem", "both.pem", "damaged.der", "leaf.pem")]
    assert command.run(paths) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{paths[0]}: accept", "  1. Test Root (root)"]
    assert any(line.startswith("  caution: The upload holds 2 certificates: 2 roots.") for line in lines)
    assert "  1. damaged certificate (unreadable)" in lines
    assert f"{paths[3]}: refuse" in lines


def test_reasons_of_several_name_their_certificate(
    tmp_path: Path, root: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    leaves = "".join(make_leaf(name, issuer=root).pem for name in ("a", "b"))
    (tmp_path / "leaves.pem").write_text(leaves)
    assert command.run([str(tmp_path / "leaves.pem")]) == 1
    assert "  refuse: certificate 2: This certificate is not a CA" in capsys.readouterr().out


def test_unreadable_paths_come_last_in_rank_and_stop_nothing(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(files / "missing.pem"), str(files), "nul\0byte", str(files / "leaf.pem")]
    assert command.run(paths, jsonl=True) == 2
    printed = capsys.readouterr()
    assert [json.loads(line)["path"] for line in printed.out.splitlines()] == [paths[3]]
    assert [line.rpartition(": ")[0] for line in printed.err.splitlines()] == [*paths[:2], "nul\\00byte"]


def test_a_dash_is_standard_input(root: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(root.der)))
    code, rows = judged(Path(), ["-"])
    assert (code, rows[0]["path"], rows[0]["verdict"]) == (0, "-", "accept")


def test_only_as_much_is_read_as_could_be_accepted(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"A" * 10_000_000)
    code, rows = judged(tmp_path, ["large"])
    assert (code, rows[0]["findings"][0]["check"]) == (1, "size")


def test_as_a_process_it_needs_no_settings_and_writes_nothing(files: Path, root: Made) -> None:
    before = sorted(files.iterdir())
    environment = {**os.environ, "BYOCA_MODE": "deployed", "BYOCA_DATA_DIR": str(files / "data"), "DATABASE_URL": "no"}
    done = subprocess.run(
        [*COMMAND, "--jsonl", str(files / "serial.der"), "-", "--", str(files / "missing")],
        cwd=ROOT, env=environment, input=root.der, capture_output=True, check=False,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["path"], row["verdict"]) for row in rows] == [(str(files / "serial.der"), "caution"), ("-", "accept")]
    assert (done.returncode, sorted(files.iterdir())) == (2, before)
    assert b"cannot be read" in done.stderr


def test_odd_file_names_and_a_closed_pipe_are_no_reason_to_fail(files: Path, root: Made) -> None:
    odd = os.fsencode(files) + b"/\xff\n.pem"
    Path(os.fsdecode(odd)).write_text(root.pem)
    done = subprocess.run([*COMMAND, odd], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr, b"\n.pem" in done.stdout) == (0, b"", False)
    shown = subprocess.run([*COMMAND, "--jsonl", odd], cwd=ROOT, capture_output=True, check=True)
    assert os.fsencode(json.loads(shown.stdout)["path"]) == odd
    line = " ".join([*COMMAND, "--jsonl", *[str(files / "both.pem")] * 400, "| head -n 1"])
    piped = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, check=False)
    assert (piped.returncode, piped.stderr) == (0, b"")


def test_it_is_a_django_command_too(files: Path) -> None:
    out = io.StringIO()
    call_command("inspect_pem", str(files / "root.pem"), "--jsonl", stdout=out)
    assert json.loads(out.getvalue())["verdict"] == "accept"
    with pytest.raises(SystemExit) as ended:
        call_command("inspect_pem", str(files / "leaf.pem"), stdout=io.StringIO())
    assert ended.value.code == 1


def test_main_reads_options_anywhere(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.TextIOWrapper):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    with (files / "out").open("wb") as file:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file))
        assert command.main([str(files / "root.pem"), "--jsonl", str(files / "root.der")]) == 0
        sys.stdout.flush()
        assert len((files / "out").read_text().splitlines()) == 2
        monkeypatch.setattr(sys, "stdout", Closed(file))
        assert command.main([str(files / "root.pem")]) == command.REFUSED
    monkeypatch.undo()
