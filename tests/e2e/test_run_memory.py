"""A run's memory stays flat, however many models it has and whatever is written of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from manifestd.model.reference import parse_reference
from manifestd.store import open_store
from tests.workflows.stored import keep, listed_file

SIDES = {"hub": "hf://{name}@main", "mirror": "s3://models/{name}/"}
FORMATS = ("html", "junit", "sarif", "json", "csv", "markdown", "text")
FEW, MANY = 200, 2000
PARENT = """
import os, sys
child = os.fork()
if not child:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss)
"""


def stored_models(folder: Path, count: int) -> None:
    """So many models of eight files on two sides; every tenth has changed ones, every fifth unread ones."""
    folder.mkdir()
    models = "".join(f'[[model]]\nname = "acme/{number}"\n' for number in range(count))
    sides = ", ".join(f'{side} = "{place}"' for side, place in SIDES.items())
    (folder / "manifestd.toml").write_text(
        f'[store]\npath = "s.db"\n[policy]\nlicenses = ["mit"]\n'
        f"[defaults]\nsides = {{ {sides} }}\n{models}"
    )
    with open_store(folder / "s.db", write=True) as store, store.transaction():
        for number in range(count):
            name = f"acme/{number}"
            for side, place in SIDES.items():
                files = {}
                for shard in range(8):
                    data = f"{name} {shard} {side if number % 10 == 0 else ''}".encode()
                    read = side == "hub" or number % 5
                    files[f"{shard}.bin"] = listed_file(
                        f"{shard}.bin", data, {"sha256": "measured"} if read else {"md5": "stored"}
                    )
                source = parse_reference(place.format(name=name)).place()
                keep(store, files, source=source, requested="main", name=name)


def peak(folder: Path, *arguments: str) -> int:
    """MiB that a command took at most.

    A process counts what its parent had when it was forked, so the parent is a small one.
    """
    command = [sys.executable, "-m", "manifestd", "--quiet", *arguments]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PARENT, *command],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, used = map(int, done.stdout.split())
    assert code in {0, 1}, done.stderr
    return used >> 10


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_ten_times_the_models_take_no_more_memory(tmp_path: Path) -> None:
    reports = [text for form in FORMATS for text in ("--report", f"{form}:report.{form}")]
    for count in (FEW, MANY):
        stored_models(tmp_path / str(count), count)
    few, many = (
        peak(tmp_path / str(count), "run", "--offline", "--no-sign", *reports)
        for count in (FEW, MANY)
    )
    assert 10 < few < many + 5
    assert many - few < 8, f"{few} MiB for {FEW} models, {many} MiB for {MANY}"
    for form in FORMATS:
        text = (tmp_path / str(MANY) / f"report.{form}").read_text(encoding="utf-8")
        assert f"acme/{MANY - 10}" in text or form == "markdown"
    few, many = (peak(tmp_path / str(count), "metrics") for count in (FEW, MANY))
    assert many - few < 5, f"metrics: {few} MiB for {FEW} models, {many} MiB for {MANY}"
