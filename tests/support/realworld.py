"""Real files of public model repositories, awkward on purpose, where this machine has them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

VARIABLE: Final = "MANIFESTD_TEST_REALWORLD"
_BESIDE: Final = Path(__file__).parents[2].parent / "shared" / "data" / "realworld"


def realworld() -> Path:
    """The folder that the variable names, else the one beside the checkout; skips without one."""
    folder = Path(os.environ.get(VARIABLE) or _BESIDE)
    if not folder.is_dir():
        pytest.skip(f"{VARIABLE} names no folder with real files, and none is beside the checkout")
    return folder


def real_tree(name: str) -> dict[str, bytes]:
    """One repository's files by path; ``.gitattributes`` has its own name again."""
    root = realworld() / name
    return {
        path.relative_to(root).as_posix().replace("_gitattributes", ".gitattributes"): (
            path.read_bytes()
        )
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
