"""safetensors: tensor list, metadata and one digest a tensor (rule ``safetensors/1``, specs 5.6)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final

from manifestd.formats import jsontext, tensorfile
from manifestd.formats.base import Explanation
from manifestd.formats.bounds import MAX_INTEGER, RefusedError
from manifestd.formats.pointers import refuse_pointer
from manifestd.model.content import RandomAccess
from manifestd.model.digest import of_bytes
from manifestd.rules import jsondiff
from manifestd.rules.tensors import has_tensors

MAX_HEADER: Final = 24 * 1024 * 1024
"""Bytes of header that are read. The format allows 100,000,000; 100,000 tensors take 11 MB."""
_MAX_VALUES: Final = 1_250_000

BITS: Final = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Bits an element has, by dtype (safetensors 0.8)."""


class SafetensorsReader(tensorfile.HeaderReader):
    """Reads the header; refuses what the specification forbids, also where the library accepts it."""

    name: ClassVar[str] = "safetensors"
    version: ClassVar[str] = "safetensors/1"
    kind: ClassVar[str] = "safetensors"
    extra: ClassVar[str] = "metadata"

    def read(self, content: RandomAccess) -> dict[str, Any]:
        """Metadata as sorted pairs, sha256 of the header; one or two ranged reads."""
        header, start = _header(content)
        return _facts(header, start, content.size)

    def compare(self, left: dict[str, Any], right: dict[str, Any]) -> Explanation | None:
        """Tensors by name; metadata key by key."""
        if not has_tensors(left) or not has_tensors(right):
            return None
        old, new = _metadata(left), _metadata(right)
        changes = jsondiff.diff(old, new, at="/__metadata__")
        return tensorfile.explain_tensors(left, right, changes, metadata_same=old == new)


def _metadata(facts: dict[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in facts.get("metadata", [])}


def _header(content: RandomAccess) -> tuple[bytes, int]:
    # Exactly the header, never a guess at its length: from a remote source each byte
    # beyond it would be one of the weights, which nobody asked to read.
    head = content.read_at(0, min(8, content.size))
    if len(head) < 8:
        raise RefusedError("shorter than the 8 bytes that give the header's length")
    if head == b"version ":
        refuse_pointer(content)
    length = int.from_bytes(head, "little")
    if length > content.size - 8:
        raise RefusedError(f"the header claims {length} bytes, the file has {content.size}")
    if length > MAX_HEADER:
        raise RefusedError(f"a header of {length} bytes; at most {MAX_HEADER} are read")
    header = content.read_at(8, length)
    if len(header) != length:
        raise RefusedError("the file ends inside its header")
    return header, 8 + length


def _facts(header: bytes, start: int, size: int) -> dict[str, Any]:
    tree = jsontext.parse(header, max_values=_MAX_VALUES)
    if type(tree) is not dict:
        raise RefusedError("the header is no JSON object")
    metadata = _checked_metadata(tree.pop("__metadata__", None))
    tensors = [_tensor(name, entry, start) for name, entry in tree.items()]
    _check_tiling(tensors, start, size)
    tensors.sort(key=lambda tensor: (tensor["begin"], tensor["end"], tensor["name"]))
    return {
        "format": SafetensorsReader.version,
        "metadata": metadata,
        "header": of_bytes(header),
        "tensors": tensors,
    }


def _checked_metadata(value: Any) -> list[list[str]]:
    if value is None:
        return []
    if type(value) is not dict or not all(type(item) is str for item in value.values()):
        raise RefusedError("__metadata__ is not a map of strings to strings")
    return sorted([key, item] for key, item in value.items())


def _tensor(name: str, entry: Any, start: int) -> dict[str, Any]:
    shown = name[:80]
    if type(entry) is not dict or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise RefusedError(f"the entry of tensor {shown!r} is not dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    bits = BITS.get(dtype) if type(dtype) is str else None
    if bits is None:
        raise RefusedError(f"tensor {shown!r} has the unknown dtype {str(dtype)[:40]!r}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or len(shape) > 64:
        raise RefusedError(f"tensor {shown!r} has a shape or offsets that are no lists of sizes")
    begin, end = offsets
    if begin > end or (end - begin) * 8 != math.prod(shape) * bits:
        raise RefusedError(
            f"tensor {shown!r} is {dtype} {shape[:8]} but its range has {end - begin} bytes"
        )
    place = {"begin": start + begin, "end": start + end}
    return {"name": name, "dtype": dtype, "shape": shape, **place}


def _counts(value: Any) -> bool:
    return type(value) is list and all(type(v) is int and 0 <= v <= MAX_INTEGER for v in value)


def _check_tiling(tensors: list[dict[str, Any]], start: int, size: int) -> None:
    """The ranges cover the buffer exactly: from its start, no hole, no overlap, to the file's end."""
    position = start
    for tensor in sorted(tensors, key=lambda item: (item["begin"], item["end"])):
        if tensor["begin"] != position:
            word = "a hole before" if tensor["begin"] > position else "an overlap at"
            raise RefusedError(f"{word} tensor {tensor['name'][:80]!r}")
        position = tensor["end"]
    if position != size:
        count = abs(size - position)
        many = f"{count} byte{'s' * (count > 1)}"
        if position < size:
            raise RefusedError(f"{many} after the last tensor")
        raise RefusedError(f"cut off: the header places {many} more than the file has")
