from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf as library
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES

from manifestd.formats import ggml
from tests.contracts.format_suite import FormatSuite
from tests.formats.support import facts_of, told

TEMPLATE = "{% for m in messages %}\n{{ m }}\n{% endfor %}\n"


def write(path: Path, *, name: str = "m", fill: float = 1.0, **options: Any) -> bytes:
    """A small file by the real writer."""
    writer = library.GGUFWriter(str(path), "llama")
    if options.get("name_first", True):
        writer.add_name(name)
    writer.add_uint32("llama.block_count", options.get("blocks", 2))
    writer.add_float32("llama.rope.freq_base", options.get("rope", 10000.0))
    writer.add_token_list(options.get("tokens", ["<s>", "a", "b"]))
    writer.add_bool("llama.flag", val=True)
    writer.add_chat_template(options.get("template", TEMPLATE))
    if not options.get("name_first", True):
        writer.add_name(name)
    for tensor in options.get("tensors", ["a.weight", "b.weight"]):
        writer.add_tensor(
            tensor, np.full((4, 32), fill if tensor == "b.weight" else 0.5, np.float32)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


class TestGgufContract(FormatSuite):
    name = "gguf"
    path = "model.gguf"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.file = tmp_path / "m.gguf"

    def good(self) -> bytes:
        return write(self.file)

    def damaged(self) -> list[bytes]:
        good = self.good()
        return [b"", b"GGUF", good[:100], good[:-1], good + bytes(64), b"GGUF\0\0\0\3" + good[8:]]

    def really_equal(self, left: bytes, right: bytes) -> None:
        """Damage may hit padding only: every value and tensor must be the same for the reader."""
        fields = []
        for data in (left, right):
            self.file.write_bytes(data)
            reader = library.GGUFReader(str(self.file))
            values = {key: field.contents() for key, field in reader.fields.items()}
            fields.append((values, {t.name: t.data.tobytes() for t in reader.tensors}))
        assert repr(fields[0]) == repr(fields[1])


def test_key_order_does_not_matter(tmp_path: Path) -> None:
    left = write(tmp_path / "a", name_first=True)
    right = write(tmp_path / "b", name_first=False)
    assert left != right
    assert told("m.gguf", left, right).equivalent


def test_changed_values_are_named_and_metadata_told_apart(tmp_path: Path) -> None:
    left = write(tmp_path / "a")
    right = write(tmp_path / "b", rope=500000.0, blocks=3)
    found = told("m.gguf", left, right)
    assert found.summary == "tensors identical, metadata changed"
    assert [(c.at, c.left, c.right) for c in found.changes] == [
        ("/llama.block_count", 2, 3),
        ("/llama.rope.freq_base", "10000", "500000"),
    ]


def test_one_changed_tensor_is_named(tmp_path: Path) -> None:
    found = told("m.gguf", write(tmp_path / "a"), write(tmp_path / "b", fill=2.0))
    assert found.tensors is not None
    assert (found.tensors.same, found.tensors.changed) == (1, ["b.weight"])
    assert found.changes[0].what == "values changed (F32 [32, 4])"


def test_the_chat_template_is_compared_line_by_line(tmp_path: Path) -> None:
    right = write(tmp_path / "b", template=TEMPLATE.replace("{{ m }}", "{{ m.content }}"))
    (change,) = told("m.gguf", write(tmp_path / "a"), right).changes
    assert (change.at, change.left) == ("/tokenizer.chat_template line 2", "{{ m }}")


def test_changed_tokens_are_noticed(tmp_path: Path) -> None:
    found = told("m.gguf", write(tmp_path / "a"), write(tmp_path / "b", tokens=["<s>", "b", "a"]))
    assert [c.at for c in found.changes] == ["/tokenizer.ggml.tokens"]


def test_block_sizes_are_those_of_the_library() -> None:
    ours = {number: (block, width) for number, (_, block, width) in ggml.TENSORS.items()}
    theirs = {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}
    assert ours.items() <= theirs.items()
    assert all(library.GGMLQuantizationType(n).name == ggml.TENSORS[n][0] for n in ours)


def header(keys: int, body: bytes, tensors: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + body


def key(name: str, kind: int, raw: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + raw


def info(name: str, dims: list[int], kind: int, offset: int) -> bytes:
    raw = struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(dims))
    return raw + struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, offset)


def laid(infos: bytes, tensors: int, data: bytes) -> bytes:
    head = header(0, infos, tensors)
    return head + bytes(-len(head) % 32) + data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (header(2, key("a", 4, b"\1\0\0\0") * 2), "twice"),
        (header(1, key("a", 99, b"")), "unknown type 99"),
        (header(1, key("a", 7, b"\2")), "boolean"),
        (header(1, key("general.alignment", 4, struct.pack("<I", 7))), "alignment"),
        (header(1 << 60, b""), "too many"),
        (header(0, b"", tensors=1 << 60), "too many"),
        (header(0, b"", version=1), "version 1"),
        (b"GGUF\0\0\0\3" + bytes(16), "big-endian"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (header(1, key("a", 9, struct.pack("<IQ", 8, 1 << 60))), "more than"),
        (header(1, key("a", 9, struct.pack("<IQ", 4, 1 << 60))), "header"),
        (header(1, key("a", 8, struct.pack("<Q", 1 << 60))), "header"),
        (header(1, key("a", 9, struct.pack("<IQ", 9, 1) * 6)), "nested"),
        (laid(info("a", [8], 0, 0) + info("b", [8], 0, 0), 2, bytes(32)), "overlaps"),
        (laid(info("a", [8], 0, 0) + info("b", [8], 0, 64), 2, bytes(96)), "gap"),
        (laid(info("a", [8], 0, 0), 1, bytes(31)), "ends before"),
        (laid(info("a", [8], 0, 0), 1, bytes(64)), "after the last tensor"),
        (laid(info("a", [8], 98, 0), 1, bytes(32)), "unknown type 98"),
        (laid(info("a", [8], 2, 0), 1, bytes(32)), "whole number"),
        (laid(info("a", [8], 0, 8), 1, bytes(64)), "multiple"),
        (laid(info("a", [8], 0, 0) * 2, 2, bytes(32)), "twice"),
        (laid(info("a", [1] * 5, 0, 0), 1, bytes(32)), "5 dimensions"),
    ],
)
def test_what_cannot_be_placed_exactly_is_refused_with_its_reason(data: bytes, why: str) -> None:
    facts = facts_of("m.gguf", data)
    assert facts is not None
    assert why in facts["refused"]


def test_other_bits_of_a_shown_value_are_different() -> None:
    left, right = (header(1, key("a", 6, bits)) for bits in (b"\0\0\xc0\x7f", b"\1\0\xc0\x7f"))
    found = told("m.gguf", left, right)
    assert not found.equivalent
    assert found.changes[0].what == "other bits of the same shown value"


def test_a_header_of_millions_of_empty_strings_is_refused() -> None:
    data = header(1, key("a", 9, struct.pack("<IQ", 8, 4_000_000))) + bytes(32_000_000)
    facts = facts_of("m.gguf", data)
    assert facts is not None
    assert "more than" in facts["refused"]
