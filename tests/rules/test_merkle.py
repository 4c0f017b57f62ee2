"""The Merkle tree agrees with RFC 6962, with pymerkle, and refuses everything that is not a proof."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestd.errors import MalformedError, MismatchError, TamperedError
from manifestd.rules import merkle

ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = range(40)
LEAVES = [merkle.leaf_hash(b"entry %d" % number) for number in SIZES]
ROOT_AT = [merkle.root_of(LEAVES[:size]) for size in SIZES]


def nodes_of(leaves: Iterable[bytes]) -> merkle.NodeReader:
    """A reader over leaf hashes held in memory."""
    frontier = merkle.Frontier()
    known: dict[tuple[int, int], bytes] = {}
    for leaf in leaves:
        frontier, completed = merkle.grow(frontier, leaf)
        known.update(((item.level, item.index), item.hash) for item in completed)
    return lambda level, index: known[level, index]


def test_empty_tree_has_the_hash_of_nothing() -> None:
    assert merkle.Frontier().root() == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_published_vectors(size: int) -> None:
    leaves = [merkle.leaf_hash(entry) for entry in ENTRIES[:size]]
    assert merkle.root_of(leaves).hex() == ROOTS[size - 1]


def test_roots_equal_those_of_pymerkle() -> None:
    peer = pymerkle.InmemoryTree(algorithm="sha256")
    for number in SIZES:
        assert ROOT_AT[number] == (peer.get_root() if number else merkle.EMPTY_ROOT)
        peer.append_entry(b"entry %d" % number)


def test_inclusion_proofs_equal_those_of_pymerkle_at_every_size_and_verify() -> None:
    peer = pymerkle.InmemoryTree(algorithm="sha256")
    for number in SIZES:
        peer.append_entry(b"entry %d" % number)
    node = nodes_of(LEAVES)
    for size in SIZES[1:]:
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, node)
            path = peer.prove_inclusion(index + 1, size).serialize()["path"]
            # pymerkle's path begins with the leaf itself, RFC 6962's does not.
            assert [item.hex() for item in proof] == path[1:]
            merkle.verify_inclusion(LEAVES[index], index, size, proof, ROOT_AT[size])


def test_consistency_proofs_are_those_of_the_definition_at_every_pair_and_verify() -> None:
    # pymerkle proves consistency by another path, so the RFC's own recursion is the oracle.
    node = nodes_of(LEAVES)
    for new in SIZES[1:]:
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(old, new, node)
            assert proof == _subproof(old, LEAVES[:new], complete=True)
            merkle.verify_consistency(old, new, proof, ROOT_AT[old], ROOT_AT[new])


@given(st.data())
def test_any_change_to_an_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 39))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, nodes_of(LEAVES))
    leaf, root = LEAVES[index], ROOT_AT[size]
    spoilt = [
        (LEAVES[(index + 1) % 40], index, proof, root),
        (leaf, index, proof, ROOT_AT[(size + 1) % 40]),
        (leaf, index, [*proof, root], root),
        *([(leaf, (index + 1) % size, proof, root)] if size > 1 else []),
        *((leaf, index, [*proof[:at], _flip(item), *proof[at + 1 :]], root)
          for at, item in enumerate(proof)),
        *([(leaf, index, proof[:-1], root)] if proof else []),
    ]  # fmt: skip
    for one_leaf, one_index, one_proof, one_root in spoilt:
        with pytest.raises(MismatchError):
            merkle.verify_inclusion(one_leaf, one_index, size, one_proof, one_root)


@given(st.data())
def test_any_change_to_a_consistency_proof_is_refused(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 39))
    old = data.draw(st.integers(1, new - 1))
    proof = merkle.consistency_proof(old, new, nodes_of(LEAVES))
    first, second = ROOT_AT[old], ROOT_AT[new]
    spoilt = [
        (proof, _flip(first), second),
        (proof, first, _flip(second)),
        ([*proof, second], first, second),
        (proof[:-1], first, second),
        *(([*proof[:at], _flip(item), *proof[at + 1 :]], first, second)
          for at, item in enumerate(proof)),
    ]  # fmt: skip
    for one_proof, one_first, one_second in spoilt:
        with pytest.raises(TamperedError):
            merkle.verify_consistency(old, new, one_proof, one_first, one_second)


@given(st.integers(0, 38), st.integers(1, 39))
def test_a_rewritten_entry_breaks_consistency_with_every_later_checkpoint(
    changed: int, new: int
) -> None:
    other = [*LEAVES[:changed], merkle.leaf_hash(b"rewritten"), *LEAVES[changed + 1 :]]
    node = nodes_of(other)
    root = merkle.root_of(other[:new])
    for old in range(changed + 1, new):
        proof = merkle.consistency_proof(old, new, node)
        with pytest.raises(TamperedError):
            merkle.verify_consistency(old, new, proof, ROOT_AT[old], root)


def test_a_log_that_lost_its_last_entries_is_found_by_its_size() -> None:
    with pytest.raises(TamperedError, match="has 5 entries, a checkpoint of it has 9"):
        merkle.verify_consistency(9, 5, [], ROOT_AT[9], ROOT_AT[5])


def test_every_log_continues_the_empty_one_and_itself() -> None:
    merkle.verify_consistency(0, 7, [], merkle.EMPTY_ROOT, ROOT_AT[7])
    merkle.verify_consistency(0, 0, [], merkle.EMPTY_ROOT, merkle.EMPTY_ROOT)
    merkle.verify_consistency(7, 7, [], ROOT_AT[7], ROOT_AT[7])
    for old, new, old_root, new_root in (
        (0, 7, ROOT_AT[1], ROOT_AT[7]),
        (0, 0, merkle.EMPTY_ROOT, ROOT_AT[1]),
        (7, 7, ROOT_AT[7], ROOT_AT[8]),
    ):
        with pytest.raises(TamperedError):
            merkle.verify_consistency(old, new, [], old_root, new_root)


def test_a_leaf_is_never_taken_for_a_node() -> None:
    left, right = LEAVES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


@given(st.integers(0, 39))
def test_frontier_of_stored_nodes_is_the_frontier_of_growing(size: int) -> None:
    frontier = merkle.Frontier()
    for leaf in LEAVES[:size]:
        frontier, _ = merkle.grow(frontier, leaf)
    assert merkle.frontier_of(size, nodes_of(LEAVES)) == frontier


def test_growing_gives_each_perfect_node_once_and_when_it_is_complete() -> None:
    frontier = merkle.Frontier()
    seen: list[tuple[int, int]] = []
    for leaf in LEAVES[:8]:
        frontier, completed = merkle.grow(frontier, leaf)
        seen += [(item.level, item.index) for item in completed]
    assert len(seen) == len(set(seen)) == 15
    assert seen[:4] == [(0, 0), (0, 1), (1, 0), (0, 2)]
    assert seen[-4:] == [(0, 7), (1, 3), (2, 1), (3, 0)]


@settings(max_examples=30)
@given(st.integers(1, 2**40))
def test_a_proof_in_a_huge_log_reads_few_nodes(size: int) -> None:
    reads = []

    def node(level: int, index: int) -> bytes:
        reads.append((level, index))
        assert (index + 1) << level <= size
        return bytes(32)

    proof = merkle.inclusion_proof(size // 3, size, node)
    assert len(proof) <= 41
    assert len(reads) <= 41 * 41


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_an_entry_outside_the_log_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(MalformedError, match="has no entry"):
        merkle.inclusion_proof(index, size, nodes_of(LEAVES))
    with pytest.raises(MalformedError, match="has no entry"):
        merkle.verify_inclusion(LEAVES[0], index, size, [], ROOT_AT[1])


def test_a_proof_with_short_hashes_or_too_many_is_malformed() -> None:
    with pytest.raises(MalformedError):
        merkle.verify_inclusion(LEAVES[0], 0, 2, [b"short"], ROOT_AT[2])
    with pytest.raises(MalformedError):
        merkle.verify_consistency(1, 2, [bytes(32)] * 65, ROOT_AT[1], ROOT_AT[2])


def test_a_log_does_not_shrink_when_asked_for_a_proof() -> None:
    with pytest.raises(MalformedError, match="cannot grow from 3 to 2"):
        merkle.consistency_proof(3, 2, nodes_of(LEAVES))


def _flip(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


def _subproof(old: int, leaves: list[bytes], *, complete: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2, word for word."""
    if old == len(leaves):
        return [] if complete else [merkle.root_of(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if old <= split:
        return [
            *_subproof(old, leaves[:split], complete=complete),
            merkle.root_of(leaves[split:]),
        ]
    return [
        *_subproof(old - split, leaves[split:], complete=False),
        merkle.root_of(leaves[:split]),
    ]
