from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors import deserialize as _deserialize
from safetensors.numpy import save

from tests.contracts.format_suite import FormatSuite
from tests.formats.support import Content, explain, facts_of, safetensors, told

A = ("F32", [2, 2], b"0123456789abcdef")
B = ("F16", [3], b"ABCDEF")
TENSORS = {"a": A, "b": B}


def load(data: bytes) -> Any:
    """A file as the real library reads it: tensors and metadata."""
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__")
    tensors = {
        name: (str(one["dtype"]), list(one["shape"]), bytes(one["data"]))
        for name, one in deserialize(data)
    }
    return tensors, metadata or {}


deserialize: Any = _deserialize


class TestSafetensorsContract(FormatSuite):
    name = "safetensors"
    path = "model.safetensors"

    def good(self) -> bytes:
        return safetensors(TENSORS, {"format": "pt"})

    def damaged(self) -> list[bytes]:
        good = self.good()
        return [b"", good[:4], good[:-1], good + b"\0", struct.pack("<Q", 1 << 40) + good[8:]]

    def really_equal(self, left: bytes, right: bytes) -> None:
        assert load(left) == load(right)


def test_a_file_that_was_cut_off_says_how_much_is_missing() -> None:
    whole = safetensors({"a": ("U8", [8], b"12345678")})
    facts = facts_of("m.safetensors", whole[:-3])
    assert facts is not None
    assert facts["refused"] == "cut off: the header places 3 bytes more than the file has"


def test_another_header_order_and_padding_is_equivalent() -> None:
    other = safetensors({"b": B, "a": A}, {"format": "pt"}, order=["a", "b"], padding=5)
    found = told("m.safetensors", safetensors(TENSORS, {"format": "pt"}), other)
    assert found.equivalent
    assert found.summary == "same tensors and metadata, header written differently"


def test_another_physical_order_is_equivalent() -> None:
    assert told(
        "m.safetensors", safetensors(TENSORS), safetensors(TENSORS, order=["b", "a"])
    ).equivalent


@pytest.mark.parametrize("metadata", [None, {}])
def test_absent_null_and_empty_metadata_are_the_same(metadata: dict[str, str] | None) -> None:
    null = b'{"__metadata__":null,"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'
    left = safetensors({"a": A}, header=null)
    assert told("m.safetensors", left, safetensors({"a": A}, metadata)).equivalent


def test_changed_metadata_is_told_apart_from_tensors() -> None:
    found = told(
        "m.safetensors",
        safetensors(TENSORS, {"format": "pt"}),
        safetensors(TENSORS, {"format": "tf"}),
    )
    assert not found.equivalent
    assert found.summary == "tensors identical, metadata changed"
    assert found.tensors is not None
    assert (found.tensors.same, found.tensors.metadata) == (2, "changed")
    assert [(c.at, c.left, c.right) for c in found.changes] == [
        ("/__metadata__/format", "pt", "tf")
    ]


def test_one_changed_tensor_is_named() -> None:
    other = {**TENSORS, "b": ("F16", [3], b"ABCDEX")}
    found = told("m.safetensors", safetensors(TENSORS), safetensors(other))
    assert found.tensors is not None
    assert (found.tensors.same, found.tensors.changed) == (1, ["b"])
    assert found.changes[0].what == "values changed (F16 [3])"


def test_dtype_shape_added_and_removed_tensors_are_named() -> None:
    left = {"a": A, "b": B, "gone": B}
    right = {"a": ("I32", [2, 2], A[2]), "b": ("F16", [1, 3], B[2]), "new": A}
    found = told("m.safetensors", safetensors(left), safetensors(right))
    assert {c.at: c.what for c in found.changes} == {
        "a": "dtype changed",
        "b": "shape changed",
        "gone": "tensor removed",
        "new": "tensor added",
    }


@pytest.mark.parametrize(
    ("left", "right", "summary"),
    [
        ({"a": A}, {"a": A, "b": B}, "1 tensor only right"),
        ({"a": A, "b": B, "c": B}, {"a": A}, "2 tensors only left"),
        ({"a": A, "b": B}, {"a": A, "x": B}, "1 tensor only left, 1 only right"),
        ({"a": A, "b": B}, {"a": B, "x": B}, "1 of 2 tensors changed, 1 only left, 1 only right"),
    ],
)
def test_a_summary_says_that_it_counts_tensors(left: Any, right: Any, summary: str) -> None:
    assert told("m.safetensors", safetensors(left), safetensors(right)).summary == summary


def test_bf16_is_not_f16_with_the_same_bytes() -> None:
    left, right = {"a": ("F16", [3], B[2])}, {"a": ("BF16", [3], B[2])}
    assert not told("m.safetensors", safetensors(left), safetensors(right)).equivalent


def test_headers_only_say_that_values_were_not_compared() -> None:
    other = {**TENSORS, "b": ("F16", [3], b"ABCDEX")}
    found = told("m.safetensors", safetensors(TENSORS), safetensors(other), streamed=False)
    assert not found.equivalent
    assert found.tensors is not None
    assert (found.tensors.unknown, found.tensors.changed) == (2, [])
    assert "were not compared" in str(found.summary)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (safetensors({"a": A}, tail=b"x"), "1 byte after the last tensor"),
        (safetensors({"a": A})[:-1], "cut off"),
        (
            safetensors(
                {"a": A},
                header=b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},'
                b'"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}',
            ),
            "twice",
        ),
        (
            safetensors(
                {"a": A},
                header=b'{"__metadata__":{"k":"1","k":"2"},'
                b'"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}',
            ),
            "twice",
        ),
        (
            safetensors(
                {"a": A},
                header=b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},'
                b'"b":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}',
            ),
            "overlap",
        ),
        (
            safetensors(
                {"a": A}, header=b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}}'
            ),
            "hole",
        ),
        (safetensors({"a": ("F99", [2], b"12")}), "unknown dtype"),
        (
            safetensors(
                {"a": A}, header=b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0.0,16]}}'
            ),
            "offsets",
        ),
        (
            safetensors(
                {"a": A}, header=b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,16]}}'
            ),
            "bytes",
        ),
        (
            safetensors(
                {"a": A},
                header=b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16],"strides":[1]}}',
            ),
            "data_offsets",
        ),
        (safetensors({"a": A}, header=b'{"__metadata__":{"k":1}}'), "__metadata__"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
    ],
)
def test_what_the_specification_forbids_is_refused_with_its_reason(data: bytes, why: str) -> None:
    facts = facts_of("m.safetensors", data)
    assert facts is not None
    assert why in facts["refused"]
    found = told("m.safetensors", data, safetensors(TENSORS))
    assert not found.equivalent


def test_a_hundred_megabyte_header_is_refused_without_being_read() -> None:
    class Claims(Content):
        @property
        def size(self) -> int:
            return 200_000_000

    from manifestd.formats.safetensors import SafetensorsReader

    content = Claims(struct.pack("<Q", 100_000_000) + b"[" * 1_000_000)
    outline = SafetensorsReader().outline("m.safetensors", content)
    assert "at most" in str(outline.refused)
    assert content.reads == [(0, 8)]


def test_files_of_the_real_writer_are_read() -> None:
    data = save({"x": np.zeros((2, 3), dtype=np.float32), "empty": np.zeros((0, 4), dtype=np.int8)})
    facts = facts_of("m.safetensors", data)
    assert facts is not None
    assert {t["name"]: t["shape"] for t in facts["tensors"]} == {"x": [2, 3], "empty": [0, 4]}
    assert all("digest" in tensor for tensor in facts["tensors"])


def test_names_outside_ascii_are_kept() -> None:
    data = safetensors({"é\u4e2d": A}, {"é": "ü"})
    facts = facts_of("m.safetensors", data)
    assert facts is not None
    assert facts["metadata"] == [["é", "ü"]]


def test_facts_too_large_to_keep_are_summarised_and_still_found_equal() -> None:
    names = [f"{i}." + "long" * 250 for i in range(9_000)]
    tensors = {name: ("U8", [1], b"a") for name in names}
    facts = facts_of("m.safetensors", safetensors(tensors))
    assert facts is not None
    assert facts["summarised"]["tensors"]["count"] == 9_000
    assert told("m.safetensors", safetensors(tensors), safetensors(tensors, padding=8)).equivalent
    changed = {**tensors, names[7]: ("U8", [1], b"x")}
    for streamed in (True, False):
        found = told("m.safetensors", safetensors(tensors), safetensors(changed), streamed=streamed)
        assert not found.equivalent
        assert found.summary == "too many tensors to compare one by one"


_ENTRIES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(
        [A, B, ("U8", [1], b"x"), ("U8", [1], b"y"), ("F32", [4], A[2]), ("U8", [0], b"")]
    ),
    min_size=1,
    max_size=3,
)
_METADATA = st.none() | st.dictionaries(
    st.sampled_from(["format", "x"]), st.sampled_from(["pt", "tf"])
)


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(_ENTRIES, _ENTRIES),
    st.tuples(_METADATA, _METADATA),
    st.integers(0, 9),
    st.randoms(),
)
def test_equivalent_files_are_loaded_alike_by_the_real_library(
    files: tuple[Any, Any], metadata: tuple[Any, Any], padding: int, dice: Any
) -> None:
    order = list(files[1])
    dice.shuffle(order)
    one = safetensors(files[0], metadata[0])
    two = safetensors(files[1], metadata[1], order=order, padding=padding)
    found = explain("m.safetensors", one, two)
    alike = load(one) == load(two)
    assert found is not None
    assert found.equivalent == alike


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=24))
def test_what_we_read_the_real_library_reads(header: bytes, data: bytes) -> None:
    file = struct.pack("<Q", len(header)) + header + data
    facts = facts_of("m.safetensors", file)
    if facts is not None and "refused" not in facts:
        deserialize(file)


def test_what_the_real_library_refuses_we_refuse() -> None:
    good = safetensors(TENSORS)
    refused = 0
    for at in range(len(good)):
        for bit in (1, 16, 128):
            bad = good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :]
            try:
                deserialize(bad)
            except (SafetensorError, ValueError):
                facts = facts_of("m.safetensors", bad)
                assert facts is not None
                assert "refused" in facts, bad
                refused += 1
    assert refused > 100
