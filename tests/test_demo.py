"""The two things a newcomer runs first: ``manifestd demo``, and the example that is checked in."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from manifestd.cli.main import run
from manifestd.store import open_store
from manifestd.store.check import check_store
from tests.support import make_example

ROOT = Path(__file__).parents[1]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory of its own, nothing of this machine's settings."""
    for name in ("MANIFESTD_CONFIG", "MANIFESTD_STORE", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_demo_shows_the_main_job_with_nothing_prepared(quiet: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "manifestd", "demo"],
        cwd=quiet,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS  identical: 9 files are identical" in done.stdout
    assert "FAIL  different: 2 files differ, 1 is missing on the right" in done.stdout
    assert '/torch_dtype: "float16" -> "bfloat16"' in done.stdout
    assert done.stdout.count("verified: ") >= 2
    assert "NOT AS EXPECTED" not in done.stdout
    assert list(quiet.iterdir()) == [], "it leaves nothing behind"


def test_the_commands_that_the_demo_shows_do_what_they_did(
    quiet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "walk"]) == 0
    shown = re.findall(
        r"^\$ manifestd (diff .*|verify .*|list)$", capsys.readouterr().out, re.MULTILINE
    )
    assert len(shown) >= 4
    codes = [run(["--config", "walk/manifestd.toml", *line.split()]) for line in shown]
    assert set(codes) == {0, 1}
    assert check_store(quiet / "walk" / "snapshots" / "manifestd.db") == []
    assert run(["demo", "walk"]) == 2
    assert "not empty" in capsys.readouterr().err


def test_the_example_is_sound_and_of_a_trusted_key(
    quiet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(make_example.FOLDER, quiet / "tiny")
    base = ["--config", "tiny/manifestd.toml"]
    assert run([*base, "store", "check"]) == 0, "run `make example`"
    assert run([*base, "verify", "hf://acme/tiny@v1", "hf://acme/tiny@v2"]) == 0
    assert run([*base, "diff", "hf://acme/tiny@v1", "hf://acme/tiny@v2"]) == 1
    # Reading leaves nothing beside it: a checkout stays clean.
    assert {path.name for path in (quiet / "tiny").iterdir()} == {
        path.name for path in make_example.FOLDER.iterdir()
    }


def test_the_example_made_anew_has_the_manifests_of_the_one_checked_in(tmp_path: Path) -> None:
    make_example.main(tmp_path / "tiny")
    with (
        open_store(make_example.FOLDER / "manifestd.db") as old,
        open_store(tmp_path / "tiny" / "manifestd.db") as new,
    ):
        assert [row.manifest for row in new.snapshots.list()] == [
            row.manifest for row in old.snapshots.list()
        ]
        assert [row.captured_at for row in new.snapshots.list()] == [
            row.captured_at for row in old.snapshots.list()
        ]
    for name in ("example.pub", "manifestd.toml"):
        assert (tmp_path / "tiny" / name).read_bytes() == (make_example.FOLDER / name).read_bytes()
