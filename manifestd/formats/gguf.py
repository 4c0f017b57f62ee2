"""GGUF: key-value metadata with exact bits, tensors with digests (rule ``gguf/1``, specs 5.7)."""

from __future__ import annotations

import math
import struct
from typing import Any, ClassVar, Final

import msgspec

from manifestd import canonical
from manifestd.formats import ggml, tensorfile
from manifestd.formats.base import Explanation
from manifestd.formats.bounds import MAX_INTEGER, RefusedError
from manifestd.formats.pointers import refuse_pointer
from manifestd.model.change import Change
from manifestd.model.content import RandomAccess
from manifestd.model.digest import of_bytes
from manifestd.rules import jsondiff, linediff
from manifestd.rules.tensors import has_tensors

MAX_HEADER: Final = 48 * 1024 * 1024
MAX_KEYS: Final = 10_000
MAX_TENSORS: Final = 200_000
MAX_STRINGS: Final = 1_500_000
"""Array elements that need a look each; vocabularies with their merges stay below a million."""
_KEPT_STRING: Final = 64 * 1024
_KEPT_ITEMS: Final = 16


class GgufReader(tensorfile.HeaderReader):
    """Reads version 2 and 3, little endian; refuses everything it cannot place exactly."""

    name: ClassVar[str] = "gguf"
    version: ClassVar[str] = "gguf/1"
    kind: ClassVar[str] = "GGUF"
    extra: ClassVar[str] = "version"

    def read(self, content: RandomAccess) -> dict[str, Any]:
        """Version, alignment, ``kv`` sorted by key; read in growing windows from the head."""
        if content.read_at(0, min(4, content.size)) == b"vers":
            refuse_pointer(content)
        return _read(_Cursor(content), content.size)

    def compare(self, left: dict[str, Any], right: dict[str, Any]) -> Explanation | None:
        """Tensors and metadata keys; the chat template line by line."""
        old, new = _keys(left), _keys(right)
        if old is None or new is None or not has_tensors(left) or not has_tensors(right):
            return None
        changes = _key_changes(old, new)
        if left.get("version") != right.get("version"):
            versions = {"left": left.get("version"), "right": right.get("version")}
            changes.append(Change(at="version", what="GGUF version changed", **versions))
        same = not changes and left.get("alignment") == right.get("alignment")
        return tensorfile.explain_tensors(left, right, changes, metadata_same=same)


class KeyFact(msgspec.Struct, frozen=True):
    """One metadata key in facts: its type, and value or digest of the exact bytes."""

    key: str
    type: str
    value: str | int | bool | None = None
    digest: str | None = None
    length: int | None = None
    first: list[str | int | bool] = []


class _Cursor:
    """Reads forward through a bounded head, fetching ever larger windows."""

    def __init__(self, content: RandomAccess) -> None:
        self._content = content
        self._limit = min(content.size, MAX_HEADER)
        self.data = bytearray()
        self.position = 0

    def need(self, count: int) -> int:
        """Make ``count`` bytes available; returns where they begin and moves past them."""
        start, end = self.position, self.position + count
        if end > self._limit:
            if self._limit == MAX_HEADER:
                raise RefusedError(f"a header of more than {MAX_HEADER} bytes")
            raise RefusedError("the file ends inside its header")
        while len(self.data) < end:
            window = max(end - len(self.data), min(max(len(self.data), 1 << 18), 1 << 23))
            window = min(window, self._limit - len(self.data))
            more = self._content.read_at(len(self.data), window)
            if not more:
                raise RefusedError("the file ends inside its header")
            self.data += more
        self.position = end
        return start

    def take(self, count: int) -> bytes:
        start = self.need(count)
        return bytes(self.data[start : start + count])

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def text(self, limit: int) -> str:
        length = self.u64()
        if length > limit:
            raise RefusedError(f"a name of {length} bytes; at most {limit} are read")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise RefusedError("a name that is not UTF-8") from error


def _read(cursor: _Cursor, size: int) -> dict[str, Any]:
    magic = cursor.take(4) if size >= 4 else b""
    if magic != b"GGUF":
        raise RefusedError("no GGUF magic")
    version = cursor.u32()
    if version not in {2, 3}:
        big = int.from_bytes(version.to_bytes(4, "little"), "big") in {2, 3}
        raise RefusedError("big-endian GGUF" if big else f"GGUF version {version}")
    tensor_count, key_count = cursor.u64(), cursor.u64()
    if tensor_count > MAX_TENSORS or key_count > MAX_KEYS:
        raise RefusedError(f"{tensor_count} tensors and {key_count} keys are too many")
    keys = _read_keys(cursor, key_count)
    alignment = _alignment(keys.get("general.alignment"))
    infos = _read_infos(cursor, tensor_count, alignment)
    start = -(-cursor.position // alignment) * alignment
    tensors = _placed(infos, start, size, alignment)
    if not tensors and size - cursor.position >= alignment:
        raise RefusedError(f"{size - cursor.position} bytes after the header, and no tensor")
    return {
        "format": GgufReader.version,
        "version": version,
        "alignment": alignment,
        "kv": [keys[key] for key in sorted(keys)],
        "tensors": tensors,
    }


def _read_keys(cursor: _Cursor, count: int) -> dict[str, dict[str, Any]]:
    keys: dict[str, dict[str, Any]] = {}
    budget = [MAX_STRINGS]
    for _ in range(count):
        key = cursor.text(65_535)
        if key in keys:
            raise RefusedError(f"the key {key[:80]!r} stands twice")
        keys[key] = {"key": key, **_value(cursor, cursor.u32(), budget)}
    return keys


def _value(cursor: _Cursor, kind: int, budget: list[int]) -> dict[str, Any]:
    if kind == ggml.STRING:
        return _string(cursor)
    if kind == ggml.ARRAY:
        return _array(cursor, budget)
    if kind not in ggml.SCALARS:
        raise RefusedError(f"a value of the unknown type {kind}")
    name, form = ggml.SCALARS[kind]
    raw = cursor.take(struct.calcsize(form))
    return {"type": name, **_scalar(name, form, raw)}


def _scalar(name: str, form: str, raw: bytes) -> dict[str, Any]:
    """Exact: integers as themselves (text beyond 2^53), reals as text with their bits."""
    (value,) = struct.unpack(form, raw)
    if name == "bool":
        if value > 1:
            raise RefusedError("a boolean that is neither 0 nor 1")
        return {"value": bool(value)}
    if name in {"f32", "f64"}:
        return {"value": _real(value, name), "digest": raw.hex()}
    return {"value": value if -MAX_INTEGER <= value <= MAX_INTEGER else str(value)}


def _real(value: float, name: str) -> str:
    return f"{value:.9g}" if name == "f32" else repr(value)


def _string(cursor: _Cursor) -> dict[str, Any]:
    length = cursor.u64()
    raw = cursor.take(length)
    digest = of_bytes(raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"type": "string", "digest": digest, "length": length}
    if length > _KEPT_STRING:
        return {"type": "string", "digest": digest, "length": length, "first": [text[:200]]}
    return {"type": "string", "value": text}


def _array(cursor: _Cursor, budget: list[int], depth: int = 0) -> dict[str, Any]:
    start = cursor.position
    kind, length = cursor.u32(), cursor.u64()
    first: list[Any] = []
    if kind == ggml.STRING:
        name = "string"
        first = _strings(cursor, length, budget)
    elif kind == ggml.ARRAY:
        name = "array"
        _spend(budget, length)
        if depth >= 3:
            raise RefusedError("arrays nested deeper than 4 levels")
        for _ in range(length):
            _array(cursor, budget, depth + 1)
    elif kind in ggml.SCALARS:
        name, form = ggml.SCALARS[kind]
        width = struct.calcsize(form)
        begin = cursor.need(length * width)
        for index in range(min(length, _KEPT_ITEMS)):
            at = begin + index * width
            first.append(_scalar(name, form, bytes(cursor.data[at : at + width]))["value"])
    else:
        raise RefusedError(f"an array of the unknown type {kind}")
    raw = bytes(memoryview(cursor.data)[start : cursor.position])
    digest = of_bytes(raw)
    return {"type": f"array of {name}", "length": length, "digest": digest, "first": first}


def _spend(budget: list[int], count: int) -> None:
    budget[0] -= count
    if budget[0] < 0:
        raise RefusedError(f"more than {MAX_STRINGS} strings or arrays in the metadata")


def _strings(cursor: _Cursor, length: int, budget: list[int]) -> list[str]:
    _spend(budget, length)
    first = []
    for index in range(length):
        at = cursor.need(8)
        size = int.from_bytes(cursor.data[at : at + 8], "little")
        begin = cursor.need(size)
        if index < _KEPT_ITEMS:
            raw = bytes(cursor.data[begin : begin + min(size, 400)])
            first.append(raw.decode("utf-8", "replace")[:80])
    return first


def _alignment(fact: dict[str, Any] | None) -> int:
    if fact is None:
        return 32
    value = fact.get("value")
    if fact["type"] != "u32" or type(value) is not int or value % 8 or not 8 <= value <= 1 << 20:
        raise RefusedError(f"an alignment of {str(value)[:40]}")
    return value


def _read_infos(cursor: _Cursor, count: int, alignment: int) -> list[dict[str, Any]]:
    infos: dict[str, dict[str, Any]] = {}
    for _ in range(count):
        name = cursor.text(4096)
        if name in infos:
            raise RefusedError(f"the tensor {name[:80]!r} stands twice")
        rank = cursor.u32()
        if rank > 4:
            raise RefusedError(f"tensor {name[:80]!r} has {rank} dimensions")
        shape = [cursor.u64() for _ in range(rank)]
        kind, offset = cursor.u32(), cursor.u64()
        if kind not in ggml.TENSORS:
            raise RefusedError(f"tensor {name[:80]!r} has the unknown type {kind}")
        dtype, block, width = ggml.TENSORS[kind]
        if any(dim > MAX_INTEGER for dim in shape) or (shape[0] if shape else 1) % block:
            raise RefusedError(f"tensor {name[:80]!r} is no whole number of {dtype} blocks")
        if offset % alignment:
            raise RefusedError(f"tensor {name[:80]!r} does not begin at a multiple of {alignment}")
        size = math.prod(shape) // block * width
        place = {"begin": offset, "end": offset + size}
        infos[name] = {"name": name, "dtype": dtype, "shape": shape, **place}
    return [*infos.values()]


def _placed(
    infos: list[dict[str, Any]], start: int, size: int, alignment: int
) -> list[dict[str, Any]]:
    """Tensors with offsets in the file: no overlap, no gap but padding, nothing behind the last."""
    tensors = sorted(
        ({**one, "begin": one["begin"] + start, "end": one["end"] + start} for one in infos),
        key=lambda one: (one["begin"], one["end"], one["name"]),
    )
    position = start
    for tensor in tensors:
        if not position <= tensor["begin"] < position + alignment:
            word = "overlaps" if tensor["begin"] < position else "leaves a gap after"
            raise RefusedError(f"tensor {tensor['name'][:80]!r} {word} the one before it")
        position = tensor["end"]
    if tensors and not position <= size < position + alignment:
        word = "file ends before the last tensor does"
        extra = f"{size - position} bytes after the last tensor"
        raise RefusedError(word if size < position else extra)
    return tensors


def _keys(facts: dict[str, Any]) -> dict[str, KeyFact] | None:
    try:
        found = msgspec.convert(facts.get("kv"), canonical.prepared(list[KeyFact]))
    except msgspec.ValidationError:
        return None
    return {one.key: one for one in found}


def _key_changes(old: dict[str, KeyFact], new: dict[str, KeyFact]) -> list[Change]:
    changes = []
    for key, fact in old.items():
        other = new.get(key)
        if other is None:
            changes.append(Change(at=jsondiff.pointer("", key), left=_show(fact)))
        elif fact != other:
            changes += _key_change(jsondiff.pointer("", key), fact, other)
    changes += [
        Change(at=jsondiff.pointer("", key), right=_show(new[key])) for key in new if key not in old
    ]
    return changes


def _key_change(at: str, old: KeyFact, new: KeyFact) -> list[Change]:
    a, b = old.value, new.value
    if old.type == new.type and type(a) is str and type(b) is str and "\n" in a and "\n" in b:
        kind = linediff.spelling(a, b)
        if kind is None:
            return linediff.text_changes(a, b, prefix=f"{at} ")
    what = None
    if old.type != new.type:
        what = f"type changed: {old.type} to {new.type}"
    elif old.length is not None and (old.length, old.first) == (new.length, new.first):
        what = "the same length and beginning, other content"
    elif _show(old) == _show(new):
        what = "other bits of the same shown value"
    return [Change(at=at, left=_show(old), right=_show(new), what=what)]


def _show(fact: KeyFact) -> Any:
    if fact.length is None:
        return jsondiff.show(fact.value)
    if fact.type.startswith("array") and fact.length <= len(fact.first):
        return jsondiff.show(fact.first)
    return f"{fact.type}, length {fact.length}: {', '.join(map(str, fact.first[:5]))}, …"[:300]
