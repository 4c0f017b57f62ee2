"""A prefix with very many keys is listed, planned and recorded in memory that hardly grows with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "s3_snapshot.py"
FEW, MANY = 60_000, 240_000
GROWTH = 64
"""MiB for 180,000 more keys: an entry as Python holds it takes four times as much."""


@pytest.mark.slow
def test_memory_hardly_grows_with_the_number_of_keys() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARK, f"keys-{FEW}", f"keys-{MANY}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = re.findall(r"(\d+) keys in +[\d.]+ s, (\d+) MiB", done.stdout)
    memory = {int(keys): int(mib) for keys, mib in found}
    assert memory.keys() == {FEW, MANY}
    assert memory[MANY] - memory[FEW] < GROWTH
