"""Manifests are made by streaming and read strictly; the vectors hold their bytes."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from manifestd.errors import EmptySourceError, MalformedError, ManifestdError
from manifestd.model.manifest import Item, decode_manifest, encode_manifest, manifest_digest
from tests.support.schemas import check_document

PATHS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
TREES = st.dictionaries(
    PATHS, st.tuples(st.integers(0, 2**53 - 1), st.binary(max_size=3)), min_size=1, max_size=12
)


def items_of(tree: dict[str, tuple[int, bytes]]) -> list[Item]:
    """A tree in path order."""
    return [
        Item(path, size, hashlib.sha256(content).hexdigest())
        for path, (size, content) in sorted(tree.items(), key=lambda pair: pair[0].encode())
    ]


@given(TREES)
def test_bytes_are_those_of_an_rfc_8785_library(tree: dict[str, tuple[int, bytes]]) -> None:
    items = items_of(tree)
    empty = hashlib.sha256(b"{}").hexdigest()
    document: Any = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.manifestd.manifest.v1",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
                   "digest": f"sha256:{empty}"},
        "layers": [{"mediaType": "application/octet-stream", "size": item.size,
                    "digest": f"sha256:{item.sha256}",
                    "annotations": {"org.opencontainers.image.title": item.path}}
                   for item in items],
    }  # fmt: skip
    assert b"".join(encode_manifest(items)) == rfc8785.dumps(document)


@given(TREES)
def test_a_manifest_gives_back_the_files_it_was_made_of(tree: dict[str, tuple[int, bytes]]) -> None:
    items = items_of(tree)
    data = b"".join(encode_manifest(items))
    assert decode_manifest(data) == items
    assert manifest_digest(items) == "sha256:" + hashlib.sha256(data).hexdigest()
    check_document("manifest", data)


@given(TREES, st.data())
def test_one_changed_byte_is_refused_or_is_another_tree(
    tree: dict[str, tuple[int, bytes]], data: st.DataObject
) -> None:
    items = items_of(tree)
    right = b"".join(encode_manifest(items))
    at = data.draw(st.integers(0, len(right) - 1))
    value = data.draw(st.integers(0, 127))
    spoilt = right[:at] + bytes([value]) + right[at + 1 :]
    try:
        spoilt.decode()
        found = decode_manifest(spoilt)
    except (ManifestdError, UnicodeDecodeError):
        return
    assert spoilt == right or found != items


@pytest.mark.parametrize("size", [1, 1999, 2000, 2001, 4000, 6001])
def test_pieces_join_at_every_size(size: int) -> None:
    items = [Item(f"{number:06}", number, "0" * 64) for number in range(size)]
    assert decode_manifest(b"".join(encode_manifest(items))) == items


def test_a_new_name_that_keeps_the_order_of_the_files_is_another_manifest() -> None:
    files = [Item("a.bin", 1, "1" * 64), Item("b.bin", 2, "2" * 64), Item("c.bin", 3, "3" * 64)]
    renamed = [files[0], msgspec.structs.replace(files[1], path="b.txt"), files[2]]
    assert manifest_digest(files) != manifest_digest(renamed)


def test_no_files_have_no_manifest() -> None:
    with pytest.raises(EmptySourceError):
        manifest_digest([])


@pytest.mark.parametrize(
    "paths", [["b", "a"], ["a", "a"], [""], ["a/x", "a-b"], ["\U0001f600", "\uff5e"]]
)
def test_files_out_of_order_or_twice_are_an_error_of_the_caller(paths: list[str]) -> None:
    with pytest.raises(MalformedError, match="path order"):
        manifest_digest(Item(path, 0, "0" * 64) for path in paths)


def test_two_hundred_thousand_files_need_no_two_hundred_thousand_objects() -> None:
    def many() -> Iterator[Item]:
        for number in range(200_000):
            yield Item(f"models/{number:09}/model-00001-of-00002.safetensors", number, "0" * 64)

    tracemalloc.start()
    try:
        manifest_digest(many())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024
