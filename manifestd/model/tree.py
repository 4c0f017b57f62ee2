"""The path-ordered tree that a snapshot's file list is kept in (docs/format/store.md, section 3).

Entries stand in *leaves* in the order of the UTF-8 bytes of their paths, leaves
in *nodes*, nodes in nodes up to one root. Every piece is named by the sha256 of
its bytes, so equal parts of two trees are the same piece. Where a piece ends
depends on what is near it only; a change therefore touches few pieces.

Nothing here reads or writes: builders hand finished pieces to a function.
The way back is in ``model/tree_decode.py``.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import compress, count
from operator import lt, ne
from typing import Any, Final, NamedTuple, cast
from zlib import crc32

import msgspec

from manifestd.canonical import MAX_INTEGER
from manifestd.errors import EmptySourceError, MalformedError
from manifestd.model.entry import Observation

CONTENT: Final = "manifestd.content/v1"
OBSERVATION: Final = "manifestd.observation/v1"
NODE: Final = "manifestd.node/v1"

MIN_LEAF: Final = 16
MAX_LEAF: Final = 4096
LEAF_MASK: Final = 0x3FF
MIN_NODE: Final = 8
MAX_NODE: Final = 1024
NODE_MASK: Final = 0x7F
MAX_PATH: Final = 65_535
"""Bytes of a path. Sources have lower limits of their own; this one bounds a leaf."""

_BATCH: Final = 4096

ContentEntry = tuple[str, int, str | None]
"""Path, size in bytes, sha256 in hex or None where it is unknown."""
ObservationEntry = tuple[str, Observation]
Emit = Callable[[str, bytes, bytes], None]
"""Takes a finished piece: ``leaf`` or ``node``, its raw sha256, its bytes."""

encoder: Final = msgspec.json.Encoder(order="sorted")
"""Canonical for what the checks of this module let pass."""


class Ref(NamedTuple):
    """What a node says of a child: its first path, its number of files below it, its raw sha256."""

    first: str
    files: int
    digest: bytes


class _Builder(ABC):
    """Cuts a sorted stream of files into leaves and nodes.

    Files wait in columns (lists side by side) until some thousands are there:
    checks and cuts over a column are several times faster than one by one.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._paths: list[str] = []
        self._last = b""
        self._waiting: list[list[Ref]] = [[]]
        self._made: list[int] = [0]

    def finish(self) -> bytes:
        """Emit what is left and return the root's raw sha256.

        Raises:
            EmptySourceError: Nothing was added.
            MalformedError: As for ``add``.
        """
        if self._paths:
            self._settle(final=True)
        if not self._made[0]:
            raise EmptySourceError("a file list needs at least one file")
        level = 0
        while True:
            root = self._close_node(level) if self._waiting[level] else None
            if self._made[level + 1] == 1:
                return root if root is not None else self._waiting[level + 1][0].digest
            level += 1

    @abstractmethod
    def _check(self) -> None:
        """Refuse waiting values that have no canonical form."""

    @abstractmethod
    def _leaf(self, prefix: str, rests: list[str], start: int, stop: int) -> bytes:
        """The bytes of a leaf of the waiting files ``start`` to ``stop``."""

    @abstractmethod
    def _drop(self, number: int) -> None:
        """Forget so many waiting values besides the paths."""

    def _settle(self, *, final: bool) -> None:
        """Cut what waits into leaves; unless ``final`` the unfinished leaf stays."""
        keys = self._keys()
        self._check()
        folders = [key.rpartition(b"/")[0] for key in keys]
        marks = compress(count(1), map(ne, folders, folders[1:]))
        start = 0
        for mark in marks:
            if mark - start > MIN_LEAF:
                start = self._cut_within(keys, start, mark - 1)
            if mark - start >= MIN_LEAF:
                self._close_leaf(start, mark)
                start = mark
        start = self._cut_within(keys, start, len(keys))
        if final and start < len(keys):
            self._close_leaf(start, len(keys))
            start = len(keys)
        if start:
            self._last = keys[start - 1]
            del self._paths[:start]
            self._drop(start)

    def _cut_within(self, keys: list[bytes], start: int, stop: int) -> int:
        """Cut after entries before ``stop`` whose own path says so, or that fill a leaf."""
        at = start + MIN_LEAF - 1
        while at < stop:
            at += 1
            if not crc32(keys[at - 1]) & LEAF_MASK or at - start == MAX_LEAF:
                self._close_leaf(start, at)
                start, at = at, at + MIN_LEAF - 1
        return start

    def _keys(self) -> list[bytes]:
        """The paths' bytes, after checking their order and length."""
        try:
            keys = [path.encode() for path in self._paths]
        except UnicodeEncodeError as error:
            raise MalformedError(f"a path is not valid Unicode: {error.object!r}") from error
        if max(map(len, keys)) > MAX_PATH:
            raise MalformedError(f"a path is longer than {MAX_PATH} bytes")
        if not (self._last < keys[0] and all(map(lt, keys, keys[1:]))):
            before = [self._last, *keys]
            wrong = next(key for last, key in zip(before, keys, strict=False) if key <= last)
            raise MalformedError(f"files are empty-named, twice or out of order at {wrong!r}")
        return keys

    def _close_leaf(self, start: int, stop: int) -> None:
        paths = self._paths[start:stop]
        prefix = common_folder(paths[0], paths[-1])
        cut = len(prefix)
        rests = [path[cut:] for path in paths] if cut else paths
        data = self._leaf(prefix, rests, start, stop)
        digest = hashlib.sha256(data).digest()
        self._emit("leaf", digest, data)
        self._made[0] += 1
        self._wait(0, Ref(paths[0], len(paths), digest))

    def _wait(self, level: int, ref: Ref) -> None:
        waiting = self._waiting[level]
        waiting.append(ref)
        number = len(waiting)
        if len(self._waiting) == level + 1:
            self._waiting.append([])
            self._made.append(0)
        if number >= MAX_NODE or (number >= MIN_NODE and not crc32(ref.digest) & NODE_MASK):
            self._close_node(level)

    def _close_node(self, level: int) -> bytes:
        children = self._waiting[level]
        self._waiting[level] = []
        lines = [(child.first, child.files, child.digest.hex()) for child in children]
        data = encoder.encode_lines([(NODE, level + 1), *lines])
        digest = hashlib.sha256(data).digest()
        self._emit("node", digest, data)
        self._made[level + 1] += 1
        self._wait(level + 1, Ref(children[0].first, sum(c.files for c in children), digest))
        return digest


class ContentBuilder(_Builder):
    """Builds the tree of (path, size, sha256)."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(emit)
        self._sizes: list[int] = []
        self._hashes: list[str | None] = []

    def add(self, path: str, size: int, sha256: str | None) -> None:
        """Add the next file. What is wrong with it may be noticed some files later.

        Args:
            path: Greater than the last one in the order of UTF-8 bytes; not empty.
            size: Bytes, 0 to 2^53 - 1.
            sha256: 64 lower-case hex digits, or None when unknown.

        Raises:
            MalformedError: Out of order, twice, not Unicode, too long; not a size, not a sha256.
        """
        self._sizes.append(size)
        self._hashes.append(sha256)
        paths = self._paths
        paths.append(path)
        if len(paths) >= _BATCH:
            self._settle(final=False)

    def _check(self) -> None:
        sizes = self._sizes
        if set(map(type, sizes)) != {int} or min(sizes) < 0 or max(sizes) > MAX_INTEGER:
            raise MalformedError("a file's size is not a number of bytes")
        if not are_sha256(self._hashes):
            raise MalformedError("a file's sha256 is not 64 lower-case hex digits")

    def _leaf(self, prefix: str, rests: list[str], start: int, stop: int) -> bytes:
        rows = zip(rests, self._sizes[start:stop], self._hashes[start:stop], strict=True)
        return encoder.encode_lines([(CONTENT, prefix), *rows])

    def _drop(self, number: int) -> None:
        del self._sizes[:number]
        del self._hashes[:number]


class ObservationBuilder(_Builder):
    """Builds the tree of (path, observation)."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(emit)
        self._seen: list[Observation] = []

    def add(self, path: str, seen: Observation) -> None:
        """Add the next file's observation; paths as for :meth:`ContentBuilder.add`.

        Raises:
            MalformedError: As there, or the observation holds what canonical JSON
                cannot carry (floats, huge integers, names outside ASCII).
        """
        self._seen.append(seen)
        self._paths.append(path)
        if len(self._paths) >= _BATCH:
            self._settle(final=False)

    def _check(self) -> None:
        for path, seen in zip(self._paths, self._seen, strict=True):
            if seen.hints and not is_plain(seen.hints):
                raise MalformedError(f"the hints of {path!r} have no canonical form")

    def _leaf(self, prefix: str, rests: list[str], start: int, stop: int) -> bytes:
        seen = self._seen[start:stop]
        try:
            data = encoder.encode_lines([(OBSERVATION, prefix), *zip(rests, seen, strict=True)])
        except UnicodeEncodeError as error:
            raise MalformedError("an observation has a lone surrogate") from error
        if not data.isascii() and not all(map(has_ascii_names, seen)):
            raise MalformedError("an observation has an object name outside ASCII")
        return data

    def _drop(self, number: int) -> None:
        del self._seen[:number]


def common_folder(first: str, last: str) -> str:
    """The longest prefix of both paths that is empty or ends in ``/``.

    For the first and the last of sorted paths it is that of all between them.

    Example:
        >>> common_folder("a/b/c", "a/bc/d")
        'a/'
    """
    folder = first[: first.rfind("/") + 1]
    while not last.startswith(folder):
        folder = folder[: folder.rfind("/", 0, len(folder) - 1) + 1]
    return folder


def are_sha256(values: list[str | None]) -> bool:
    """Whether all values but None are 64 lower-case hex digits; one pass in C for many."""
    known = cast("list[str]", [v for v in values if v is not None] if None in values else values)
    joined = "".join(known)
    if set(map(len, known)) - {64}:
        return False
    try:
        # fromhex skips white space and takes capitals.
        return len(bytes.fromhex(joined)) == 32 * len(known) and joined == joined.lower()
    except ValueError:
        return False


def has_ascii_names(seen: Observation) -> bool:
    """Whether every object name in an observation, hints apart, is ASCII."""
    maps: Iterable[dict[str, Any]] = (seen.digests, seen.evidence, seen.declared, seen.identity)
    return all(name.isascii() for names in maps for name in names)


def is_plain(value: Any) -> bool:
    """Whether a value from outside has a canonical form (docs/format/v1.md, section 2)."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        parts: Iterable[Any] = (item,)
        if isinstance(item, dict):
            for name in item:
                if not (isinstance(name, str) and name.isascii()):
                    return False
            parts = item.values()
        elif isinstance(item, list | tuple):
            parts = item
        for part in parts:
            # Nearly all are short texts: they never wait.
            if part is None or isinstance(part, str):
                continue
            if isinstance(part, int):
                if not -MAX_INTEGER <= part <= MAX_INTEGER:
                    return False
            elif isinstance(part, dict | list | tuple):
                waiting.append(part)
            else:
                return False
    return True
