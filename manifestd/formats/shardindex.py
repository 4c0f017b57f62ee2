"""Shard indexes: json/1, and whether index and shards agree (rule ``shardindex/1``, specs 5.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import msgspec

from manifestd import canonical
from manifestd.display import some_of
from manifestd.formats import jsontext
from manifestd.formats.base import Outline
from manifestd.formats.bounds import MAX_FACTS, RefusedError, refusal
from manifestd.formats.jsonfile import JsonReader
from manifestd.model.change import Change
from manifestd.model.entry import RegionDigest
from manifestd.rules import jsondiff
from manifestd.rules.tensors import has_tensors

_NUMBERED: Final = re.compile(r"(.+)-(\d{4,6})-of-(\d{4,6})(\.[a-z]+)\Z")
_SHOWN: Final = 5

Facts = Mapping[str, Any]


class IndexFact(msgspec.Struct, frozen=True):
    """Shape of an index's facts; facts from elsewhere are checked against it."""

    shards: list[str]
    map: list[tuple[str, int]]


class ShardIndexReader(JsonReader):
    """Reads ``weight_map``; explains tensors that moved to another shard."""

    name: ClassVar[str] = "shardindex"
    version: ClassVar[str] = "shardindex/1"

    def facts(
        self, path: str, outline: Outline, regions: list[RegionDigest] | None, body: bytes | None
    ) -> dict[str, Any] | None:
        """``{"shards": [file, …], "map": [[tensor, index of its shard], …]}`` in canonical order."""
        if body is None:
            return None
        try:
            weight_map = _weight_map(jsontext.parse(body))
        except RefusedError as error:
            return refusal(self.version, str(error))
        shards = sorted(set(weight_map.values()))
        number = {shard: index for index, shard in enumerate(shards)}
        pairs = [[tensor, number[shard]] for tensor, shard in sorted(weight_map.items())]
        document = {"format": self.version, "shards": shards, "map": pairs}
        if len(canonical.encode(document)) > MAX_FACTS:
            return refusal(self.version, f"{len(pairs)} tensors are too many to keep")
        return document

    def changes(self, path: str, left: Any, right: Any) -> list[Change]:
        """Tensors added, removed and moved between shards; the rest as pointers."""
        try:
            old, new = _weight_map(left), _weight_map(right)
        except RefusedError:
            return super().changes(path, left, right)
        found = []
        moved = [name for name in old if name in new and old[name] != new[name]]
        came = [name for name in new if name not in old]
        gone = [name for name in old if name not in new]
        for names, what in ((came, "added"), (gone, "removed"), (moved, "moved to other shards")):
            if names:
                count = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
                few = ", ".join(name[:80] for name in names[:_SHOWN])
                found.append(Change(at="/weight_map", what=f"{count} {what}: {few}"))
        rest = [
            {key: value for key, value in tree.items() if key != "weight_map"}
            for tree in (left, right)
        ]
        return found + jsondiff.diff(*rest)


def _weight_map(tree: Any) -> dict[str, str]:
    mapping = tree.get("weight_map") if type(tree) is dict else None
    if type(mapping) is not dict or not all(type(v) is str for v in mapping.values()):
        raise RefusedError("no weight_map of tensor names to file names")
    return mapping


def check_shards(paths: Iterable[str], facts: Mapping[str, Facts | None]) -> list[dict[str, Any]]:
    """Findings where a snapshot's shard indexes disagree with its files.

    Args:
        paths: Every path of the snapshot.
        facts: Path -> facts, at least of indexes and weight files; None where nothing is known.

    Returns:
        Findings with ``rule``, ``path``, ``what`` and ``impact``, in path order: ``shard-missing``,
        ``shard-path``, ``shard-tensor-missing``, ``shard-tensor-twice``, ``shard-tensor-unlisted``,
        ``shard-not-in-index``, ``shard-numbering``, ``shard-index-unread``.
    """
    every = set(paths)
    found: list[dict[str, Any]] = []
    for path in sorted(facts):
        index = facts[path]
        if index is None or index.get("format") != ShardIndexReader.version:
            continue
        if "refused" in index:
            found.append(_finding("shard-index-unread", path, str(index["refused"])))
            continue
        try:
            fact = msgspec.convert(index, canonical.prepared(IndexFact))
        except msgspec.ValidationError as error:
            found.append(_finding("shard-index-unread", path, str(error)))
            continue
        found += _check_index(path, fact, every, facts)
    return found


def _check_index(
    path: str, index: IndexFact, every: set[str], facts: Mapping[str, Facts | None]
) -> list[dict[str, Any]]:
    folder = path.rpartition("/")[0]
    base = f"{folder}/" if folder else ""
    shards = index.shards
    found = []
    wanted: dict[str, set[str]] = {shard: set() for shard in shards}
    for tensor, number in index.map:
        if 0 <= number < len(shards):
            wanted[shards[number]].add(tensor)
    holders: dict[str, list[str]] = {}
    for shard, tensors in wanted.items():
        if "/" in shard or "\\" in shard or shard in {"", ".", ".."}:
            what = f"the index names {shard[:200]!r}, which is no plain name in its folder"
            found.append(_finding("shard-path", path, what, impact="security"))
        elif base + shard not in every:
            found.append(_finding("shard-missing", path, f"{shard} is named and does not exist"))
        else:
            found += _check_shard(path, shard, tensors, facts.get(base + shard), holders)
    for tensor, files in sorted(holders.items()):
        if len(files) > 1:
            what = f"tensor {tensor[:200]!r} stands in {len(files)} shards: {', '.join(files[:5])}"
            found.append(_finding("shard-tensor-twice", path, what))
    strays = _strays(base, shards, every)
    if strays:
        what = f"{_few(strays)}: shards of the same set that the index does not name"
        found.append(_finding("shard-not-in-index", path, what))
    return [*_cap(found), *_numbering(path, shards)]


def _check_shard(
    path: str, shard: str, tensors: set[str], facts: Facts | None, holders: dict[str, list[str]]
) -> list[dict[str, Any]]:
    if facts is None or not has_tensors(facts):
        return []
    present = {tensor["name"] for tensor in facts["tensors"]}
    for name in present:
        holders.setdefault(name, []).append(shard)
    found = []
    if missing := sorted(tensors - present):
        what = f"{shard} does not hold {_few(missing)}, which the index says it does"
        found.append(_finding("shard-tensor-missing", path, what))
    if unlisted := sorted(present - tensors):
        what = f"{shard} holds {_few(unlisted)}, which the index does not place there"
        found.append(_finding("shard-tensor-unlisted", path, what))
    return found


def _strays(base: str, shards: list[str], every: set[str]) -> list[str]:
    """Files numbered like the named shards that no entry of the index names."""
    sets = {(match[1], match[3], match[4]) for shard in shards if (match := _NUMBERED.match(shard))}
    return sorted(
        name
        for full in every
        if full.startswith(base) and "/" not in (name := full[len(base) :])
        if (match := _NUMBERED.match(name)) and (match[1], match[3], match[4]) in sets
        if name not in shards
    )


def _numbering(path: str, shards: list[str]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, str], list[int]] = {}
    for shard in shards:
        if match := _NUMBERED.match(shard):
            groups.setdefault((match[1], match[3], match[4]), []).append(int(match[2]))
    found = []
    for (_, total, _), numbers in sorted(groups.items()):
        count = int(total)
        if sorted(numbers) != list(range(1, count + 1)) if count <= 100_000 else True:
            files = "1 file" if len(numbers) == 1 else f"{len(numbers)} files"
            what = (
                f"shards are numbered {min(numbers)} to {max(numbers)} ({files}) "
                f"of {count}; expected 1 to {count}"
            )
            found.append(_finding("shard-numbering", path, what, impact="metadata"))
    return found


def _few(names: list[str]) -> str:
    return some_of(names, _SHOWN, lambda name: name[:200])


def _cap(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return found[:100]


def _finding(rule: str, path: str, what: str, *, impact: str = "behaviour") -> dict[str, Any]:
    return {"rule": rule, "path": path, "what": what, "impact": impact}
