"""What snapshots need in the store: followed from their records, read and checked on the way."""

from __future__ import annotations

from collections.abc import Iterator

from manifestd.errors import MalformedError
from manifestd.model.snapshot import Snapshot
from manifestd.model.tree import Ref
from manifestd.model.tree_decode import Node, decode_content, decode_node, decode_observation
from manifestd.store.blobs import Blobs, Kind, raw_digest
from manifestd.store.trees import leaves_below


class Needs:
    """What snapshots need.

    Attributes:
        pieces: Records, pieces of file lists, facts and chunks: raw digest -> kind.
        bodies: Raw digests of the small files whose bytes are kept.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._pairs: set[tuple[bytes, bytes]] = set()
        self.pieces: dict[bytes, Kind] = {}
        self.bodies: set[bytes] = set()

    def see(self, raw: bytes, record: Snapshot) -> None:
        """Add everything that one snapshot needs, its record included."""
        self.pieces[raw] = "record"
        pairs = zip(self._leaves(record.content), self._leaves(record.observation), strict=True)
        for left, right in pairs:
            pair = (left.digest, right.digest)
            if pair in self._pairs:
                continue
            self._pairs.add(pair)
            self.pieces.update(dict.fromkeys(pair, "leaf"))
            contents = decode_content(self._blobs.fetch(left.digest), left)
            observed = decode_observation(self._blobs.fetch(right.digest), right)
            for (path, _, sha256), (same, seen) in zip(contents, observed, strict=True):
                if path != same:
                    raise MalformedError(f"the two file lists differ at {path!r}")
                if seen.facts is not None:
                    self.pieces[raw_digest(seen.facts)] = "facts"
                if seen.chunks is not None:
                    self.pieces[raw_digest(seen.chunks)] = "chunks"
                if seen.body and sha256 is not None:
                    self.bodies.add(bytes.fromhex(sha256))

    def _leaves(self, root: str) -> Iterator[Ref]:
        top = raw_digest(root)
        self.pieces[top] = "node"
        yield from leaves_below(decode_node(self._blobs.fetch(top)), self._node)

    def _node(self, digest: bytes, ref: Ref, level: int) -> Node:
        self.pieces[digest] = "node"
        return decode_node(self._blobs.fetch(digest), ref=ref, level=level)
