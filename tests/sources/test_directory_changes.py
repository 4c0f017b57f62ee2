"""A directory that changes under its reader: noticed, or the listed bytes, never a mixture."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from manifestd.errors import ChangedError
from manifestd.reading.measure import RetryBudget, measure
from manifestd.reading.wants import Wants
from tests.contracts.source_suite import content, listed
from tests.sources.test_directory import opened, write

# Changes between listing and reading, and while reading


def replace_by_link(root: Path) -> None:
    (root / "sub/w.bin").unlink()
    (root / "sub/w.bin").symlink_to(root.parent / "secret")


def replace_folder_by_link(root: Path) -> None:
    (root / "sub").rename(root.parent / "moved")
    (root / "sub").symlink_to(root.parent / "evil")


def replace_by_fifo(root: Path) -> None:
    (root / "sub/w.bin").unlink()
    os.mkfifo(root / "sub/w.bin")


def replace_by_folder(root: Path) -> None:
    (root / "sub/w.bin").unlink()
    (root / "sub/w.bin").mkdir()


def replace_by_equal_file(root: Path) -> None:
    data = (root / "sub/w.bin").read_bytes()
    found = (root / "sub/w.bin").stat()
    (root / "sub/new").write_bytes(data)
    os.utime(root / "sub/new", ns=(found.st_atime_ns, found.st_mtime_ns))
    (root / "sub/new").rename(root / "sub/w.bin")


def rewrite_and_set_the_time_back(root: Path) -> None:
    found = (root / "sub/w.bin").stat()
    (root / "sub/w.bin").write_bytes(b"\0" * found.st_size)
    os.utime(root / "sub/w.bin", ns=(found.st_atime_ns, found.st_mtime_ns))


def remove(root: Path) -> None:
    (root / "sub/w.bin").unlink()


def remove_folder(root: Path) -> None:
    shutil.rmtree(root / "sub")


@pytest.mark.parametrize("known_folder", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        replace_by_link,
        replace_folder_by_link,
        replace_by_fifo,
        replace_by_folder,
        replace_by_equal_file,
        rewrite_and_set_the_time_back,
        remove,
        remove_folder,
    ],
)
def test_what_changed_after_listing_is_never_read(
    tmp_path: Path, change: Callable[[Path], None], known_folder: bool
) -> None:
    root = tmp_path / "root"
    write(root, {"sub/a.bin": b"a", "sub/w.bin": b"weights"})
    write(tmp_path, {"secret": b"weights", "evil/w.bin": b"weights"})
    source, resolved = opened(root)
    entries = listed(source, resolved)
    if known_folder:
        content(source, resolved, entries["sub/a.bin"])
    change(root)
    if known_folder and change is replace_folder_by_link:
        # The folder that was listed is still held open: its own bytes, not those of the link.
        assert content(source, resolved, entries["sub/w.bin"]) == b"weights"
        source.close()
        return
    with pytest.raises(ChangedError) as caught:
        source.open(resolved, entries["sub/w.bin"])
    assert "sub/w.bin" in caught.value.what
    with pytest.raises(ChangedError):
        source.peek(resolved, entries["sub/w.bin"]).read_at(0, 4)
    source.close()


def test_a_folder_replaced_by_an_equal_one_is_read_anew_after_listing_again(tmp_path: Path) -> None:
    write(tmp_path, {"sub/w.bin": b"old"})
    source, resolved = opened(tmp_path)
    assert content(source, resolved, listed(source, resolved)["sub/w.bin"]) == b"old"
    shutil.rmtree(tmp_path / "sub")
    write(tmp_path, {"sub/w.bin": b"new"})
    assert content(source, resolved, listed(source, resolved)["sub/w.bin"]) == b"new"
    source.close()


@pytest.mark.parametrize("offset", [0, 300_000])
@pytest.mark.parametrize("how", ["grow", "truncate", "rewrite", "empty"])
def test_a_file_that_changes_while_it_is_read_gives_no_digest(
    tmp_path: Path, how: str, offset: int
) -> None:
    file = tmp_path / "w.bin"
    file.write_bytes(bytes(1_000_000))
    source, resolved = opened(tmp_path)
    entry = listed(source, resolved)["w.bin"]
    stream = source.open(resolved, entry, offset)
    pieces = stream.chunks(100_000)
    next(pieces)
    with file.open("r+b") as writer:
        if how == "grow":
            writer.seek(0, 2)
            writer.write(b"more")
        elif how == "rewrite":
            writer.write(b"X" * 1_000_000)
        else:
            writer.truncate(0 if how == "empty" else 600_000)
    with pytest.raises(ChangedError):
        for _ in pieces:
            pass
    stream.close()
    source.close()


def test_a_change_while_measuring_becomes_the_files_problem(tmp_path: Path) -> None:
    file = tmp_path / "w.bin"
    file.write_bytes(bytes(8_000_000))  # progress is told of some MB at once
    source, resolved = opened(tmp_path)
    entry = listed(source, resolved)["w.bin"]

    def meddle(_: int) -> None:
        with file.open("r+b") as writer:
            writer.write(b"X")

    result = measure(
        lambda offset: source.open(resolved, entry, offset),
        "w.bin",
        entry.size,
        Wants(),
        budget=RetryBudget(),
        on_bytes=meddle,
    )
    assert result.problem is not None
    assert result.problem.code == "changed-while-reading"
    assert result.digests == {}
    source.close()


def test_a_file_written_a_moment_ago_is_not_opened_within_the_clocks_tick(tmp_path: Path) -> None:
    """Two writes in one tick look the same: reading waits until a later one must show."""
    file = tmp_path / "w.bin"
    for round_ in range(20):
        file.write_bytes(b"1")
        source, resolved = opened(tmp_path)
        entry = listed(source, resolved)["w.bin"]
        stream = source.open(resolved, entry)
        file.write_bytes(b"2")
        assert file.stat().st_ctime_ns != int(entry.identity["ctimeNs"]), round_
        stream.close()
        source.close()


# Large files


@pytest.mark.parametrize("size", [1024 * 1024, 100_000])
def test_reading_ahead_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    from manifestd.sources import local_stream

    monkeypatch.setattr(local_stream, "AHEAD_FROM", 1_000_000)
    monkeypatch.setattr(local_stream, "SPAN", 2_500_000)
    data = os.urandom(20_000_001)
    (tmp_path / "w.bin").write_bytes(data)
    source, resolved = opened(tmp_path)
    entry = listed(source, resolved)["w.bin"]
    for offset in (0, 1, 12_345_678):
        with source.open(resolved, entry, offset) as stream:
            found = hashlib.sha256()
            for piece in stream.chunks(size):
                assert len(piece) <= size
                found.update(piece)
        assert found.hexdigest() == hashlib.sha256(data[offset:]).hexdigest()
    source.close()


@pytest.mark.parametrize("how", ["truncate", "leave"])
def test_reading_ahead_ends_with_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    import threading

    from manifestd.sources import local_stream

    monkeypatch.setattr(local_stream, "AHEAD_FROM", 1_000_000)
    monkeypatch.setattr(local_stream, "SPAN", 12_000_000)  # more than may wait
    file = tmp_path / "w.bin"
    file.write_bytes(bytes(30_000_000))
    source, resolved = opened(tmp_path)
    stream = source.open(resolved, listed(source, resolved)["w.bin"])
    pieces = stream.chunks(1 << 20)
    for _ in pieces:  # the first span is read without
        if any(each.name == "manifestd-ahead" for each in threading.enumerate()):
            break
    else:
        pytest.fail("nothing was read ahead")
    if how == "truncate":
        os.truncate(file, 0)
        with pytest.raises(ChangedError):
            list(pieces)
    stream.close()
    assert not any(each.name == "manifestd-ahead" for each in threading.enumerate())
    source.close()
