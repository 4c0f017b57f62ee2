"""A directory as a source: what it lists, what it refuses, what it notices."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from manifestd.errors import (
    AccessDeniedError,
    ChangedError,
    ManifestdError,
    SourceNotFoundError,
    UnreadableError,
    UsageError,
)
from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import DirectoryReference, parse_directory
from manifestd.sources.base import Resolved, Source, SourceSettings
from manifestd.sources.directory import DirectorySource
from manifestd.sources.local_list import MAX_DEPTH
from tests.contracts.source_suite import Place, SourceContract, content, listed


def source_of(path: Path | str, **settings: Any) -> DirectorySource:
    return DirectorySource(parse_directory(str(path)), SourceSettings(**settings))


def write(root: Path, tree: Mapping[str, bytes]) -> None:
    for path, data in tree.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def opened(root: Path, **settings: Any) -> tuple[DirectorySource, Resolved]:
    source = source_of(root, **settings)
    return source, source.resolve()


def everything(root: Path, **settings: Any) -> tuple[dict[str, Entry], list[Problem]]:
    source, resolved = opened(root, **settings)
    found = list(source.list(resolved))
    source.close()
    entries = {each.path: each for each in found if isinstance(each, Entry)}
    return entries, [each for each in found if isinstance(each, Problem)]


def the_problem(root: Path) -> Problem:
    _, (problem,) = everything(root)
    return problem


class DirectoryPlace:
    def __init__(self, path: Path) -> None:
        self.root = path / "tree"

    def make(self, tree: Mapping[str, bytes]) -> Source[Any]:
        write(self.root, tree)
        return source_of(self.root)

    def change(self, path: str, data: bytes) -> None:
        (self.root / path).write_bytes(data)

    def missing(self) -> Source[Any]:
        return source_of(self.root / "nowhere")


class TestDirectory(SourceContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return DirectoryPlace(tmp_path)


# The place itself


def test_a_file_is_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        source_of(tmp_path / "file").resolve()


@pytest.mark.parametrize("name", ["nul\0byte", os.fsdecode(b"not-utf8-\xff")])
def test_a_path_that_no_record_could_hold_is_wrong_usage(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        DirectorySource(DirectoryReference(path=f"{tmp_path}/{name}"), SourceSettings()).resolve()


def test_it_is_named_after_its_last_part_and_filed_under_its_path(tmp_path: Path) -> None:
    (tmp_path / "gpt2" / "sub").mkdir(parents=True)
    resolved = source_of(tmp_path / "gpt2").resolve()
    assert (resolved.name, resolved.revision) == ("gpt2", None)
    assert resolved.place == f"file://{tmp_path}/gpt2"
    assert source_of(f"{tmp_path}/gpt2/sub/..").resolve().name == "gpt2"
    assert source_of("/").resolve().name == "root"


def test_the_root_itself_may_be_a_symlink(tmp_path: Path) -> None:
    write(tmp_path / "real", {"a": b"1"})
    (tmp_path / "link").symlink_to("real")
    entries, problems = everything(tmp_path / "link")
    assert list(entries) == ["a"]
    assert problems == []


def test_reading_before_resolving_or_after_closing_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"1"})
    source, resolved = opened(tmp_path)
    entry = listed(source, resolved)["a"]
    source.close()
    with pytest.raises(UnreadableError):
        source.open(resolved, entry)
    with pytest.raises(UnreadableError):
        list(source_of(tmp_path).list(resolved))


# Listing


def test_paths_come_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    names = [
        "a",
        "a.b",
        "a/b",
        "a-b",
        "a0",
        "B",
        "é",
        "z/y/x",
        "z.y",
        "z0/y",
        "\U0001f917",
        "\uffee",
    ]
    write(tmp_path, {name: b"" for name in names if name != "a"})
    source, resolved = opened(tmp_path)
    found = [each.path for each in source.list(resolved) if isinstance(each, Entry)]
    assert found == sorted(set(names) - {"a"}, key=str.encode)
    source.close()


def test_empty_directories_and_hidden_files_and_long_names(tmp_path: Path) -> None:
    (tmp_path / "empty" / "below").mkdir(parents=True)
    write(tmp_path, {".hidden": b"h", "n" * 255: b"n", "dir/.also": b"", ".dir/x": b""})
    entries, problems = everything(tmp_path)
    assert sorted(entries) == [".dir/x", ".hidden", "dir/.also", "n" * 255]
    assert problems == []


def test_two_normal_forms_and_two_cases_are_different_files(tmp_path: Path) -> None:
    name = "café.txt"
    nfc, nfd = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    write(tmp_path, {nfc: b"c", nfd: b"d", "Model.bin": b"1", "model.bin": b"2"})
    source, resolved = opened(tmp_path)
    entries = listed(source, resolved)
    assert {path: content(source, resolved, entry) for path, entry in entries.items()} == {
        nfc: b"c",
        nfd: b"d",
        "Model.bin": b"1",
        "model.bin": b"2",
    }
    source.close()


def test_hard_links_are_two_files(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"1"})
    os.link(tmp_path / "a", tmp_path / "b")
    entries, problems = everything(tmp_path)
    assert sorted(entries) == ["a", "b"]
    assert problems == []


def test_bookkeeping_and_own_outputs_are_left_out_with_one_note_each(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "config.json": b"{}",
            ".git/HEAD": b"ref",
            ".git/objects/aa/bb": b"x",
            ".cache/huggingface/download/config.json.metadata": b"x",
            ".cache/other": b"kept",
            "sub/.git/HEAD": b"kept, only the root's is git's",
            "snapshots/manifestd.db": b"SQLite",
            "snapshots/kept.json": b"{}",
        },
    )
    (tmp_path / "store").symlink_to("snapshots/manifestd.db")
    own = (str(tmp_path / "snapshots/manifestd.db"), str(tmp_path / "not-there.db"), "/elsewhere")
    entries, problems = everything(tmp_path, own_outputs=own)
    assert sorted(entries) == [
        ".cache/other",
        "config.json",
        "snapshots/kept.json",
        "sub/.git/HEAD",
    ]
    assert {(each.path, each.code, each.severity) for each in problems} == {
        (path, "left-out", "note")
        for path in (".git", ".cache/huggingface", "snapshots/manifestd.db", "store")
    }
    assert len(problems) == 4


def test_own_outputs_are_found_through_a_symlinked_root(tmp_path: Path) -> None:
    write(tmp_path / "real", {"m.db": b"", "a": b""})
    (tmp_path / "link").symlink_to("real")
    entries, _ = everything(tmp_path / "link", own_outputs=(str(tmp_path / "link/m.db"),))
    assert list(entries) == ["a"]


def test_special_files_are_reported_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "sock"))
        entries, problems = everything(tmp_path)
    assert entries == {}
    assert {(each.path, each.code) for each in problems} == {
        ("fifo", "special-file"),
        ("sock", "special-file"),
    }
    assert "a fifo" in problems[0].what


def test_names_that_are_not_utf8_are_described(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    Path(os.fsdecode(folder + b"/bad\xff\x1b.bin")).touch()
    Path(os.fsdecode(folder + b"/dir\xfe")).mkdir()
    Path(os.fsdecode(folder + b"/dir\xfe/inside")).touch()
    (tmp_path / "link").symlink_to(os.fsdecode(b"bad\xff\x1b.bin"))
    entries, problems = everything(tmp_path)
    assert entries == {}
    assert [each.code for each in problems] == ["not-utf8"] * 3
    texts = " ".join(each.what for each in problems)
    assert r"\xff" in texts
    assert r"\xfe" in texts
    assert "\x1b" not in texts
    texts.encode()


def test_a_tree_deeper_than_any_model_is_reported_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"/".join(["d"] * (MAX_DEPTH + 5)) + "/x": b""})
    problem = the_problem(tmp_path)
    assert problem.code == "unreadable"
    assert str(MAX_DEPTH) in problem.what


# Symlinks


def test_a_symlink_to_a_file_inside_is_read_as_that_file(tmp_path: Path) -> None:
    write(tmp_path, {"blobs/abc": b"weights", "other": b""})
    (tmp_path / "model.bin").symlink_to("blobs/abc")
    (tmp_path / "snap").mkdir()
    (tmp_path / "snap/chain").symlink_to("../other/../model.bin")
    (tmp_path / "snap/up").symlink_to("../model.bin")
    (tmp_path / "absolute").symlink_to(tmp_path / "blobs/abc")
    source, resolved = opened(tmp_path)
    found = {each.path: each for each in source.list(resolved)}
    for path in ("model.bin", "snap/up", "absolute"):
        entry = found[path]
        assert isinstance(entry, Entry)
        assert entry.hints == {"symlink": "blobs/abc"}
        assert entry.size == 7
        assert content(source, resolved, entry, 2) == b"ights"
        assert source.peek(resolved, entry).read_at(0, 3) == b"wei"
    # "other" is a file: nothing can be above it.
    broken = found["snap/chain"]
    assert isinstance(broken, Problem)
    assert broken.code == "symlink"
    source.close()


@pytest.mark.parametrize(
    "target",
    [
        "../secret",
        "/etc/passwd",
        "sub/../../secret",
        "sub/up/secret",
        "{sibling}/x",
        "loop/../../s",
    ],
)
def test_a_symlink_that_leads_outside_is_an_error(tmp_path: Path, target: str) -> None:
    root = tmp_path / "root"
    write(tmp_path, {"secret": b"s", "root-sibling/x": b"x", "root/sub/inner/file": b""})
    (root / "sub/up").symlink_to("../..")
    (root / "link").symlink_to(target.format(sibling=f"{tmp_path}/root-sibling"))
    _, problems = everything(root)
    codes = {each.path: each.code for each in problems}
    if target.startswith("loop"):
        assert codes["link"] == "symlink"
    else:
        assert codes["link"] == "symlink-escapes"


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("nothing", "leads to nothing"),
        ("link", "leads in circles"),
        ("folder", "a directory"),
        (".", "a directory"),
    ],
)
def test_a_symlink_to_no_file_is_an_error_that_says_why(
    tmp_path: Path, target: str, what: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(target)
    problem = the_problem(tmp_path)
    assert (problem.code, problem.severity) == ("symlink", "error")
    assert what in problem.what


def test_a_symlink_to_a_fifo_is_a_special_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    _, problems = everything(tmp_path)
    assert [each.code for each in problems] == ["special-file"] * 2


def test_a_symlink_turned_elsewhere_after_listing_is_a_change(tmp_path: Path) -> None:
    write(tmp_path, {"one": b"1", "two": b"1"})
    (tmp_path / "link").symlink_to("one")
    source, resolved = opened(tmp_path)
    entry = listed(source, resolved)["link"]
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("two")
    with pytest.raises(ChangedError):
        source.open(resolved, entry)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("../out")
    with pytest.raises(ChangedError):
        source.open(resolved, entry)
    source.close()


# Access


def as_nobody(work: Callable[[], None]) -> None:
    """Run a check without root's right to read everything."""
    if os.geteuid() != 0:
        work()
        return
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            work()
            status = 0
        except BaseException as error:
            print(repr(error), file=sys.__stderr__, flush=True)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_may_not_be_read_is_denied_and_the_rest_is_listed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, {"secret.bin": b"s", "closed/x": b"x", "open.bin": b"o", "locked/y": b"y"})
        (root / "secret.bin").chmod(0)
        (root / "closed").chmod(0)
        (root / "locked").chmod(0o444)
        root.chmod(0o755)

        def check() -> None:
            source, resolved = opened(root)
            found = list(source.list(resolved))
            entries = {each.path: each for each in found if isinstance(each, Entry)}
            problems = {each.path: each.code for each in found if isinstance(each, Problem)}
            assert sorted(entries) == ["open.bin", "secret.bin"], entries
            assert problems == {"closed": "access-denied", "locked/y": "access-denied"}, problems
            assert content(source, resolved, entries["open.bin"]) == b"o"
            with pytest.raises(AccessDeniedError):
                source.open(resolved, entries["secret.bin"])
            with pytest.raises(AccessDeniedError):
                source_of(root / "closed").resolve()

        as_nobody(check)
        (root / "closed").chmod(0o755)
        (root / "locked").chmod(0o755)


@pytest.mark.parametrize(
    "path", ["../outside", "a/../../outside", "/etc/passwd", "a//b", "", "a/."]
)
def test_an_entry_from_elsewhere_cannot_name_what_is_outside(tmp_path: Path, path: str) -> None:
    write(tmp_path, {"root/a/b": b"", "outside": b"o"})
    source, resolved = opened(tmp_path / "root")
    with pytest.raises(ManifestdError):
        source.open(resolved, Entry(path=path, size=1))
    source.close()


def test_a_missing_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no directory"):
        source_of(tmp_path / "a\x1bb").resolve()


def test_nothing_stays_open(tmp_path: Path) -> None:
    write(tmp_path, {f"d{n}/f{m}": b"x" for n in range(5) for m in range(5)})
    before = len(list(Path("/proc/self/fd").iterdir()))
    source, resolved = opened(tmp_path)
    for entry in listed(source, resolved).values():
        content(source, resolved, entry)
        source.peek(resolved, entry).read_at(0, 1)
    next(source.list(resolved))  # left in the middle
    source.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
