"""Git LFS pointers: recognised under any name, never taken for what they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifestd.errors import UnreadableError
from manifestd.model.entry import Entry
from manifestd.model.lfs_pointer import Pointer, parse_pointer
from manifestd.model.reference import DirectoryReference
from manifestd.sources.base import SourceSettings
from manifestd.sources.directory import DirectorySource

SHA = "1cdad234" + "5" * 56
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA}\nsize 515093104\n".encode()
EXTENDED = POINTER.replace(
    b"oid", f"ext-0-foo sha256:{'a' * 64}\next-1-b sha256:{'b' * 64}\noid".encode(), 1
)


@pytest.mark.parametrize(
    "data",
    [
        POINTER,
        POINTER[:-1],
        POINTER.replace(b"\n", b"\r\n"),
        POINTER.replace(b"git-lfs.github.com/spec/v1", b"hawser.github.com/spec/v1"),
        POINTER.replace(b"https://git-lfs.github.com/spec/v1", b"http://git-media.io/v/2"),
    ],
)
def test_every_spelling_that_git_lfs_reads_is_a_pointer(data: bytes) -> None:
    assert parse_pointer(data) == Pointer(SHA, 515093104)


def test_a_pointer_with_extensions_names_what_is_stored_not_what_it_becomes() -> None:
    assert parse_pointer(EXTENDED) == Pointer(SHA, 515093104, extended=True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        POINTER + b"\n",
        POINTER + b"x",
        b" " + POINTER,
        b"\xef\xbb\xbf" + POINTER,
        POINTER.replace(b"sha256:1", b"sha256:X"),
        POINTER.replace(b"sha256", b"sha512"),
        POINTER.replace(b"515093104", b"-1"),
        POINTER.replace(b"515093104", b"007"),
        POINTER.replace(b"size", b"Size"),
        POINTER.replace(b"spec/v1", b"spec/v2"),
        POINTER.replace(SHA.encode(), SHA[1:].encode()),
        b"# About pointers\n" + POINTER,
        POINTER * 9,
    ],
)
def test_what_only_resembles_a_pointer_is_content(data: bytes) -> None:
    assert parse_pointer(data) is None


def list_one(root: Path) -> tuple[DirectorySource, Entry]:
    source = DirectorySource(DirectoryReference(path=str(root)), SourceSettings())
    (found,) = [each for each in source.list(source.resolve()) if isinstance(each, Entry)]
    return source, found


@pytest.mark.parametrize("name", ["model.safetensors", "notes.txt", "config.json"])
def test_a_pointer_is_listed_as_not_content_and_has_no_digest(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    source, entry = list_one(tmp_path)
    assert entry.problem is not None
    assert (entry.problem.code, entry.problem.severity) == ("lfs-pointer", "error")
    assert entry.problem.what == f"pointer, not content: sha256 {SHA}, 515093104 bytes"
    assert entry.hints == {"lfsSha256": SHA, "lfsSize": 515093104}
    assert entry.digests == {}
    with pytest.raises(UnreadableError, match="pointer, not content"):
        source.open(source.resolve(), entry)
    source.close()


def test_a_pointer_behind_a_symlink_is_still_one(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "kept").write_bytes(POINTER)
    (tmp_path / "model.bin").symlink_to(".git/kept")
    source, entry = list_one(tmp_path)
    assert entry.problem is not None
    assert entry.hints["lfsSha256"] == SHA
    assert entry.hints["symlink"] == ".git/kept"
    source.close()


def test_a_claimed_size_beyond_what_json_carries_is_left_out_of_the_record(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(POINTER.replace(b"515093104", b"9" * 19))
    source, entry = list_one(tmp_path)
    assert entry.problem is not None
    assert entry.hints == {"lfsSha256": SHA}
    source.close()
