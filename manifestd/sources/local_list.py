"""Listing a directory: every name is either an entry or said to be something else."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final

import msgspec

from manifestd.canonical import MAX_INTEGER
from manifestd.display import printable
from manifestd.errors import ManifestdError
from manifestd.model.entry import Entry, Problem
from manifestd.model.lfs_pointer import LARGEST, may_be_pointer, parse_pointer
from manifestd.sources.local_open import Beneath, LinkError, folder_fd, translated

MAX_DEPTH: Final = 100
"""Directories below each other; one descriptor each is held while listing."""

_REPLACE: Final = "put what it names in its place, or leave it out with --ignore"
_LEAVE_OUT: Final = "remove it, or leave it out with --ignore"

_SPECIAL: Final = {
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


_LOCALE: Final = sys.getfilesystemencoding()


class _Level(msgspec.Struct):
    """One directory being listed: its descriptor, its path with a slash, what is left of it."""

    fd: int
    prefix: str
    names: Iterator[str]


class Listing:
    """One walk over everything beneath a directory.

    Args:
        root: The directory.
        left_out: Path -> why, of what is not the repository's content.
        read_at: Reads some bytes of an entry, to recognise pointer files.
    """

    def __init__(
        self,
        root: Beneath,
        left_out: Mapping[str, str],
        read_at: Callable[[Entry, int, int], bytes],
    ) -> None:
        self._root = root
        self._left_out = left_out
        self._read_at = read_at

    def walk(self) -> Iterator[Entry | Problem]:
        """Yield entries and problems, in the byte order of their paths.

        Raises:
            OSError: The root itself cannot be listed.
        """
        levels = [_Level(folder_fd(".", dir_fd=self._root.fd), "", iter(()))]
        try:
            levels[0].names = iter(_names(levels[0].fd))
            while levels:
                below = yield from self._files(levels[-1])
                if below is None:
                    os.close(levels.pop().fd)
                    continue
                entered = _enter(levels[-1].fd, below, len(levels))
                if isinstance(entered, Problem):
                    yield entered
                else:
                    levels.append(entered)
        finally:
            for level in levels:
                os.close(level.fd)

    def _files(self, level: _Level) -> Generator[Entry | Problem, None, str | None]:
        """What is in a directory up to the next one below it, whose path comes back, or to its end."""
        fd, prefix, left_out = level.fd, level.prefix, self._left_out
        for name in level.names:
            path = prefix + name
            folder = name[-1] == "/"
            if folder:
                path = path[:-1]
            if path in left_out or not path.isascii():
                skipped = self._left_out_or_foreign(path)
                if skipped is not None:
                    yield skipped
                    continue
            if folder:
                return path
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                yield self._link(path) if stat.S_ISLNK(found.st_mode) else self._entry(path, found)
            except OSError as error:
                yield _problem(path, translated(error, path))
        return None

    def _left_out_or_foreign(self, path: str) -> Problem | None:
        if path in self._left_out:
            return Problem(
                path=path,
                code="left-out",
                what=f"left out: {self._left_out[path]}",
                severity="note",
            )
        return foreign_name(path)

    def _link(self, path: str) -> Entry | Problem:
        """A symlink counts as the file it names, if that lies in the directory too."""
        try:
            target = self._root.follow(path)
            target.encode()
        except LinkError as error:
            code = "symlink-escapes" if error.escapes else "symlink"
            return Problem(path=path, code=code, what=f"a symlink that {error.what}", hint=_REPLACE)
        except UnicodeEncodeError:
            return Problem(path=path, code="not-utf8", what="a symlink to a name that is not UTF-8")
        if target in self._left_out:
            return Problem(
                path=path,
                code="left-out",
                what=f"left out, a symlink to {printable(target)}: {self._left_out[target]}",
                severity="note",
            )
        if not target or stat.S_ISDIR((found := self._root.stat(target)).st_mode):
            return Problem(
                path=path,
                code="symlink",
                what="a symlink to a directory; links to directories are not followed",
                hint=_REPLACE,
            )
        return self._entry(path, found, {"symlink": target})

    def _entry(
        self, path: str, found: os.stat_result, hints: dict[str, Any] | None = None
    ) -> Entry | Problem:
        if not stat.S_ISREG(found.st_mode):
            kind = _SPECIAL.get(stat.S_IFMT(found.st_mode), "not a file")
            what = f"{kind}, which has no content"
            return Problem(path=path, code="special-file", what=what, hint=_LEAVE_OUT)
        size = found.st_size
        entry = Entry(path=path, size=size, identity=identity_of(found), hints=hints or {})
        if may_be_pointer(size):
            return self._unless_pointer(entry)
        return entry

    def _unless_pointer(self, entry: Entry) -> Entry:
        try:
            pointer = parse_pointer(self._read_at(entry, 0, LARGEST + 1))
        except ManifestdError as error:
            # Not to know whether it is a pointer is not to know whether it is content.
            return msgspec.structs.replace(entry, problem=_problem(entry.path, error))
        if pointer is None:
            return entry
        hints = dict(entry.hints)
        if not pointer.extended:
            hints["lfsSha256"] = pointer.sha256
        if not pointer.extended and pointer.size <= MAX_INTEGER:
            hints["lfsSize"] = pointer.size
        return msgspec.structs.replace(
            entry,
            hints=hints,
            problem=Problem(
                path=entry.path,
                code="lfs-pointer",
                what=f"pointer, not content: sha256 {pointer.sha256}, {pointer.size} bytes",
                hint="git lfs pull",
            ),
        )


def foreign_name(path: str) -> Problem | None:
    """The problem of a path that is not UTF-8 and so cannot be in a record; None: it is."""
    if path.isascii():
        return None
    if _LOCALE != "utf-8":
        # What the locale makes of the name's bytes is another name, or none.
        what = f"the name {printable(path)} cannot be told: file names are {_LOCALE} here"
        return Problem(code="not-utf8", what=what, hint="set PYTHONUTF8=1")
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        what = f"the name {printable(shown)} is not UTF-8"
        return Problem(code="not-utf8", what=what, hint="rename it")
    return None


def identity_of(found: os.stat_result) -> dict[str, str]:
    """What tells one state of a file from every other: equal means not written since."""
    return {
        "inode": str(found.st_ino),
        "size": str(found.st_size),
        "mtimeNs": str(found.st_mtime_ns),
        "ctimeNs": str(found.st_ctime_ns),
    }


def _names(fd: int) -> list[str]:
    """Names in a directory, those of directories with a slash, in the order of full paths.

    Ordering text by code point is ordering it by its UTF-8 bytes, and the slash
    puts a directory's files where their full paths belong.
    """
    with os.scandir(fd) as found:
        return sorted(
            each.name + "/" if each.is_dir(follow_symlinks=False) else each.name for each in found
        )


def _enter(fd: int, path: str, depth: int) -> _Level | Problem:
    if depth >= MAX_DEPTH:
        return Problem(path=path, code="unreadable", what=f"more than {MAX_DEPTH} directories deep")
    try:
        below = folder_fd(path.rpartition("/")[2], dir_fd=fd)
        try:
            return _Level(below, path + "/", iter(_names(below)))
        except OSError:
            os.close(below)
            raise
    except OSError as error:
        return _problem(path, translated(error, path))


def _problem(path: str, error: ManifestdError) -> Problem:
    return Problem(path=path, code=error.code, what=error.what, hint=error.hint)
