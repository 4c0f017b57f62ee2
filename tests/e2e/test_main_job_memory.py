"""Memory stays flat, whatever is read."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.desk import Desk

MIB = 1024 * 1024
LIMIT = 200 * MIB


def family_memory(pid: int) -> int:
    """Bytes of a process and its children, pages they share counted once (PSS)."""
    total = 0
    for task in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            group = int((task / "stat").read_text().rpartition(")")[2].split()[2])
            if group == pid:
                lines = (task / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024


def holes(path: Path, size: int, head: bytes = b"") -> None:
    """A file of this size that takes no disk space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's smaps_rollup"
)
@pytest.mark.parametrize("jobs", ["2", "8"])
@pytest.mark.parametrize(
    "kind",
    ["one large file", "large weights", "large texts", "many files", "texts among many files"],
)
def test_a_snapshot_takes_less_than_200_mib(desk: Desk, kind: str, jobs: str) -> None:
    place = desk.folder / "place"
    if kind == "one large file":
        holes(place / "model.bin", 1024 * MIB)
    elif kind == "large weights":
        header = {"w": {"dtype": "U8", "shape": [400 * MIB], "data_offsets": [0, 400 * MIB]}}
        text = json.dumps(header).encode()
        for number in range(2):
            head = len(text).to_bytes(8, "little") + text
            holes(place / f"{number}.safetensors", len(head) + 400 * MIB, head)
    elif kind.endswith(" texts") or kind.startswith("texts "):
        for number in range(1100 if "many" in kind else 0):
            holes(place / f"{number}.small", 30)
        for number in range(12):
            holes(place / f"{number}.json", 15 * MIB, b'{"a": "')
            holes(place / f"{number}.txt", 400 * MIB if number == 0 else 15 * MIB, b"text")
    else:
        for number in range(6000):
            holes(place / f"{number % 50}" / f"{number}.json", 3000, b"{}")
    with subprocess.Popen(
        [sys.executable, "-m", "manifestd", "-q", "snapshot", "dir", "place", "--jobs", jobs],
        cwd=desk.folder,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, family_memory(process.pid))
            time.sleep(0.05)
    assert process.returncode == 0
    assert 10 * MIB < peak < LIMIT, f"{peak / MIB:.0f} MiB"
