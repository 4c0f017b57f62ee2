"""The list of files as a Parquet table, for a warehouse (extra ``parquet``)."""

from __future__ import annotations

import atexit
import gc
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import duckdb

from manifestd.exports.base import Export, Exported

_ROWS: Final = 10_000
_INSERT: Final = (
    "INSERT INTO files SELECT ?, ?, ?, ?, ?, ?, "
    "unnest(?::TEXT[]), unnest(?::BIGINT[]), unnest(?::TEXT[])"
)
_PIECE: Final = 1024 * 1024

# DuckDB's binding reports on stderr whatever the end of the process does not collect, and the
# command line freezes what it made to end sooner.
atexit.register(gc.unfreeze)


class Parquet(Export):
    """One row a file: snapshot, manifest, name, source, revision, captured_at, path, size, sha256."""

    name = "parquet"

    def write(self, snapshot: Exported) -> Iterator[tuple[str, bytes]]:
        """The table, zstd-compressed."""
        record = snapshot.record
        same = (
            snapshot.digest, record.manifest, record.name, record.source, record.revision,
            record.captured_at,
        )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="manifestd-") as folder:
            target = Path(folder) / "files.parquet"
            with duckdb.connect() as database:
                database.execute(
                    "CREATE TABLE files(snapshot TEXT, manifest TEXT, name TEXT, source TEXT, "
                    "revision TEXT, captured_at TEXT, path TEXT, size BIGINT, sha256 TEXT)"
                )
                items = iter(snapshot.files())
                while batch := list(islice(items, _ROWS)):
                    # By columns: a row at a time takes two minutes for 100,000 files.
                    columns = (
                        [item.path for item in batch],
                        [item.size for item in batch],
                        [item.sha256 for item in batch],
                    )
                    database.execute(_INSERT, (*same, *columns))
                database.table("files").write_parquet(str(target), compression="zstd")
            with target.open("rb") as written:
                while piece := written.read(_PIECE):
                    yield "", piece
