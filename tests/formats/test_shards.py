from __future__ import annotations

import json
from typing import Any

import pytest

from manifestd.formats.shardindex import check_shards
from manifestd.rules.tensors import (
    compare_tensors,
    compare_weights,
    merged,
    weights_digest,
    whole_file,
)
from tests.contracts.format_suite import FormatSuite
from tests.formats.support import facts_of, safetensors, told

T = {name: ("U8", [4], name.encode() * 4) for name in "abcdef"}
ONE = {"model.safetensors": safetensors(T)}


def sharded(count: int, **changed: Any) -> dict[str, bytes]:
    """The tensors in several files with their index; ``changed`` replaces tensors."""
    tensors = {**T, **changed}
    files: dict[str, bytes] = {}
    places: dict[str, str] = {}
    for number in range(count):
        name = f"model-{number + 1:05}-of-{count:05}.safetensors"
        part = dict(list(tensors.items())[number::count])
        files[name] = safetensors(part, {"format": "pt"})
        places |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 24}, "weight_map": places}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    return files


def facts(files: dict[str, bytes], **options: Any) -> dict[str, Any]:
    return {path: facts_of(path, data, **options) for path, data in files.items()}


def weights(files: dict[str, bytes], **options: Any) -> list[Any]:
    found = facts(files, **options)
    return [one for path, one in found.items() if not path.endswith(".index.json")]


class TestShardIndexContract(FormatSuite):
    name = "shardindex"
    path = "model.safetensors.index.json"

    def good(self) -> bytes:
        return sharded(2)[self.path]

    def damaged(self) -> list[bytes]:
        return [b"", b"{}x", b'{"weight_map":{"a":1,"a":1}}', b'{"weight_map":[NaN]}']

    def really_equal(self, left: bytes, right: bytes) -> None:
        assert json.loads(left) == json.loads(right)


def test_the_same_weights_in_one_and_in_three_files_are_equal() -> None:
    diff = compare_weights(weights(ONE), weights(sharded(3)))
    assert diff.equal is True
    assert diff.left == diff.right


def test_one_changed_tensor_of_several_shards_makes_weights_differ_and_is_named() -> None:
    changed = sharded(3, e=("U8", [4], b"xxxx"))
    assert compare_weights(weights(ONE), weights(changed)).equal is False
    diff, _ = compare_tensors(merged(weights(ONE)), merged(weights(changed)))
    assert diff.changed == ["e"]


def test_headers_only_or_unread_files_leave_the_weights_unknown() -> None:
    assert weights_digest(weights(ONE, streamed=False)) is None
    assert weights_digest([*weights(ONE), None]) is None
    assert weights_digest([*weights(ONE), {"format": "gguf/1", "refused": "x"}]) is None
    assert weights_digest([]) is None
    assert compare_weights(weights(ONE, streamed=False), weights(sharded(2))).equal is None


def test_sides_digested_with_different_algorithms_are_unknown_never_different() -> None:
    diff = compare_weights(weights(ONE), weights(ONE, algorithm="sha256"))
    assert diff.equal is None
    found, _ = compare_tensors(weights(ONE)[0], weights(ONE, algorithm="sha256")[0])
    assert (found.unknown, found.changed) == (6, [])


def test_the_algorithm_is_part_of_the_digest() -> None:
    assert weights_digest(weights(ONE)) != weights_digest(weights(ONE, algorithm="sha256"))


def test_a_file_without_reader_counts_by_its_bytes() -> None:
    left = [*weights(ONE), whole_file("1" * 64)]
    assert compare_weights(left, [*weights(sharded(2)), whole_file("1" * 64)]).equal is True
    assert compare_weights(left, [*weights(sharded(2)), whole_file("2" * 64)]).equal is False


def test_a_changed_tensor_proves_a_difference_beside_files_no_reader_opens() -> None:
    changed = sharded(3, e=("U8", [4], b"xxxx"))
    opaque = whole_file("1" * 64)
    assert compare_weights(weights(ONE), [*weights(changed), opaque]).equal is False
    # The tensors that are missed may stand in the file that no reader opens.
    assert compare_weights(weights(ONE), [opaque]).equal is None
    fewer = [safetensors({"a": T["a"]})]
    some = [facts_of("m.safetensors", data) for data in fewer]
    assert compare_weights(weights(ONE), some).equal is False
    assert compare_weights(weights(ONE), [*some, opaque]).equal is None


def test_facts_of_a_wrong_shape_make_weights_unknown() -> None:
    for odd in ({"tensors": "x"}, {"format": "x", "tensors": [{}]}, {"format": 1, "tensors": []}):
        assert weights_digest([odd]) is None


def rules(files: dict[str, bytes]) -> list[tuple[str, str]]:
    found = check_shards(files, facts(files))
    assert all(one["path"] and one["impact"] for one in found)
    return [(one["rule"], one["what"]) for one in found]


def test_an_index_that_agrees_with_its_shards_has_no_finding() -> None:
    assert rules(sharded(3)) == []
    assert rules({f"sub/{path}": data for path, data in sharded(2).items()}) == []


def test_a_missing_shard_is_a_finding() -> None:
    files = sharded(3)
    del files["model-00002-of-00003.safetensors"]
    (one,) = rules(files)
    assert one[0] == "shard-missing"
    assert "model-00002-of-00003" in one[1]


def test_tensors_in_two_shards_missing_and_unlisted_are_findings() -> None:
    files = sharded(2)
    first, second = sorted(path for path in files if path.endswith(".safetensors"))
    files[second] = safetensors({"a": T["a"], "new": T["b"]})
    found = dict(rules(files))
    assert found.keys() == {"shard-tensor-missing", "shard-tensor-unlisted", "shard-tensor-twice"}
    assert "'a' stands in 2 shards" in found["shard-tensor-twice"]
    assert "a, new" in found["shard-tensor-unlisted"]
    assert first in found["shard-tensor-twice"]


def test_shards_that_no_entry_names_are_a_finding() -> None:
    files = sharded(2)
    index = json.loads(files["model.safetensors.index.json"])
    gone = "model-00002-of-00002.safetensors"
    index["weight_map"] = {t: f for t, f in index["weight_map"].items() if f != gone}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    assert [rule for rule, _ in rules(files)] == ["shard-not-in-index", "shard-numbering"]


def test_numbering_from_zero_is_a_finding() -> None:
    names = [f"model-{number:05}-of-00002.safetensors" for number in range(3)]
    index = json.dumps({"weight_map": dict(zip("abc", names, strict=True))}).encode()
    found = rules({"model.safetensors.index.json": index, **dict.fromkeys(names, b"")})
    assert found == [
        ("shard-numbering", "shards are numbered 0 to 2 (3 files) of 2; expected 1 to 2")
    ]


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a/b", "", "..", "a\\b"])
def test_a_shard_outside_its_folder_is_a_security_finding(name: str) -> None:
    index = json.dumps({"weight_map": {"a": name}}).encode()
    (one, *_) = check_shards(["x.index.json"], facts({"x.index.json": index}))
    assert (one["rule"], one["impact"]) == ("shard-path", "security")


def test_odd_index_facts_are_a_finding_not_a_failure() -> None:
    odd = {"format": "shardindex/1", "shards": "x", "map": [[1]]}
    (one,) = check_shards(["x.index.json"], {"x.index.json": odd})
    assert one["rule"] == "shard-index-unread"
    wild = {"format": "shardindex/1", "shards": [], "map": [["a", 7]]}
    assert check_shards(["x.index.json"], {"x.index.json": wild}) == []


def test_moved_tensors_are_explained() -> None:
    found = told(
        "model.safetensors.index.json",
        *(sharded(n)["model.safetensors.index.json"] for n in (2, 3)),
    )
    assert found.changes[0].at == "/weight_map"
    assert "6 tensors moved to other shards" in str(found.changes[0].what)
