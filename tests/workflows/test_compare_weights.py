"""The weights as a whole: the same tensors in whatever files, and indexes that hold."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd import canonical
from manifestd.model.change import Diff
from manifestd.model.entry import File, Problem
from manifestd.rules.verdicts import exit_code
from manifestd.store import Store, open_store
from manifestd.workflows.compare import compare
from tests.workflows.stored import keep, listed_file, read_file

TENSORS = {f"layer.{n}": bytes([n]) * 64 for n in range(6)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "manifestd.db", write=True) as opened:
        yield opened


def safetensors(tensors: dict[str, bytes], metadata: dict[str, str] | None = None) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


def sharded(parts: int) -> dict[str, bytes]:
    names = list(TENSORS)
    shards = {
        f"model-{n + 1:05}-of-{parts:05}.safetensors": {
            name: TENSORS[name] for name in names[n::parts]
        }
        for n in range(parts)
    }
    index = {"weight_map": {name: file for file, held in shards.items() for name in held}}
    return {
        **{file: safetensors(held) for file, held in shards.items()},
        "model.safetensors.index.json": json.dumps(index).encode(),
    }


def one_file() -> dict[str, bytes]:
    return {"model.safetensors": safetensors(TENSORS)}


def without_digests(store: Store, path: str, data: bytes) -> File:
    """As a source that declares sha256 is snapshotted: headers were read, tensors were not."""
    file = read_file(store, path, data, grade="declared")
    assert file.seen.facts is not None
    facts = canonical.decode(store.blobs.get(file.seen.facts), dict[str, Any])
    facts.pop("digestAlgorithm")
    for tensor in facts["tensors"]:
        tensor.pop("digest")
    stored = store.blobs.put(canonical.encode(facts), "facts")
    return msgspec.structs.replace(file, seen=msgspec.structs.replace(file.seen, facts=stored))


def rules(diff: Diff) -> set[str]:
    return {finding["rule"] for finding in diff.findings}


def test_the_same_tensors_in_one_and_in_three_files_are_equal_weights(store: Store) -> None:
    diff = compare(store, keep(store, one_file()), keep(store, sharded(3)))
    assert diff.weights.equal is True
    assert diff.weights.left == diff.weights.right is not None
    assert (diff.verdict, exit_code(diff)) == ("different", 1)
    assert not any(rule.startswith("shard-") for rule in rules(diff))


def test_one_changed_tensor_in_one_of_three_shards_is_named(store: Store) -> None:
    shards = sharded(3)
    path = "model-00002-of-00003.safetensors"
    changed = safetensors({"layer.1": TENSORS["layer.1"], "layer.4": b"\xff" * 64})
    diff = compare(store, keep(store, shards), keep(store, {**shards, path: changed}))
    [file] = diff.files
    assert (file.path, file.verdict, file.impact) == (path, "different", "behaviour")
    assert file.tensors is not None
    assert (file.tensors.same, file.tensors.changed) == (1, ["layer.4"])
    assert diff.weights.equal is False


def test_an_index_that_misleads_is_said_beside_the_tensors_that_are_the_same(store: Store) -> None:
    shards = sharded(2)
    short = json.loads(shards["model.safetensors.index.json"])
    del short["weight_map"]["layer.1"]
    broken = {**shards, "model.safetensors.index.json": json.dumps(short).encode()}
    diff = compare(store, keep(store, shards), keep(store, broken))
    assert diff.weights.equal is True
    misled = "; but a shard index does not agree with its shards"
    assert diff.weights.summary == "the same tensors on both sides" + misled
    diff = compare(store, keep(store, one_file()), keep(store, broken))
    assert (diff.weights.summary or "").endswith("2 on the right)" + misled)


def test_another_header_order_is_equivalent_and_leaves_the_weights_equal(store: Store) -> None:
    turned = {"model.safetensors": safetensors(dict(reversed(TENSORS.items())))}
    diff = compare(store, keep(store, one_file()), keep(store, turned))
    assert (diff.verdict, exit_code(diff)) == ("equivalent", 0)
    assert diff.weights.equal is True


@pytest.mark.parametrize("list_identical", [False, True])
def test_without_weights_on_either_side_none_are_called_equal(
    store: Store, *, list_identical: bool
) -> None:
    texts = {"README.md": b"# m", "config.json": b"{}"}
    left, right = keep(store, texts), keep(store, {**texts, "README.md": b"# n"})
    weights = compare(store, left, right, list_identical=list_identical).weights
    assert (weights.equal, weights.summary) == (None, "neither side has weights")
    left, right = (keep(store, {**files, **one_file()}) for files in (texts, {}))
    weights = compare(store, left, right, list_identical=list_identical).weights
    assert (weights.equal, weights.summary) == (True, None)


def test_equal_files_without_weights_are_told_where_the_files_are_listed(store: Store) -> None:
    left, right = (keep(store, {"README.md": b"# m"}, source=f"s3://{n}/") for n in "ab")
    weights = compare(store, left, right, list_identical=True).weights
    assert (weights.equal, weights.summary) == (None, "neither side has weights")


def test_an_incomplete_side_may_have_weights_nobody_saw(store: Store) -> None:
    problem = Problem(path="model.bin", code="access-denied", what="refused")
    left = keep(store, {"README.md": b"# m"}, problems=[problem])
    weights = compare(store, left, keep(store, {"README.md": b"# n"})).weights
    assert (weights.equal, weights.summary) == (None, None)


def test_other_metadata_is_told_from_other_tensors(store: Store) -> None:
    noted = {"model.safetensors": safetensors(TENSORS, {"note": "x"})}
    diff = compare(store, keep(store, one_file()), keep(store, noted))
    [file] = diff.files
    assert (file.verdict, file.impact) == ("different", "metadata")
    assert file.tensors is not None
    assert (file.tensors.same, file.tensors.metadata) == (6, "changed")
    assert diff.weights.equal is True


def test_tensors_that_were_not_streamed_stay_unknown(store: Store) -> None:
    other = safetensors({**TENSORS, "layer.0": b"\x09" * 64})
    right = {"model.safetensors": without_digests(store, "model.safetensors", other)}
    diff = compare(store, keep(store, one_file()), keep(store, right))
    [file] = diff.files
    assert file.verdict == "different"
    assert file.tensors is not None
    assert (file.tensors.same, file.tensors.unknown) == (0, 6)
    assert diff.weights.equal is None


def test_an_identical_shard_streamed_on_one_side_stands_for_both(store: Store) -> None:
    shards = sharded(3)
    listed = {
        path: without_digests(store, path, data) if path.endswith(".safetensors") else data
        for path, data in shards.items()
    }
    extra = {**shards, "training_args.bin": b"x"}
    diff = compare(store, keep(store, {**listed, "training_args.bin": b"y"}), keep(store, extra))
    assert diff.weights.equal is False
    gone = compare(store, keep(store, one_file()), keep(store, {**listed}))
    assert gone.weights.equal is None


def test_an_index_that_names_a_missing_shard_is_a_finding_of_that_side(store: Store) -> None:
    shards = sharded(3)
    broken = {path: data for path, data in shards.items() if "00003-of" not in path}
    diff = compare(store, keep(store, shards), keep(store, broken))
    found = [finding for finding in diff.findings if finding["rule"] == "shard-missing"]
    assert [(finding["path"], finding["side"]) for finding in found] == [
        ("model.safetensors.index.json", "right")
    ]


def test_identical_weights_are_equal_without_reading_a_fact(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = keep(store, {**one_file(), "LICENSE": b"a"})
    right = keep(store, {**one_file(), "LICENSE": b"b"})
    facts = {raw for _, raw in store.blobs.of_kind("facts")}
    fetch = store.blobs.fetch

    def watching(raw: bytes) -> bytes:
        assert raw not in facts
        return fetch(raw)

    monkeypatch.setattr(store.blobs, "fetch", watching)
    assert compare(store, left, right).weights.equal is True


def test_unverifiable_weights_leave_the_answer_open(store: Store) -> None:
    data = one_file()["model.safetensors"]
    right = {"model.safetensors": listed_file("model.safetensors", data, {"md5": "stored"})}
    diff = compare(store, keep(store, one_file()), keep(store, right))
    assert (diff.verdict, diff.weights.equal) == ("unverifiable", None)
