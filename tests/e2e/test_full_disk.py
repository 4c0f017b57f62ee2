"""A disk that fills up while something is written: said as such, nothing half left, and gone on from."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from manifestd.errors import AccessDeniedError, TamperedError, UndecidedError
from manifestd.model.reference import parse_directory
from manifestd.store import open_store
from manifestd.store.check import check_store
from manifestd.store.schema import rebuild_index_tables, rebuild_log_tables
from manifestd.workflows.snapshot import SnapshotRequest, take_snapshot
from tests.support.trees import write_tree


def noise(number: int) -> bytes:
    """A JSON text that does not compress."""
    return json.dumps(
        [hashlib.sha256(b"%d/%d" % (number, row)).hexdigest() for row in range(200)]
    ).encode()


FILES = {f"{number:03}.json": noise(number) for number in range(200)}


def no_room_after(size: int) -> None:
    """Lets this process write no file larger than ``size``, as a disk that is full would not."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_what_was_read_until_the_disk_was_full_is_kept_whole_or_read_again(tmp_path: Path) -> None:
    request = SnapshotRequest(reference=parse_directory(str(write_tree(tmp_path / "m", FILES))))
    path = tmp_path / "s.db"
    with open_store(path, write=True) as store:
        pages = store._database.one("PRAGMA page_count")
        assert pages is not None
        # Room for some of the bodies: results were taken before the disk was full, and after.
        for more in (2, 20, 60):
            store._database.run(f"PRAGMA max_page_count={pages[0] + more}")
            with pytest.raises(UndecidedError, match="the disk is full"):
                take_snapshot(request, store=store, tool="test")
        store._database.run("PRAGMA max_page_count=1073741823")
        record = take_snapshot(request, store=store, tool="test").record
        assert (record.complete, record.files) == (True, len(FILES))
        assert [
            store.blobs.get(f"sha256:{file.sha256}") for file in store.trees.files(record)
        ] == list(FILES.values())
    assert check_store(path) == []


@pytest.mark.parametrize("rebuild", [rebuild_index_tables, rebuild_log_tables])
def test_a_store_that_cannot_be_written_is_not_rebuilt_and_no_defect(
    tmp_path: Path, rebuild: object
) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        store._database.run("PRAGMA query_only=ON")
        with pytest.raises(AccessDeniedError, match="cannot be written"):
            rebuild(store._database)  # type: ignore[operator]


def test_an_index_of_a_table_that_is_gone_is_damage_and_no_defect(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.db", write=True) as store:
        store._database.run("DROP TABLE blob")
        with pytest.raises(TamperedError, match="damaged"):
            rebuild_index_tables(store._database)


@pytest.mark.parametrize("room", [0, 4, 200])
@pytest.mark.parametrize("arguments", [("init", "x"), ("key", "new", "x/k.pem")])
def test_no_half_of_a_key_or_a_configuration_stays(
    tmp_path: Path, arguments: tuple[str, ...], room: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "manifestd", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: no_room_after(room),
    )
    assert done.returncode in {2, 3}
    assert "cannot be" in done.stderr or "full" in done.stderr
    left = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert left in ({}, {".gitignore": "*.pem\n"})
