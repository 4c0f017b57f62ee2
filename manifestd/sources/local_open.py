"""Opening files beneath a directory: no link is followed, nothing outside is reached.

Every component is opened by its name in the directory above it, so swapping a
directory for a symlink between listing and reading leads to an error, not away.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import Final

from manifestd.display import printable
from manifestd.errors import (
    AccessDeniedError,
    ChangedError,
    ManifestdError,
    TransientError,
    UnreadableError,
)

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a fifo put in a file's place must not hold the open up; no effect on files.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

MAX_LINKS: Final = 40
"""Links in a chain, as Linux counts them (path_resolution(7))."""


class LinkError(Exception):
    """A symlink that does not lead to something beneath the root; says how."""

    def __init__(self, what: str, *, escapes: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.escapes = escapes


def folder_fd(name: str, *, dir_fd: int) -> int:
    """Open one directory in another. The caller closes it."""
    return os.open(name, _FOLDER, dir_fd=dir_fd)


class Beneath:
    """A directory held open, and the ways to what is in it.

    Thread-safe. The folder a thread opened last is kept: listings are sorted, so
    the next file mostly lies in the same one.

    Args:
        path: The directory; it may itself be a symlink.
    """

    def __init__(self, path: str) -> None:
        self.real = os.path.realpath(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._kept: set[int] = set()
        self._local = threading.local()

    def open_file(self, path: str) -> int:
        """Open a file for reading and return its descriptor; raises OSError."""
        parent, _, name = path.rpartition("/")
        _check_name(name)
        if not parent:
            return os.open(name, _FILE, dir_fd=self.fd)
        if getattr(self._local, "path", None) == parent:
            try:
                return os.open(name, _FILE, dir_fd=self._local.fd)
            except FileNotFoundError:
                self.forget()  # the folder may have been replaced since
        return os.open(name, _FILE, dir_fd=self._keep(parent))

    def stat(self, path: str) -> os.stat_result:
        """``lstat`` of a path beneath the root; raises OSError."""
        parent, _, name = path.rpartition("/")
        _check_name(name)
        return os.stat(name, dir_fd=self._parent(parent), follow_symlinks=False)

    def follow(self, path: str) -> str:
        """Where a symlink beneath the root ends: the path, beneath the root, of no link.

        Raises:
            LinkError: It leads outside, in circles, or to nothing.
            OSError: A folder on the way cannot be read.
        """
        done: list[str] = []
        todo = path.split("/")[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                if not done:
                    raise LinkError("leads out of the directory", escapes=True)
                done.pop()
                continue
            here = "/".join([*done, part])
            try:
                mode = self.stat(here).st_mode
            except (FileNotFoundError, NotADirectoryError):
                raise LinkError("leads to nothing") from None
            if not stat.S_ISLNK(mode):
                if todo and not stat.S_ISDIR(mode):
                    raise LinkError("leads to nothing")
                done.append(part)
                continue
            links += 1
            if links > MAX_LINKS:
                raise LinkError("leads in circles")
            target = os.readlink(part, dir_fd=self._parent("/".join(done)))
            if target.startswith("/"):
                target = self._inside(target)
                done.clear()
            todo += target.split("/")[::-1]
        return "/".join(done)

    def _inside(self, target: str) -> str:
        """An absolute link target as a path beneath the root."""
        base = self.real.rstrip("/") + "/"
        if not target.startswith(base):
            raise LinkError("leads out of the directory", escapes=True)
        return target.removeprefix(base)

    def _parent(self, path: str) -> int:
        if not path:
            return self.fd
        if getattr(self._local, "path", None) == path:
            kept: int = self._local.fd
            return kept
        return self._keep(path)

    def _keep(self, path: str) -> int:
        """Walk to a folder and keep it as this thread's last one."""
        fd = self.fd
        for name in path.split("/"):
            try:
                _check_name(name)
                below = folder_fd(name, dir_fd=fd)
            finally:
                if fd != self.fd:
                    os.close(fd)
            fd = below
        self.forget()
        with self._lock:
            self._kept.add(fd)
        self._local.path, self._local.fd = path, fd
        return fd

    def forget(self) -> None:
        """Give this thread's kept folder back; the next open walks again."""
        if getattr(self._local, "path", None) is None:
            return
        fd: int = self._local.fd
        self._local.path = None
        with self._lock:
            if fd in self._kept:
                self._kept.remove(fd)
                os.close(fd)

    def close(self) -> None:
        """Close everything. May be called twice; nothing can be opened afterwards."""
        with self._lock:
            kept, self._kept = self._kept, set()
            self._local = threading.local()
            if self.fd >= 0:
                kept.add(self.fd)
                self.fd = -1
            for fd in kept:
                os.close(fd)


def _check_name(name: str) -> None:
    if name in {"", ".", ".."} or "\0" in name:
        raise OSError(errno.EINVAL, "not a name inside the directory")


_MEANINGS: Final[dict[int, tuple[type[ManifestdError], str]]] = {
    errno.ENOENT: (ChangedError, "is gone since it was listed"),
    errno.ENOTDIR: (ChangedError, "is no longer where it was listed"),
    errno.ELOOP: (ChangedError, "was replaced by a symlink since it was listed"),
    errno.ENXIO: (ChangedError, "was replaced by a special file since it was listed"),
    errno.EACCES: (AccessDeniedError, "may not be read"),
    errno.EPERM: (AccessDeniedError, "may not be read"),
    errno.EMFILE: (TransientError, "cannot be opened, too many files are open"),
    errno.ENFILE: (TransientError, "cannot be opened, too many files are open"),
}


def translated(error: OSError, path: str) -> ManifestdError:
    """What a system error about one file means for it."""
    kind, what = _MEANINGS.get(
        error.errno or 0, (UnreadableError, f"cannot be read: {error.strerror}")
    )
    return kind(f"{printable(path)} {what}", facts={"path": path, "errno": error.errno})
