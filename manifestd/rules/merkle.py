"""RFC 6962 Merkle trees: hashes, growth in O(log n), proofs and their verification.

The tree is described by its *perfect nodes*: ``(level, index)`` is the hash over
leaves ``index << level`` up to ``(index + 1) << level``. Such a node never changes
once its last leaf is in, so a log stores them as they are completed and answers
any proof with O(log² n) look-ups. Nothing here does I/O: who keeps the nodes
hands in a function that reads them.

Sources of the rules: RFC 6962 sections 2.1, 2.1.1 and 2.1.2; the verification
procedures are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from manifestd.errors import MalformedError, MismatchError, TamperedError

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of the tree without leaves."""

NodeReader = Callable[[int, int], bytes]
"""``(level, index)`` -> hash of that perfect node. Raises what its keeper raises."""


class Node(msgspec.Struct, frozen=True):
    """One perfect node: the hash over ``2**level`` leaves from ``index << level``."""

    level: int
    index: int
    hash: bytes


class Frontier(msgspec.Struct, frozen=True):
    """All that growing a tree needs: its size and the perfect subtrees it is made of.

    Attributes:
        size: Number of leaves.
        peaks: Hashes of the maximal perfect subtrees from left to right, one for each
            one-bit of ``size``; at most 63 of them.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def root(self) -> bytes:
        """The tree's root: the peaks folded from the right."""
        if not self.peaks:
            return EMPTY_ROOT
        folded = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            folded = node_hash(peak, folded)
        return folded


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry as a leaf (prefix 0x00 keeps leaves and nodes apart)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node over its two children (prefix 0x01)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grow(frontier: Frontier, leaf: bytes) -> tuple[Frontier, list[Node]]:
    """Append one leaf hash.

    Returns:
        The new frontier, and the perfect nodes this leaf completed, lowest first
        (the leaf itself is the first). A log stores exactly these.
    """
    index = frontier.size
    completed = [Node(0, index, leaf)]
    peaks = list(frontier.peaks)
    while index & 1:
        index >>= 1
        leaf = node_hash(peaks.pop(), leaf)
        completed.append(Node(len(completed), index, leaf))
    return Frontier(frontier.size + 1, (*peaks, leaf)), completed


def peaks_of(size: int) -> list[tuple[int, int]]:
    """``(level, index)`` of the perfect nodes that a tree of ``size`` leaves is made of.

    Example:
        >>> peaks_of(6)  # four leaves, and two
        [(2, 0), (1, 2)]
    """
    levels = [level for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]
    return [(level, size >> (level + 1) << 1) for level in levels]


def frontier_of(size: int, node: NodeReader) -> Frontier:
    """The frontier of a stored tree's first ``size`` leaves, read in O(log n)."""
    return Frontier(size, tuple(node(*peak) for peak in peaks_of(size)))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Root over leaf hashes, in one pass and O(log n) memory."""
    frontier = Frontier()
    for leaf in leaves:
        frontier, _ = grow(frontier, leaf)
    return frontier.root()


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """Path from leaf ``index`` to the root of the first ``size`` leaves, sibling first.

    Raises:
        MalformedError: There is no such leaf in a tree of that size.
    """
    if not 0 <= index < size:
        raise MalformedError(f"a log of {size} entries has no entry {index}")
    begin, end = 0, size
    path: list[bytes] = []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_subtree(middle, end, node))
            end = middle
        else:
            path.append(_subtree(begin, middle, node))
            begin = middle
    return path[::-1]


def consistency_proof(old: int, new: int, node: NodeReader) -> list[bytes]:
    """Proof that the first ``old`` leaves of the tree of ``new`` leaves are unchanged.

    Empty when the sizes are equal or ``old`` is 0: then there is nothing to prove.

    Raises:
        MalformedError: ``old`` is negative or larger than ``new``.
    """
    if not 0 <= old <= new:
        raise MalformedError(f"a log cannot grow from {old} to {new} entries")
    if old in {0, new}:
        return []
    begin, end = 0, new
    path: list[bytes] = []
    while end != old:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(_subtree(middle, end, node))
            end = middle
        else:
            path.append(_subtree(begin, middle, node))
            begin = middle
    if begin:  # the verifier knows the old root itself when the old tree is one perfect subtree
        path.append(_subtree(begin, end, node))
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Prove that ``leaf`` is entry ``index`` of the tree with ``root`` over ``size`` leaves.

    Args:
        leaf: Leaf hash of the entry, computed by the verifier from the entry's bytes.
        index: Position of the entry, from 0.
        size: Number of leaves the root is over.
        proof: Hashes from the sibling upwards.
        root: Root from a checkpoint whose signature was verified.

    Raises:
        MalformedError: The index is outside, or a hash is not 32 bytes.
        MismatchError: The proof does not lead from the leaf to the root.
    """
    if not 0 <= index < size:
        raise MalformedError(f"a log of {size} entries has no entry {index}")
    _check_hashes(proof)
    position, last = index, size - 1
    found = leaf
    for sibling in proof:
        if last == 0:
            raise MismatchError("the inclusion proof is too long for the size of the log")
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        position >>= 1
        last >>= 1
    if last or found != root:
        raise MismatchError(
            f"entry {index} is not in the log of {size} entries with this root",
            facts={"index": index, "size": size, "root": root.hex(), "found": found.hex()},
        )


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Prove that the log with ``new_root`` begins with the log with ``old_root``.

    Raises:
        MalformedError: A hash is not 32 bytes.
        TamperedError: The log shrank, the history before ``old`` was rewritten, or the proof
            is for other trees.
    """
    if not 0 <= old <= new:
        raise TamperedError(
            f"the log has {new} entries, a checkpoint of it has {old}",
            why="entries that a checkpoint counted are gone",
        )
    _check_hashes(proof)
    if old == 0:
        consistent = not proof and old_root == EMPTY_ROOT and (new > 0 or new_root == EMPTY_ROOT)
    elif old == new:
        consistent = not proof and old_root == new_root
    else:
        consistent = _consistent(old, new, proof, old_root, new_root)
    if not consistent:
        raise TamperedError(
            f"the log of {new} entries does not continue the log of {old} entries",
            why="an entry that the older checkpoint covers was changed, moved or removed",
            facts={"old": old, "new": new, "oldRoot": old_root.hex(), "newRoot": new_root.hex()},
        )


def _consistent(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> bool:
    """RFC 9162 section 2.1.4.2, steps 2 to 7, for ``0 < old < new``."""
    # Step 2: when the old tree is one perfect subtree its root stands for the first hash.
    hashes = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not hashes:
        return False
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    first = second = hashes[0]
    for item in hashes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            first = node_hash(item, first)
            second = node_hash(item, second)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            second = node_hash(second, item)
        position >>= 1
        last >>= 1
    return last == 0 and first == old_root and second == new_root


def _split(width: int) -> int:
    """The largest power of two smaller than ``width`` (RFC 6962 section 2.1)."""
    return 1 << (width - 1).bit_length() - 1


def _subtree(begin: int, end: int, node: NodeReader) -> bytes:
    """Hash over leaves ``[begin, end)``, where ``begin`` is a split point of the tree."""
    width = end - begin
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return node(level, begin >> level)
    middle = begin + _split(width)
    return node_hash(_subtree(begin, middle, node), _subtree(middle, end, node))


def _check_hashes(proof: Sequence[bytes]) -> None:
    if len(proof) > 64 or any(len(item) != HASH_SIZE for item in proof):
        raise MalformedError("a proof is at most 64 hashes of 32 bytes")
