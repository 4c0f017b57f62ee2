"""Tensors of torch archives: named from the walked pickle, placed in records, explained."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.formats import tensorfile
from manifestd.formats.base import Explanation
from manifestd.formats.picklewalk import (
    PARAMETER,
    REBUILD,
    STORAGES,
    USUAL,
    Call,
    Global,
    Persistent,
    Walk,
)
from manifestd.model.change import Change
from manifestd.rules import jsondiff, tensors
from manifestd.rules.tensors import has_tensors

MAX_TENSORS: Final = 100_000
_MAX_DEPTH: Final = 8
_LARGEST: Final = 2**53
_IGNORED: Final = ".data/serialization_id"


def named(walk: Walk, records: dict[str, dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Every tensor of a pickle by its dotted key; None unless each one is understood.

    ``whole`` marks a tensor that is its storage, in order and from end to end:
    only then is the record's digest the tensor's.
    """
    if not walk.complete:
        return None
    found: list[dict[str, Any]] = []
    seen: set[int] = set()
    visited = 0
    stack: list[tuple[str, Any, int]] = [("", walk.top, 0)]
    while stack:
        name, value, depth = stack.pop()
        visited += 1
        if visited > MAX_TENSORS or depth > _MAX_DEPTH:
            return None
        if isinstance(value, Call):
            if value.name == PARAMETER:
                stack.append((name, value.args[0] if value.args else None, depth + 1))
                continue
            tensor = _tensor(name, value, records)
            if tensor is None:
                return None
            seen.add(id(value))
            found.append(tensor)
        elif type(value) is dict or type(value) in {list, tuple}:
            items = value.items() if type(value) is dict else enumerate(value)
            base = f"{name}." if name else ""
            stack.extend((f"{base}{key}", item, depth + 1) for key, item in items)
    names = {tensor["name"] for tensor in found}
    if len(seen) != walk.calls or len(names) != len(found) or not found:
        return None
    return sorted(found, key=lambda tensor: str(tensor["name"]))


def _tensor(name: str, call: Call, records: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    if call.name != REBUILD or len(call.args) < 4:
        return None
    storage, offset, shape, stride = call.args[:4]
    key = storage.key if isinstance(storage, Persistent) else None
    if type(key) is not tuple or len(key) < 5 or key[0] != "storage":
        return None
    kind = STORAGES.get(key[1].name) if isinstance(key[1], Global) else None
    record = records.get(f"data/{key[2]}") if type(key[2]) is str else None
    if kind is None or record is None or "begin" not in record:
        return None
    if not _sizes((offset, key[4])) or not _sizes(shape) or not _sizes(stride):
        return None
    dtype, width = kind
    count = math.prod(shape)
    if len(shape) != len(stride) or count >= _LARGEST or key[4] * width != record["size"]:
        return None
    begin = record["begin"] + offset * width
    end = begin + count * width
    if end > record["end"] and count:
        return None
    whole = offset == 0 and count == key[4] and _contiguous(shape, stride)
    tensor = {"name": name, "dtype": dtype, "shape": [*shape], "begin": begin, "end": end}
    return {**tensor, "whole": whole}


def _sizes(values: Any) -> bool:
    return type(values) is tuple and all(type(v) is int and 0 <= v < _LARGEST for v in values)


def _contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True


def with_digests(
    found: list[dict[str, Any]], by_place: dict[tuple[int, int], str]
) -> list[dict[str, Any]]:
    """Tensors that are whole records with their digests; views of storages have none."""
    result = []
    for tensor in found:
        plain = {key: value for key, value in tensor.items() if key != "whole"}
        digest = by_place.get((tensor["begin"], tensor["end"])) if tensor["whole"] else None
        result.append(plain if digest is None else {**plain, "digest": digest})
    return result


class RecordFact(msgspec.Struct, frozen=True):
    """One record in facts; facts from elsewhere are checked against it."""

    name: str
    size: int
    crc: str
    digest: str | None = None
    header: str | None = None


class TorchFact(msgspec.Struct, frozen=True, rename="camel"):
    """What explaining needs of a torch file's facts."""

    format: str
    refused: str | None = None
    root: str = ""
    exact: bool = False
    globals: list[str] = []
    records: list[RecordFact] = []
    digest_algorithm: str | None = None
    summarised: dict[str, Any] | None = None


def explain(left: dict[str, Any], right: dict[str, Any]) -> Explanation | None:
    """Explain two torch files from their facts."""
    try:
        old, new = (
            msgspec.convert(facts, canonical.prepared(TorchFact)) for facts in (left, right)
        )
    except msgspec.ValidationError:
        return None
    imports = _imports(old, new)
    said = tensorfile.refusals(left, right, "a torch archive")
    if said is not None:
        return msgspec.structs.replace(said, changes=imports)
    if old.summarised is not None or new.summarised is not None:
        return Explanation(summary="too many tensors to compare one by one", changes=imports)
    changes, same, unknown = _records(old, new)
    equivalent = not changes and not unknown and _placed_alike(old, new)
    if has_tensors(left) and has_tensors(right):
        diff, found = tensors.compare_tensors(left, right)
        listed = [*imports, *(found or changes)]
        summary = tensors.summary(diff)
        if changes and not found:
            summary += ", other records changed"
        explained = Explanation(tensors=diff, summary=summary)
    else:
        listed = [*imports, *changes]
        explained = Explanation(summary=_summary(changes, same, unknown))
    if equivalent:
        explained = msgspec.structs.replace(
            explained, equivalent=True, summary="the same records, packed differently"
        )
    if imports and imports[0].at == "pickle globals":
        names = ", ".join(imports[0].right[:3])
        summary = f"loading now imports {names}; {explained.summary}"
        explained = msgspec.structs.replace(explained, summary=summary)
    shown = listed[: jsondiff.MAX_CHANGES]
    return msgspec.structs.replace(explained, changes=shown, more=len(listed) - len(shown))


def _imports(old: TorchFact, new: TorchFact) -> list[Change]:
    """Unusual imports that came stand alone and first; storage classes and the like follow."""
    came = sorted(set(new.globals) - set(old.globals))
    gone = sorted(set(old.globals) - set(new.globals))
    found = []
    unusual = [name for name in came if name not in USUAL]
    if unusual:
        what = "loading imports names that data does not need"
        found.append(Change(at="pickle globals", right=_cut(unusual), what=what))
    usual = [name for name in came if name in USUAL]
    parts: dict[str, Any] = {}
    if gone:
        parts["left"] = _cut(gone)
    if usual:
        parts["right"] = _cut(usual)
    if parts:
        found.append(Change(at="imports", what="loading imports other names", **parts))
    return found


def _cut(names: list[str]) -> list[str]:
    return [jsondiff.cut(name) for name in names[:20]]


def _records(old: TorchFact, new: TorchFact) -> tuple[list[Change], int, int]:
    """Changed records, how many are the same, how many are not known to be."""
    left = {record.name: record for record in old.records if record.name != _IGNORED}
    right = {record.name: record for record in new.records if record.name != _IGNORED}
    comparable = old.digest_algorithm is not None and old.digest_algorithm == new.digest_algorithm
    same = unknown = 0
    changes = []
    for name, record in left.items():
        other = right.get(name)
        if other is None:
            changes.append(Change(at=name, what="record removed"))
        elif (record.size, record.crc) != (other.size, other.crc):
            what = f"record changed ({record.size} to {other.size} bytes)"
            changes.append(Change(at=name, what=what))
        elif not comparable or record.digest is None or other.digest is None:
            unknown += 1
        elif record.digest != other.digest:
            changes.append(Change(at=name, what="record changed, size and crc32 are equal"))
        else:
            same += 1
    changes += [Change(at=name, what="record added") for name in right if name not in left]
    return changes, same, unknown


def _placed_alike(old: TorchFact, new: TorchFact) -> bool:
    """Whether the place of every record's data is proved: by its header, or by equal headers."""
    if old.exact and new.exact:
        return True
    left = {record.name: record.header for record in old.records if record.name != _IGNORED}
    right = {record.name: record.header for record in new.records if record.name != _IGNORED}
    return old.exact == new.exact and None not in left.values() and left == right


def _summary(changes: list[Change], same: int, unknown: int) -> str:
    count = len(changes)
    parts = ["1 record changed" if count == 1 else f"{count} records changed"] if changes else []
    if unknown:
        many, whose = (
            ("1 record has", "its") if unknown == 1 else (f"{unknown} records have", "their")
        )
        parts.append(f"{many} equal size and crc32; {whose} bytes were not compared")
    if same and not changes:
        parts.append(f"{same} records identical")
    return ", ".join(parts) or "records identical"
