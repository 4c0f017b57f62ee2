"""Tensors of weight files: what two lists have in common, and one digest for a whole model.

Facts of every weight format name their tensors alike (docs/format/readers.md)::

    {"format": "safetensors/1", "digestAlgorithm": "blake3",
     "tensors": [{"name", "dtype", "shape", "begin", "end", "digest"?}, …], "metadata": [[key, value], …]}

Digests are missing when the bytes were not streamed; then equality stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.model.change import Change, TensorDiff, WeightsDiff
from manifestd.model.digest import of_bytes

Facts = Mapping[str, Any]

OPAQUE: Final = "file"


class TensorFact(msgspec.Struct, frozen=True):
    """Shape of one tensor in a facts document; facts from elsewhere are checked against it."""

    name: str
    dtype: str
    shape: list[int]
    begin: int = 0
    end: int = 0
    digest: str | None = None


class _TensorFacts(msgspec.Struct, frozen=True, rename="camel"):
    format: str
    tensors: list[TensorFact]
    digest_algorithm: str | None = None


def has_tensors(facts: Facts | None) -> bool:
    """Whether facts list their tensors, in the shape that the functions here rely on."""
    if facts is None or "refused" in facts or "tensors" not in facts:
        return False
    try:
        msgspec.convert(facts, canonical.prepared(_TensorFacts))
    except msgspec.ValidationError:
        return False
    return True


def compare_tensors(left: Facts, right: Facts) -> tuple[TensorDiff, list[Change]]:
    """Tensors of two files by name; changes come in the order of the left file.

    Equal digests count only under the same algorithm; otherwise a tensor whose
    dtype and shape agree is ``unknown``.
    """
    old = {tensor["name"]: tensor for tensor in left["tensors"]}
    new = {tensor["name"]: tensor for tensor in right["tensors"]}
    comparable = left.get("digestAlgorithm") == right.get("digestAlgorithm")
    same = unknown = 0
    changed: list[str] = []
    changes: list[Change] = []
    for name, tensor in old.items():
        other = new.get(name)
        if other is None:
            changes.append(Change(at=place(name), left=kind(tensor), what="tensor removed"))
            continue
        change = _tensor_change(tensor, other)
        if change is not None:
            changed.append(name)
            changes.append(change)
        elif not comparable or "digest" not in tensor or "digest" not in other:
            unknown += 1
        elif tensor["digest"] != other["digest"]:
            changed.append(name)
            changes.append(Change(at=place(name), what=f"values changed ({kind(tensor)})"))
        else:
            same += 1
    right_only = [name for name in new if name not in old]
    changes.extend(
        Change(at=place(name), right=kind(new[name]), what="tensor added") for name in right_only
    )
    return TensorDiff(
        same=same,
        unknown=unknown,
        changed=changed,
        left_only=[name for name in old if name not in new],
        right_only=right_only,
        metadata="same" if left.get("metadata") == right.get("metadata") else "changed",
    ), changes


def place(name: str) -> str:
    """A tensor's name as the place of a change; one that looks like a pointer is marked as a name."""
    return f"tensor {name}" if name.startswith("/") else name


def kind(tensor: Facts) -> str:
    """Dtype and shape for people: ``F16 [768, 2304]``."""
    return f"{tensor['dtype']} {tensor['shape']}"


def _tensor_change(left: Facts, right: Facts) -> Change | None:
    parts = []
    if left["dtype"] != right["dtype"]:
        parts.append("dtype changed")
    if left["shape"] != right["shape"]:
        parts.append("shape changed")
    if not parts:
        return None
    return Change(
        at=place(left["name"]), left=kind(left), right=kind(right), what=" and ".join(parts)
    )


def summary(diff: TensorDiff, *, named: bool = False) -> str:
    """One line for people about a tensor diff; ``named`` adds the first changed names."""
    total = diff.same + diff.unknown + len(diff.changed) + len(diff.left_only)
    parts = []
    if diff.changed:
        names = ", ".join(diff.changed[:2]) + (", …" if len(diff.changed) > 2 else "")
        told = f"{len(diff.changed)} of {total} tensors changed"
        parts.append(f"{told} ({names})" if named else told)
    word = "" if diff.changed else " tensors"
    for alone, where in ((diff.left_only, "left"), (diff.right_only, "right")):
        if alone:
            one = word.removesuffix("s") if len(alone) == 1 else word
            parts.append(f"{len(alone)}{one} only {where}")
            word = ""
    if diff.unknown:
        parts.append(
            f"{diff.unknown} of {total} tensors have equal names, dtypes and shapes; "
            "their values were not compared"
        )
    if not parts:
        parts.append("tensors identical")
    if diff.metadata == "changed":
        parts.append("metadata changed")
    return ", ".join(parts)


def whole_file(sha256: str) -> dict[str, Any]:
    """Facts that stand for a weight file no reader opens: its bytes are one opaque tensor.

    With it a model that also ships, say, ONNX still has a weights digest.
    """
    tensor = {"name": "", "dtype": OPAQUE, "shape": [], "digest": sha256}
    return {"format": "file/1", "digestAlgorithm": "sha256", "tensors": [tensor]}


def weights_digest(facts: Iterable[Facts | None]) -> str | None:
    """Digest of the set of (name, dtype, shape, tensor digest) over all weight files.

    It is the sha256 over the distinct canonical lines ``["name","dtype",[shape],"algorithm:hex"]``
    in ascending byte order, each ended by a newline: files and order play no part,
    so the same tensors in one file or in three give one digest. None when a file
    has no tensor facts, a tensor's digest is unknown, or there is no tensor at all.
    """
    lines = _lines(facts)
    return _digest(lines) if lines else None


def compare_weights(left: Iterable[Facts | None], right: Iterable[Facts | None]) -> WeightsDiff:
    """Both sides' weights digests; ``equal`` is None when a side, or the comparison, is unknown.

    Sides whose tensors were digested with different algorithms are not comparable.
    """
    old, new = _lines(left), _lines(right)
    equal: bool | None = None
    if old and new:
        equal = True if old == new else _proved_different(old, new)
    return WeightsDiff(
        left=_digest(old) if old else None, right=_digest(new) if new else None, equal=equal
    )


def merged(facts: Iterable[Facts]) -> dict[str, Any]:
    """All tensors of several files as the facts of one, for comparing re-sharded models.

    Metadata is left out: it belongs to files. A name that stands in several files
    keeps its first tensor; :func:`weights_digest` counts all of them.
    """
    tensors: dict[str, Any] = {}
    algorithms = set()
    for one in facts:
        if not has_tensors(one):
            continue
        algorithms |= {one["digestAlgorithm"]} if "digestAlgorithm" in one else set()
        for tensor in one["tensors"]:
            tensors.setdefault(tensor["name"], tensor)
    found = [*tensors.values()]
    if len(algorithms) == 1:
        return {"format": "merged/1", "digestAlgorithm": algorithms.pop(), "tensors": found}
    # Digests of several algorithms in one list could not be told apart.
    plain = [{key: value for key, value in one.items() if key != "digest"} for one in found]
    return {"format": "merged/1", "tensors": plain}


def _lines(facts: Iterable[Facts | None]) -> set[bytes] | None:
    lines: set[bytes] = set()
    for one in facts:
        if one is None or not has_tensors(one) or "digestAlgorithm" not in one:
            return None
        for tensor in one["tensors"]:
            if "digest" not in tensor:
                return None
            digest = f"{one['digestAlgorithm']}:{tensor['digest']}"
            lines.add(canonical.encode([tensor["name"], tensor["dtype"], tensor["shape"], digest]))
    return lines


def _digest(lines: set[bytes]) -> str:
    return of_bytes(b"".join(line + b"\n" for line in sorted(lines)))


def _proved_different(old: set[bytes], new: set[bytes]) -> bool | None:
    """False when some tensor is surely not on both sides; None when nothing shows that."""
    left = [msgspec.json.decode(line) for line in old - new]
    right = [msgspec.json.decode(line) for line in new - old]
    for mine, theirs in ((left, right), (right, left)):
        opaque = any(line[1] == OPAQUE for line in theirs)
        others: dict[str, list[Any]] = {}
        for line in theirs:
            others.setdefault(line[0], []).append(line)
        for name, dtype, shape, digest in mine:
            twins = others.get(name, [])
            algorithm = digest.partition(":")[0]
            if any(
                (dtype, shape) != (twin[1], twin[2]) or twin[3].startswith(f"{algorithm}:")
                for twin in twins
            ):
                return False
            # A file that no reader opens may hold the tensor that is missed.
            if not twins and not opaque and dtype != OPAQUE:
                return False
    return None
