"""A listing of the Hub, line by line, with what can be checked about it without reading a byte.

The Hub's listing is complete or it is not; nothing in it says so. Three things
tell: every name of the repository's info is there, every folder named has a
file below it, and every file's folder is named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import msgspec

from manifestd.canonical import MAX_INTEGER
from manifestd.display import some_of
from manifestd.errors import MalformedError, UnreachableError
from manifestd.model.digest import check_value
from manifestd.model.entry import Entry, Problem

MAX_ENTRIES: Final = 5_000_000
"""More lines than any repository has; a listing beyond it does not end."""

_MAX_PATH: Final = 4096
_SHOWN: Final = 5


class LfsLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The LFS part of a line: sha256 and size of the content, length of its pointer."""

    oid: str
    size: int
    pointer_size: int | None = None


class TreeLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of ``/tree/<commit>?recursive=true``."""

    type: str
    path: str
    oid: str = ""
    size: int = 0
    lfs: LfsLine | None = None
    xet_hash: str | None = None


Page = list[TreeLine]
"""One page of a listing."""


class Listing:
    """Turns lines into entries and keeps what is needed to tell whether any are missing.

    Args:
        commit: The commit listed.
        names: The names of the repository's info at that commit, where known.
    """

    def __init__(self, commit: str, names: frozenset[str] | None) -> None:
        self.files = 0
        self._commit = commit
        self._missing = set(names) if names is not None else None
        self._unlisted: list[str] = []
        self._seen: set[str] = set()
        self._folders: set[str] = set()
        self._used: set[str] = set()

    def take(self, line: TreeLine) -> Iterator[Entry | Problem]:
        """The entry of one line, and problems the line has.

        Raises:
            UnreachableError: The path was listed before, or the listing does not end.
        """
        path = line.path
        if path in self._seen:
            raise UnreachableError(
                f"the Hub lists {path!r} twice",
                why="pages of different revisions, or a mirror's mistake: neither is a listing",
            )
        self._seen.add(path)
        if len(self._seen) > MAX_ENTRIES:
            raise UnreachableError("the Hub's listing does not end")
        if line.type == "directory":
            self._folders.add(path)
            return
        self._count(path)
        if line.type != "file":
            what = f"it is a {line.type[:40]!r}, not a file"
            yield Problem(path=path, code="special-file", what=what)
            return
        self.files += 1
        yield from _entry(line, self._commit)

    def end(self) -> Iterator[Problem]:
        """Problems that only the end shows: signs that lines are missing."""
        if self._missing:
            yield _short("names files that its listing leaves out", self._missing)
        if self._unlisted:
            yield _short("lists files that its info does not name", self._unlisted, note=True)
        empty = self._folders - self._used
        if empty:
            yield _short("lists folders with nothing in them", empty)
        if self._folders and self._used - self._folders:
            yield _short("leaves out the folders of files", self._used - self._folders)

    def _count(self, path: str) -> None:
        if self._missing is not None:
            if path in self._missing:
                self._missing.discard(path)
            elif len(self._unlisted) < _SHOWN:
                self._unlisted.append(path)
        folder = path.rpartition("/")[0]
        while folder and folder not in self._used:
            self._used.add(folder)
            folder = folder.rpartition("/")[0]


def _short(what: str, names: set[str] | list[str], *, note: bool = False) -> Problem:
    shown = some_of(sorted(names), _SHOWN, repr)
    return Problem(
        code="listing-incomplete",
        what=f"the Hub {what}: {shown}",
        hint="take the snapshot again, from the Hub itself if this is a mirror",
        severity="note" if note else "error",
    )


def _entry(line: TreeLine, commit: str) -> Iterator[Entry | Problem]:
    path = line.path
    size = line.size if line.lfs is None else line.lfs.size
    digests: dict[str, str] = {}
    identity = {"commit": commit}
    try:
        blob_id = check_value("sha1-git", line.oid)
        identity["blobId"] = blob_id
        if line.lfs is None:
            digests["sha1-git"] = blob_id
        else:
            digests["sha256"] = check_value("sha256", line.lfs.oid)
            if line.xet_hash is not None:
                digests["xet"] = check_value("xet", line.xet_hash)
    except MalformedError as error:
        what = f"the Hub states a digest that is none: {error.what}"
        yield Problem(path=path, code="malformed", what=what, severity="note")
    if line.lfs is not None and "sha256" in digests:
        yield from _check_pointer(line, line.lfs)
    yield Entry(
        path=path,
        size=size,
        digests=digests,
        evidence=dict.fromkeys(digests, "declared"),
        identity=identity,
        hints={} if line.lfs is None else {"lfs": True},
        problem=_unreadable(path, size),
    )


def _unreadable(path: str, size: int) -> Problem | None:
    """Why a line cannot be asked for, by its looks; git could not hold such a file."""
    what = None
    if not 0 <= size <= MAX_INTEGER:
        what = f"its listed size is {size}"
    elif not path or len(path.encode()) > _MAX_PATH:
        what = "its path is empty or too long"
    elif any(part in {"", ".", ".."} for part in path.split("/")):
        # A URL with these would name something else.
        what = "its path is no path inside a repository"
    return Problem(path=path, code="unreadable", what=what) if what else None


def _check_pointer(line: TreeLine, lfs: LfsLine) -> Iterator[Problem]:
    """Check the declared sha256 against the commit: the pointer it makes has the blob's id.

    Pointers with further lines are allowed, so a difference informs and does not fail.
    """
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{lfs.oid}\nsize {lfs.size}\n"
    ).encode()
    text = b"blob %d\0" % len(pointer) + pointer
    # Git's name for the pointer; not a protection.
    made = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    stated = lfs.pointer_size
    if made != line.oid or line.size != lfs.size or stated not in {None, len(pointer)}:
        yield Problem(
            path=line.path,
            code="lfs-pointer-mismatch",
            what="the declared sha256 and size do not make the LFS pointer of this commit",
            hint="read the bytes: --read all",
            severity="note",
        )
