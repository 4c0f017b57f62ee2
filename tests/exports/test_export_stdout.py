"""``export -o -``: one file goes to standard output, byte for byte; a directory cannot."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from manifestd.cli.main import run

SINGLE = ("sha256sum", "manifest", "bundle", "oms")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_bytes(b"{}")
    assert run(["-q", "init"]) == 0
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    return tmp_path


@pytest.mark.parametrize("form", SINGLE)
def test_one_file_goes_to_standard_output(
    home: Path, capfdbinary: pytest.CaptureFixture[bytes], form: str
) -> None:
    before = sorted(home.iterdir())
    capfdbinary.readouterr()
    assert run(["export", "m", "--as", form, "-o", "-"]) == 0
    out = capfdbinary.readouterr()
    assert b"wrote" not in out.err
    assert sorted(home.iterdir()) == before
    assert run(["export", "m", "--as", form, "-o", "file"]) == 0
    made = (home / "file").read_bytes()
    # Signatures and the moment of a bundle differ from one time to the next.
    assert out.out == made if form in {"sha256sum", "manifest"} else out.out[:2] == made[:2]
    if form == "sha256sum":
        assert out.out == f"{hashlib.sha256(b'{}').hexdigest()}  config.json\n".encode()


def test_a_directory_is_refused_and_nothing_is_written(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(home.iterdir())
    capsys.readouterr()
    assert run(["export", "m", "--as", "oci-layout", "-o", "-"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "Error: --as oci-layout makes a directory\nhint: name a new one with -o\n",
    )
    assert run(["export", "nothing", "--as", "sha256sum", "-o", "-"]) == 3
    assert capsys.readouterr().out == ""
    assert sorted(home.iterdir()) == before


def test_a_table_is_all_that_is_told_when_the_process_has_ended(home: Path) -> None:
    command = ["export", "m", "--as", "parquet", "-o", "m.parquet"]
    done = subprocess.run(
        [sys.executable, "-m", "manifestd", *command], cwd=home, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.splitlines() == [b"wrote m.parquet"]
