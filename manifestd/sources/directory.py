"""A directory as a model repository.

What the place promises here: the root may be a symlink, nothing inside may lead
out of it; special files and foreign names are reported, never skipped in
silence; a file that is not the listed one when it is opened, or no longer when
its last byte was read, is an error.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from manifestd.display import printable
from manifestd.errors import (
    AccessDeniedError,
    ManifestdError,
    SourceNotFoundError,
    UnreadableError,
    UsageError,
)
from manifestd.model.content import RandomAccess, Stream
from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import DirectoryReference
from manifestd.sources.base import Resolved, Source, SourceSettings
from manifestd.sources.local_list import Listing, identity_of
from manifestd.sources.local_open import Beneath, LinkError, translated
from manifestd.sources.local_stream import Buffers, FileStream, changed

TICK: Final = 0.02
"""Seconds within which two writes may get the same time stamp (kernel ticks are 1 to 10 ms)."""

_BOOKKEEPING: Final = {
    ".git": "git's own files",
    ".cache/huggingface": "bookkeeping of hf download",
}
"""Left out where they stand directly in the root."""


class DirectorySource(Source[DirectoryReference]):
    """Files beneath one directory, in the byte order of their paths."""

    scheme = "file"
    local = True

    def __init__(self, reference: DirectoryReference, settings: SourceSettings) -> None:
        super().__init__(reference, settings)
        self._root: Beneath | None = None
        self._left_out: dict[str, str] = {}
        self._buffers = Buffers()

    def resolve(self) -> Resolved:
        """Open the directory; directories have no revisions.

        Raises:
            SourceNotFoundError: There is nothing of that name.
            UsageError: It is not a directory, or its name is not UTF-8.
            AccessDeniedError: It may not be read.
        """
        path = self.reference.path
        try:
            path.encode()
            root = Beneath(path)
        except ValueError as error:
            raise UsageError(f"not a usable path: {printable(path)}") from error
        except OSError as error:
            raise _root_error(error, path) from error
        self.close()
        self._root = root
        self._left_out = {**_BOOKKEEPING, **self._own_outputs(root.real)}
        parts = Path(root.real if ".." in path.split("/") else path)
        return Resolved(place=self.reference.place(), name=parts.name or "root")

    def list(self, resolved: Resolved) -> Iterator[Entry | Problem]:
        """Yield entries and problems; entries come in the byte order of their paths."""
        listing = Listing(self._opened(), self._left_out, self.read_at)
        try:
            yield from listing.walk()
        except OSError as error:
            raise _root_error(error, self.reference.path) from error

    def open(self, resolved: Resolved, entry: Entry, offset: int = 0) -> Stream:
        """Open one file if it still is the listed one.

        Raises:
            ChangedError: It is another file, or not there any more.
            AccessDeniedError: It may not be read.
            UnreadableError: The listing already said that it is not content.
        """
        fd, _ = self._open_listed(entry)
        return FileStream(
            fd,
            entry.path,
            entry.size,
            offset,
            unchanged=lambda fd: _is(entry, os.fstat(fd)),
            buffers=self._buffers,
        )

    def peek(self, resolved: Resolved, entry: Entry) -> RandomAccess:
        """Random access; every read opens and checks the file anew, so nothing is left open."""
        return _Peek(self, entry)

    def read_at(self, entry: Entry, offset: int, length: int) -> bytes:
        """Some bytes of a listed file, at most ``length``, fewer only at its end."""
        fd, found = self._open_listed(entry)
        try:
            data = os.pread(fd, length, offset)
            if 0 < len(data) < length:
                data = _read_on(fd, data, length, offset)
            after = os.fstat(fd)
        except OSError as error:
            raise translated(error, entry.path) from error
        finally:
            os.close(fd)
        if _state(after) != _state(found):
            raise changed(entry.path)
        return data

    def read_small(self, resolved: Resolved, entry: Entry) -> bytes:
        """The whole of a listed file; one that changed meanwhile is an error."""
        data = self.read_at(entry, 0, entry.size)
        if len(data) != entry.size:
            raise changed(entry.path)
        return data

    def close(self) -> None:
        """Close the directory. May be called twice."""
        if self._root is not None:
            self._root.close()
            self._root = None

    def _opened(self) -> Beneath:
        if self._root is None:
            raise UnreadableError(f"{printable(self.reference.path)} is not open: resolve it first")
        return self._root

    def _own_outputs(self, real: str) -> dict[str, str]:
        base = real.rstrip("/") + "/"
        found = {}
        for output in self.settings.own_outputs:
            folder, _, name = output.rpartition("/")
            path = f"{os.path.realpath(folder)}/{name}"
            if path.startswith(base):
                found[path.removeprefix(base)] = "written by manifestd itself"
        return found

    def _open_listed(self, entry: Entry) -> tuple[int, os.stat_result]:
        """The descriptor of a file that is the listed one right now, and its state."""
        root = self._opened()
        if entry.problem is not None:
            raise UnreadableError(f"{printable(entry.path)}: {entry.problem.what}")
        path = entry.path
        try:
            if "symlink" in entry.hints:
                path = str(entry.hints["symlink"])
                if root.follow(entry.path) != path:
                    raise changed(entry.path)
            for _ in range(2):
                fd = root.open_file(path)
                found = os.fstat(fd)
                if _is(entry, found):
                    _settle(found)
                    return fd, found
                os.close(fd)
                root.forget()  # the folder kept open may have been replaced
        except LinkError as error:
            raise changed(entry.path) from error
        except OSError as error:
            raise translated(error, entry.path) from error
        raise changed(entry.path)


class _Peek:
    """Random access to one listed file."""

    def __init__(self, source: DirectorySource, entry: Entry) -> None:
        self._source = source
        self._entry = entry

    @property
    def size(self) -> int:
        return self._entry.size

    def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self._entry.size - offset)
        return self._source.read_at(self._entry, offset, length) if length > 0 else b""


def _read_on(fd: int, data: bytes, length: int, offset: int) -> bytes:
    """The rest of a read that gave less than was asked for."""
    parts = [data]
    while parts[-1] and (length := length - len(parts[-1])) > 0:
        offset += len(parts[-1])
        parts.append(os.pread(fd, length, offset))
    return b"".join(parts)


def _state(found: os.stat_result) -> tuple[int, ...]:
    """What :func:`identity_of` says, of a file that is open: cheaper to compare."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is(entry: Entry, found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and entry.identity == identity_of(found)


def _settle(found: os.stat_result) -> None:
    """Wait until a further write must get another time stamp.

    Without it, a file written twice within one tick of the kernel's clock could
    be read between the two and look unchanged ever after.
    """
    age = time.time() - found.st_ctime_ns / 1e9
    if 0 <= age < TICK:
        time.sleep(TICK - age)


def _root_error(error: OSError, path: str) -> ManifestdError:
    shown = printable(path)
    if error.errno == errno.ENOENT:
        return SourceNotFoundError(
            f"no directory {shown}",
            hint="check the path",
            facts={"path": path},
        )
    if error.errno == errno.ENOTDIR:
        return UsageError(f"not a directory: {shown}", hint="name the directory that holds it")
    if error.errno in {errno.EACCES, errno.EPERM}:
        hint = "run it as a user who may read the directory"
        return AccessDeniedError(f"{shown} may not be read", hint=hint, facts={"path": path})
    return UnreadableError(f"{shown} cannot be read: {error.strerror}", facts={"path": path})
