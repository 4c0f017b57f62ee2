"""Git LFS pointers against real content: what a comparison says of weights that are not there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from manifestd.loopback.models import safetensors
from manifestd.model.change import FileDiff
from manifestd.model.digest import Digest, parse_digest
from manifestd.model.reference import parse_directory
from manifestd.store import Store
from manifestd.workflows.compare import compare
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.snapshot import take_snapshot
from tests.support.trees import write_tree
from tests.workflows.stored import keep

ONE = safetensors({"w": ("U8", [4], b"1234")})
TWO = safetensors({"w": ("U8", [4], b"abcd")})
NAME = "model.safetensors"


def pointer_to(data: bytes) -> bytes:
    digest = hashlib.sha256(data).hexdigest()
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n"
    ).encode()


def checkout(store: Store, folder: Path, data: bytes) -> Digest:
    """A directory, where pointers are recognised by the source."""
    write_tree(folder, {NAME: data})
    request = SnapshotRequest(reference=parse_directory(str(folder)))
    return parse_digest(take_snapshot(request, store=store, tool="test").result.snapshot)


def bucket(store: Store, data: bytes) -> Digest:
    """A bucket, where a pointer is an object that was read like any other."""
    return keep(store, {NAME: data}, source="s3://models/m/")


def told(store: Store, left: Digest, right: Digest) -> FileDiff:
    [file] = compare(store, left, right).files
    return file


def test_a_pointer_to_the_other_sides_content_is_undecided_and_says_so(
    store: Store, tmp_path: Path
) -> None:
    right = checkout(store, tmp_path / "right", pointer_to(ONE))
    file = told(store, bucket(store, ONE), right)
    assert file.verdict == "unverifiable"
    assert "the right is a Git LFS pointer to the very content of the left" in str(file.reason)
    assert file.hint == "git lfs pull"


def test_a_pointer_to_other_content_is_a_difference(store: Store, tmp_path: Path) -> None:
    left = checkout(store, tmp_path / "left", pointer_to(TWO))
    file = told(store, left, bucket(store, ONE))
    assert (file.verdict, file.impact) == ("different", "behaviour")
    assert "the left is a Git LFS pointer to other content than the right has" in str(file.reason)
    assert file.basis is not None
    assert (file.basis.algorithm, file.basis.left) == ("sha256", "declared")


@pytest.mark.parametrize(
    ("other", "verdict", "words"),
    [
        (ONE, "unverifiable", "both sides are Git LFS pointers, to the same content"),
        (TWO, "different", "both sides are Git LFS pointers, to different contents"),
    ],
)
def test_two_pointers_are_compared_by_what_they_name(
    store: Store, tmp_path: Path, other: bytes, verdict: str, words: str
) -> None:
    left = checkout(store, tmp_path / "left", pointer_to(ONE))
    file = told(store, left, checkout(store, tmp_path / "right", pointer_to(other)))
    assert file.verdict == verdict
    assert words in str(file.reason)


def test_the_same_pointer_in_a_checkout_and_in_a_bucket_is_undecided(
    store: Store, tmp_path: Path
) -> None:
    left = checkout(store, tmp_path / "left", pointer_to(ONE))
    file = told(store, left, bucket(store, pointer_to(ONE)))
    assert file.verdict == "unverifiable"
    assert file.reason == "both sides are Git LFS pointers, to the same content"


@pytest.mark.parametrize(
    ("named", "words"),
    [(ONE, "the very content of the left"), (TWO, "other content than the left")],
)
def test_a_pointer_in_a_bucket_says_what_it_stands_for_and_what_to_do(
    store: Store, named: bytes, words: str
) -> None:
    file = told(store, bucket(store, ONE), bucket(store, pointer_to(named)))
    assert file.verdict == "different"
    assert f"the right is a Git LFS pointer to {words}" in str(file.summary)
    assert hashlib.sha256(named).hexdigest() in str(file.summary)
    assert file.hint == "git lfs pull where it was copied from, then copy it again"


@pytest.mark.parametrize(
    "name", ["m.safetensors", "m.gguf", "m.bin", "tokenizer.json", "vocab.txt"]
)
def test_every_reader_names_the_content_of_a_pointer(store: Store, name: str) -> None:
    left, right = (keep(store, {name: data}) for data in (b"something else", pointer_to(b"x" * 5)))
    [file] = compare(store, left, right).files
    assert "a Git LFS pointer, not the content (which has sha256 " in str(file.summary)
