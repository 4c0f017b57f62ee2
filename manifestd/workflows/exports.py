"""Exporting stored snapshots: to one file or a directory that appears whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec

from manifestd.errors import ManifestdError, UsageError
from manifestd.exports import EXPORTS
from manifestd.exports.base import Exported
from manifestd.model.manifest import Item, encode_manifest
from manifestd.rules.complete import identity_of
from manifestd.store import Store


def exported(store: Store, reference: str) -> Exported:
    """What exports read of a stored snapshot.

    Raises:
        UsageError: The snapshot is incomplete: a list without a file would claim too much.
    """
    digest = store.snapshots.resolve(reference)
    record = store.snapshots.load(digest)
    identity_of(digest, record, "exported")

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


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What an export wrote.

    Attributes:
        files: Paths below the target, for formats of several files.
        note: What whoever uses it must know.
    """

    files: list[str]
    note: str | None


def export_snapshot(store: Store, reference: str, form: str, target: Path) -> Written:
    """Write a snapshot in another tool's format.

    Raises:
        UsageError: The format cannot carry it, or the target is there already.
    """
    export = EXPORTS.load(form)()
    if target.exists():
        raise UsageError(f"{target} exists", hint="name a new file or remove the old one")
    pieces = export.write(exported(store, reference))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".manifestd-", dir=target.parent))
        try:
            written = _write(pieces, folder)
            made = folder if export.several else folder / "export"
            made.chmod(0o755 if export.several else 0o644)
            made.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise ManifestdError(f"{target} cannot be written: {error.strerror}") from error
    return Written(files=[path for path in written if path], note=export.note)


def _write(pieces: Iterator[tuple[str, bytes]], folder: Path) -> list[str]:
    """Each file is opened once: pieces of one path follow each other."""
    written: list[str] = []
    for path, parts in groupby(pieces, key=itemgetter(0)):
        target = folder / (path or "export")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.writelines(data for _, data in parts)
        written.append(path)
    return written
