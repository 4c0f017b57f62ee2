"""Two trees recorded and taken away, and what is then said of them from the store."""

from __future__ import annotations

import json
import shutil
from typing import Any

from tests.e2e.desk import Desk
from tests.support.schemas import check_document


def both(desk: Desk, left: dict[str, bytes], right: dict[str, bytes], *, code: int = 0) -> None:
    """Record two trees, then take the trees away: what is said is said from the store.

    ``code`` is what taking the snapshots must end with.
    """
    for name, files in (("left", left), ("right", right)):
        shutil.rmtree(desk.folder / name, ignore_errors=True)
        desk.tree(name, files)
        desk("-q", "snapshot", "dir", name, code=code)
    for name in ("left", "right"):
        shutil.rmtree(desk.folder / name)


def compared(desk: Desk, *options: str, code: int) -> Any:
    """The document of the diff between the two."""
    left, right = (f"file://{desk.folder / name}" for name in ("left", "right"))
    document = desk.json("diff", left, right, *options, code=code)
    check_document("diff", document)
    return document


def shown(desk: Desk, *options: str) -> str:
    left, right = (f"file://{desk.folder / name}" for name in ("left", "right"))
    return desk("diff", left, right, *options, code=None).out


def file_of(document: Any, path: str) -> Any:
    return next(file for file in document["files"] if file["path"] == path)


def dumped(value: Any, **options: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, **options).encode()
