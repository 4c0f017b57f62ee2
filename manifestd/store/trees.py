"""File lists in the store: written and read as a stream, found by descent."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from manifestd.errors import TamperedError
from manifestd.model.digest import Digest
from manifestd.model.entry import File, Observation
from manifestd.model.snapshot import Snapshot
from manifestd.model.tree import (
    ContentBuilder,
    ContentEntry,
    ObservationBuilder,
    ObservationEntry,
    Ref,
)
from manifestd.model.tree_decode import (
    Node,
    decode_content,
    decode_node,
    decode_observation,
    pick_observations,
)
from manifestd.store.blobs import BlobRow, Blobs, blob_row, raw_digest
from manifestd.store.treediff import Difference, differences

_FLUSH_ROWS: Final = 1024
_FLUSH_BYTES: Final = 4 * 1024 * 1024
_KEEP_NODES: Final = 64
_SHORT: Final = 128
_KEEP_SHORT: Final = 64
"""So many lists of so many files, about 1 KB each, are kept."""


class _Pieces:
    """Collects finished pieces and stores them some megabytes at a time.

    Outside a transaction they wait: nothing would name them yet, and what nothing names
    another process may remove.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._rows: list[BlobRow] = []
        self.waiting = 0

    def take(self, kind: str, digest: bytes, data: bytes) -> None:
        row = blob_row(digest, data, kind)
        self._rows.append(row)
        self.waiting += len(row[4])
        many = len(self._rows) >= _FLUSH_ROWS or self.waiting >= _FLUSH_BYTES
        if many and self._blobs.in_transaction:
            self.flush()

    def flush(self) -> None:
        rows, self._rows, self.waiting = self._rows, [], 0
        self._blobs.put_rows(rows)


class ContentWriter:
    """Writes a content tree. ``add`` is :meth:`ContentBuilder.add`.

    Pieces are stored within a transaction as they come, otherwise by :meth:`finish`.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._pieces = _Pieces(blobs)
        self._builder = ContentBuilder(self._pieces.take)
        self.add = self._builder.add

    @property
    def waiting(self) -> int:
        """Bytes of finished pieces that are not stored yet."""
        return self._pieces.waiting

    def finish(self) -> Digest:
        """Store what is left and return the root.

        Raises:
            EmptySourceError: Nothing was added.
            MalformedError: As for ``add``.
        """
        root = self._builder.finish()
        self._pieces.flush()
        return Digest("sha256:" + root.hex())


class ObservationWriter:
    """Writes an observation tree. ``add`` is :meth:`ObservationBuilder.add`."""

    def __init__(self, blobs: Blobs) -> None:
        self._pieces = _Pieces(blobs)
        self._builder = ObservationBuilder(self._pieces.take)
        self.add = self._builder.add

    @property
    def waiting(self) -> int:
        """Bytes of finished pieces that are not stored yet."""
        return self._pieces.waiting

    def finish(self) -> Digest:
        """Store what is left and return the root; errors as :meth:`ContentWriter.finish`."""
        root = self._builder.finish()
        self._pieces.flush()
        return Digest("sha256:" + root.hex())


class Trees:
    """The file lists of a store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._nodes: OrderedDict[tuple[bytes, Ref | None, int | None], Node] = OrderedDict()
        self._short: OrderedDict[tuple[str, str], list[File]] = OrderedDict()

    def content_writer(self) -> ContentWriter:
        """A writer for (path, size, sha256)."""
        return ContentWriter(self._blobs)

    def observation_writer(self) -> ObservationWriter:
        """A writer for (path, observation)."""
        return ObservationWriter(self._blobs)

    def content(self, root: str) -> Iterator[ContentEntry]:
        """Every (path, size, sha256) below a content root, in path order, streaming.

        Raises:
            TamperedError: A piece is missing, or is not what its parent says.
        """
        last = ""
        for ref in self.leaves(root):
            entries = decode_content(self._blobs.fetch(ref.digest), ref)
            last = _in_order(last, ref, entries[-1][0])
            yield from entries

    def contents(self, record: Snapshot) -> Iterator[ContentEntry]:
        """Every (path, size, sha256) of a snapshot; short lists as :meth:`files` keeps them."""
        if record.files > _SHORT:
            yield from self.content(record.content)
            return
        for file in self.files(record):
            yield file.path, file.size, file.sha256

    def observations(self, root: str) -> Iterator[ObservationEntry]:
        """Every (path, observation) below an observation root; errors as :meth:`content`."""
        last = ""
        for ref in self.leaves(root):
            entries = decode_observation(self._blobs.fetch(ref.digest), ref)
            last = _in_order(last, ref, entries[-1][0])
            yield from entries

    def leaves(self, root: str) -> Iterator[Ref]:
        """What the nodes below a root say of its leaves, in path order."""
        # Whole walks leave the nodes that are kept for descents alone.
        yield from leaves_below(
            self.root(root),
            lambda digest, ref, level: decode_node(self._blobs.fetch(digest), ref=ref, level=level),
        )

    def paired_leaves(self, record: Snapshot) -> Iterator[tuple[Ref, Ref]]:
        """The leaves of both trees of a record, side by side.

        Both are cut by paths alone, so they line up when they list the same files.

        Raises:
            TamperedError: They do not line up.
        """
        right = self.leaves(record.observation)
        for left in self.leaves(record.content):
            other = next(right, None)
            if other is None or left.first != other.first or left.files != other.files:
                raise _not_paired(record)
            yield left, other
        if next(right, None) is not None:
            raise _not_paired(record)

    def files(self, record: Snapshot) -> Iterator[File]:
        """Every file of a snapshot, in path order, streaming.

        Short lists that were read lately are not read again: many are asked for several times.

        Raises:
            TamperedError: A tree is damaged, or they do not list the same paths.
        """
        if record.files > _SHORT:
            yield from self._read_files(record)
            return
        key = (record.content, record.observation)
        found = self._short.get(key)
        if found is None:
            found = self._short[key] = list(self._read_files(record))
            if len(self._short) > _KEEP_SHORT:
                self._short.popitem(last=False)
        yield from found

    def _read_files(self, record: Snapshot) -> Iterator[File]:
        last = ""
        for left, right in self.paired_leaves(record):
            contents = decode_content(self._blobs.fetch(left.digest), left)
            observed = decode_observation(self._blobs.fetch(right.digest), right)
            last = _in_order(last, left, contents[-1][0])
            for (path, size, sha256), (same, seen) in zip(contents, observed, strict=True):
                if path != same:
                    raise _not_paired(record)
                yield File(path=path, size=size, sha256=sha256, seen=seen)

    def file(self, record: Snapshot, path: str) -> File | None:
        """One file of a snapshot, found by descent; None when there is none of this path."""
        return self.some_files(record, [path]).get(path)

    def some_files(self, record: Snapshot, paths: Collection[str]) -> dict[str, File]:
        """The files of these paths, found by descent; those that do not exist are left out.

        Raises:
            TamperedError: A piece on the way is damaged, or only one tree has the path.
        """
        if record.files <= _SHORT:
            wanted = set(paths)
            return {file.path: file for file in self.files(record) if file.path in wanted}
        found: dict[str, File] = {}
        at: tuple[Ref, Ref] | None = None
        contents: dict[str, ContentEntry] = {}
        observed: dict[str, Observation] = {}
        for path in sorted(set(paths)):
            left = self._leaf_of(record.content, path)
            right = self._leaf_of(record.observation, path)
            if left is None or right is None:
                continue
            if at != (left, right):
                at = (left, right)
                entries = decode_content(self._blobs.fetch(left.digest), left)
                contents = {entry[0]: entry for entry in entries}
                observed = dict(decode_observation(self._blobs.fetch(right.digest), right))
            if contents.keys() != observed.keys():
                raise _not_paired(record)
            if path in contents:
                _, size, sha256 = contents[path]
                found[path] = File(path=path, size=size, sha256=sha256, seen=observed[path])
        return found

    def observed(self, record: Snapshot, entries: Sequence[ContentEntry]) -> list[File]:
        """Files of a snapshot from what its content tree says of them, which is known already.

        Only leaves of observations that hold one of them are read, and only their lines parsed.

        Args:
            record: The snapshot.
            entries: From its content tree, in path order.

        Raises:
            TamperedError: A piece on the way is damaged, or the observations lack a path.
        """
        paths = [entry[0] for entry in entries]
        found: list[Observation] = []
        for ref, start, stop in self._spread(self.root(record.observation), paths, 0, len(paths)):
            data = self._blobs.fetch(ref.digest)
            found += pick_observations(data, ref, paths[start:stop])
        if len(found) != len(entries):
            raise _not_paired(record)
        return [
            File(path=path, size=size, sha256=sha256, seen=seen)
            for (path, size, sha256), seen in zip(entries, found, strict=True)
        ]

    def _spread(
        self, node: Node, paths: Sequence[str], start: int, stop: int
    ) -> Iterator[tuple[Ref, int, int]]:
        """The leaves below a node that can hold some of the sorted paths, with their slices."""
        children = node.children
        start = bisect_left(paths, children[0].first, start, stop)
        while start < stop:
            index = bisect_right(children, paths[start], key=_first_path) - 1
            ref = children[index]
            end = stop
            if index + 1 < len(children):
                end = bisect_left(paths, children[index + 1].first, start, stop)
            if node.level == 1:
                yield ref, start, end
            else:
                below = self._node(ref.digest, ref, node.level - 1)
                yield from self._spread(below, paths, start, end)
            start = end

    def diff(self, left_root: str, right_root: str) -> Iterator[Difference]:
        """Where two content trees differ: path, (size, sha256) left, the same right, in path order.

        A side without the path is None. Shared pieces are never read. Two equal
        entries of unknown sha256 are not reported although they may differ.

        Raises:
            TamperedError: A piece that had to be read is damaged.
        """
        yield from differences(self._blobs.fetch, raw_digest(left_root), raw_digest(right_root))

    def root(self, digest: str) -> Node:
        """The decoded root node."""
        return self._node(raw_digest(digest), None, None)

    def _leaf_of(self, root: str, path: str) -> Ref | None:
        """The only leaf that can hold a path."""
        node = self.root(root)
        while True:
            index = bisect_right(node.children, path, key=lambda ref: ref.first) - 1
            if index < 0:
                return None
            ref = node.children[index]
            if node.level == 1:
                return ref
            node = self._node(ref.digest, ref, node.level - 1)

    def _node(self, digest: bytes, ref: Ref | None, level: int | None) -> Node:
        """A node, from memory if it was read lately as the same child."""
        key = (digest, ref, level)
        node = self._nodes.get(key)
        if node is None:
            node = decode_node(self._blobs.fetch(digest), ref=ref, level=level)
            self._nodes[key] = node
            if len(self._nodes) > _KEEP_NODES:
                self._nodes.popitem(last=False)
        else:
            self._nodes.move_to_end(key)
        return node


def leaves_below(top: Node, node: Callable[[bytes, Ref, int], Node]) -> Iterator[Ref]:
    """What the nodes below one say of their leaves, in path order.

    Args:
        top: The root.
        node: Gives the node of a digest, which a reference and a level were said of.
    """
    waiting = [(top.level, ref) for ref in reversed(top.children)]
    while waiting:
        level, ref = waiting.pop()
        if level == 1:
            yield ref
        else:
            below = node(ref.digest, ref, level - 1)
            waiting.extend((below.level, child) for child in reversed(below.children))


def _first_path(ref: Ref) -> str:
    return ref.first


def _in_order(last: str, ref: Ref, now: str) -> str:
    if ref.first <= last:
        raise TamperedError(f"a file list is not in path order at {ref.first!r}")
    return now


def _not_paired(record: Snapshot) -> TamperedError:
    return TamperedError(
        "the two file lists of a snapshot do not name the same files",
        hint="run `manifestd store check`",
        facts={"content": record.content, "observation": record.observation},
    )
