"""Exporting stored snapshots: to one file or a directory that appears whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from manifestd.errors import UsageError
from manifestd.exports import EXPORTS
from manifestd.exports.base import Exported
from manifestd.model.manifest import Item, encode_manifest
from manifestd.store import Store


def exported(store: Store, reference: str) -> Exported:
    """What exports read of a stored snapshot.

    Raises:
        UsageError: The snapshot is incomplete: a format without a digest would claim too much.
    """
    digest = store.snapshots.resolve(reference)
    record = store.snapshots.load(digest)
    if record.manifest is None:
        raise UsageError(
            "the snapshot is incomplete: a file's sha256 is not known",
            hint="take it again with --read missing",
        )

    def files() -> Iterator[Item]:
        for path, size, sha256 in store.trees.content(record.content):
            assert sha256 is not None
            yield Item(path, size, sha256)

    return Exported(
        digest=digest,
        record=record,
        files=files,
        manifest=lambda: encode_manifest(files()),
        bundles=store.snapshots.bundles(digest),
    )


def export_snapshot(store: Store, reference: str, form: str, target: Path) -> list[str]:
    """Write a snapshot in another tool's format; returns the paths written below ``target``.

    Raises:
        UsageError: The format cannot carry it, or the target is there already.
    """
    export = EXPORTS.load(form)()
    if target.exists():
        raise UsageError(f"{target} exists", hint="name a new file or remove the old one")
    pieces = export.write(exported(store, reference))
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".manifestd-", dir=target.parent))
    try:
        written = _write(pieces, folder)
        made = folder if export.several else folder / "export"
        made.chmod(0o755 if export.several else 0o644)
        made.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return written


def _write(pieces: Iterator[tuple[str, bytes]], folder: Path) -> list[str]:
    written: list[str] = []
    for path, data in pieces:
        target = folder / (path or "export")
        if path not in written:
            written.append(path)
            target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as file:
            file.write(data)
    return written
