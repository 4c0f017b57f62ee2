"""Which stored snapshots hold a file with a digest: leaves are searched as bytes, each once."""

from __future__ import annotations

from collections.abc import Iterator

from manifestd.errors import UsageError
from manifestd.model.digest import Digest, check_value
from manifestd.model.snapshot import Snapshot
from manifestd.model.tree import Ref
from manifestd.model.tree_decode import decode_content, decode_observation
from manifestd.store.blobs import Blobs
from manifestd.store.rows import Place
from manifestd.store.snapshots import Snapshots
from manifestd.store.trees import Trees


class Search:
    """One search for one digest over the whole store.

    Args:
        snapshots: Of the store.
        trees: Of the store.
        blobs: Of the store.
        digest: ``algorithm:hex``, any algorithm.

    Raises:
        UsageError: Not of that form.
        MalformedError: Not a value of that algorithm.
    """

    def __init__(self, snapshots: Snapshots, trees: Trees, blobs: Blobs, digest: str) -> None:
        algorithm, colon, value = digest.partition(":")
        if not colon or not algorithm or not value:
            raise UsageError(
                f"not a digest: {digest[:80]!r}", hint="write it as sha256:<64 hex digits>"
            )
        self._snapshots = snapshots
        self._trees = trees
        self._blobs = blobs
        self._algorithm = algorithm
        self._value = check_value(algorithm, value)
        # Nightly snapshots share most leaves: remember which paths each one gave.
        self._known: dict[bytes, list[str]] = {}

    def places(self) -> Iterator[Place]:
        """Every file with the digest: newest snapshot first, paths in order.

        Raises:
            TamperedError: Something that had to be read is damaged.
        """
        for row in self._snapshots.list():
            record = self._snapshots.load(Digest(row.digest))
            paths = self._paths(record)
            if not paths:
                continue
            for path, file in sorted(self._trees.some_files(record, paths).items()):
                yield Place(
                    snapshot=row.digest,
                    source=row.source,
                    name=row.name,
                    captured_at=row.captured_at,
                    path=path,
                    size=file.size,
                )

    def _paths(self, record: Snapshot) -> list[str]:
        root = record.content if self._algorithm == "sha256" else record.observation
        found: list[str] = []
        for ref in self._trees.leaves(root):
            paths = self._known.get(ref.digest)
            if paths is None:
                paths = self._known[ref.digest] = self._in_leaf(ref)
            found += paths
        return found

    def _in_leaf(self, ref: Ref) -> list[str]:
        data = self._blobs.fetch(ref.digest)
        if self._value.encode() not in data:
            return []
        if self._algorithm == "sha256":
            return [entry[0] for entry in decode_content(data, ref) if entry[2] == self._value]
        return [
            path
            for path, seen in decode_observation(data, ref)
            if seen.digests.get(self._algorithm) == self._value
        ]
