"""Weights that were cut into other files: told as one change, not as many files gone and come.

Tensors are matched by name over all files of one folder and format, so that
``unet/`` and ``vae/``, or a safetensors and a pickle of one model, are not mixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from manifestd.model.change import Change, FileDiff, TensorDiff
from manifestd.rules.tensors import Facts, compare_tensors, has_tensors, merged, summary

SAME_TENSORS: Final = "the same tensors in other files"
"""Reason of a change that only says where tensors stand."""

_MAX_CHANGES: Final = 100
_MAX_TOLD: Final = 3

Group = tuple[str, str]
"""Folder and format of the facts."""
Files = dict[str, Facts]


class Regrouped(msgspec.Struct, frozen=True, kw_only=True):
    """What came of matching tensors over files.

    Attributes:
        tensors: All tensors of the re-cut files, whatever file they stand in.
        changes: Those that are not the same; bounded.
        summary: One line for people.
        files: Path -> where its tensors stand on the other side.
        harmless: Files whose tensors, and those of all files they were cut together with,
            are the same; nothing else in those files differs.
        folders: Folders of such files, without the last slash.
    """

    tensors: TensorDiff
    changes: list[Change]
    summary: str
    files: dict[str, str]
    harmless: frozenset[str]
    folders: frozenset[str]


def regrouped(
    left: Mapping[str, Facts | None], right: Mapping[str, Facts | None]
) -> Regrouped | None:
    """Match the tensors of two snapshots over files; None when none stands in another file.

    Files that hold the same tensors on both sides are set aside first. A name that stands in
    several of the other files of a group leaves that group out: which one is meant is unknown.

    Args:
        left: Path -> facts of the left side's weight files.
        right: The same of the right side.
    """
    old, new = _groups(left), _groups(right)
    found = []
    for group in sorted(old.keys() & new.keys()):
        mine, theirs = _unlike(old[group], new[group]), _unlike(new[group], old[group])
        if _moved(mine, theirs) and _unique(mine) and _unique(theirs):
            found.append(_Recut(group, mine, theirs))
    if not found:
        return None
    harmless = [one for one in found if one.harmless]
    return Regrouped(
        tensors=_together([one.named() for one in found]),
        changes=[change for one in found for change in one.changes][:_MAX_CHANGES],
        summary="; ".join(one.told() for one in found[:_MAX_TOLD])
        + (f"; and {len(found) - _MAX_TOLD} more folders" if len(found) > _MAX_TOLD else ""),
        files={path: text for one in found for path, text in one.files().items()},
        harmless=frozenset(path for one in harmless for path in (*one.left, *one.right)),
        folders=frozenset(one.folder for one in harmless),
    )


def retold(file: FileDiff, found: Regrouped) -> FileDiff:
    """A file's diff with the news that its tensors stand elsewhere.

    A file that is :attr:`Regrouped.harmless`, and the part of an index that names files, are
    ``metadata``: loaders get the very same tensors. Whether indexes hold is the caller's to know.
    """
    sentence = found.files.get(file.path)
    if sentence is not None:
        known = f"{file.summary}; " if file.summary and file.verdict == "different" else ""
        file = msgspec.structs.replace(file, summary=known + sentence)
    folder, _, name = file.path.rpartition("/")
    index = name.endswith(".safetensors.index.json") and folder in found.folders
    if file.impact != "behaviour" or not (index or file.path in found.harmless):
        return file
    if index and (file.more_changes or any(_is_grave(change) for change in file.changes)):
        return file
    changes = [
        msgspec.structs.replace(change, impact="metadata", reason=SAME_TENSORS)
        if change.impact == "behaviour"
        else change
        for change in file.changes
    ]
    return msgspec.structs.replace(file, impact="metadata", changes=changes)


def _is_grave(change: Change) -> bool:
    """Whether an index's change is about more than the names of its shards."""
    return change.at != "/weight_map" and change.impact in {"behaviour", "security"}


class _Recut:
    """The files of one folder and format that do not hold the same tensors on both sides."""

    def __init__(self, group: Group, left: Files, right: Files) -> None:
        self.folder = group[0]
        self.left, self.right = left, right
        mine, theirs = merged(left.values()), merged(right.values())
        self.tensors, self.changes = compare_tensors(mine, theirs)
        kinds = _metadata(left), _metadata(right)
        state = "same" if kinds[0] == kinds[1] else "changed"
        self.tensors = msgspec.structs.replace(self.tensors, metadata=state)
        changed = {*self.tensors.changed, *self.tensors.left_only, *self.tensors.right_only}
        self.same = not changed and not self.tensors.unknown
        # With one metadata for all files, no loader can read one file as another would be.
        self.harmless = (
            self.same and kinds[0] == kinds[1] and len(kinds[0]) == 1
            and group[1].startswith("safetensors/")
        )  # fmt: skip
        self._changed = changed

    def told(self) -> str:
        """One line: what of the tensors changed, and that they stand in other files."""
        where = f"{_files(len(self.left))} on the left, {len(self.right)} on the right"
        place = f"{self.folder}/: " if self.folder else ""
        if self.same:
            also = "" if self.tensors.metadata == "same" else "; metadata changed"
            tensors = "1 tensor" if self.tensors.same == 1 else f"{self.tensors.same} tensors"
            return f"{place}the same {tensors} in other files ({where}){also}"
        return f"{place}{summary(self.tensors, named=True)}; they stand in other files ({where})"

    def files(self) -> dict[str, str]:
        """Path -> what became of its tensors."""
        sides = ((self.left, self.right, "right"), (self.right, self.left, "left"))
        found: dict[str, str] = {}
        for mine, theirs, other in sides:
            elsewhere = {tensor["name"] for facts in theirs.values() for tensor in facts["tensors"]}
            for path, facts in mine.items():
                if path not in found:
                    here = {
                        tensor["name"] for tensor in theirs.get(path, {"tensors": []})["tensors"]
                    }
                    names = [t["name"] for t in facts["tensors"] if t["name"] not in here]
                    found[path] = self._file(names, elsewhere, other)
        return {path: text for path, text in found.items() if text}

    def _file(self, names: list[str], elsewhere: set[str], other: str) -> str:
        kept = [name for name in names if name in elsewhere]
        if not kept:
            return ""
        good = sum(name not in self._changed for name in kept)
        whose = "its tensor" if len(names) == 1 else f"its {len(names)} tensors"
        if len(names) != good:
            whose = f"{good} of {whose}"
        how = "" if self.tensors.unknown else " unchanged"
        verb = "stands" if good == 1 else "stand"
        return f"{whose} {verb}{how} in other files on the {other}"

    def named(self) -> TensorDiff:
        """The tensors under names that tell folders apart."""
        if not self.folder:
            return self.tensors
        return msgspec.structs.replace(
            self.tensors,
            changed=[f"{self.folder}/{name}" for name in self.tensors.changed],
            left_only=[f"{self.folder}/{name}" for name in self.tensors.left_only],
            right_only=[f"{self.folder}/{name}" for name in self.tensors.right_only],
        )


def _groups(side: Mapping[str, Facts | None]) -> dict[Group, Files]:
    found: dict[Group, Files] = {}
    for path, facts in side.items():
        if facts is not None and has_tensors(facts) and facts["format"] != "file/1":
            group = path.rpartition("/")[0], str(facts["format"])
            found.setdefault(group, {})[path] = facts
    return found


def _unlike(mine: Files, theirs: Files) -> Files:
    """Files that do not hold the same tensors under the same path on the other side."""
    return {
        path: facts
        for path, facts in mine.items()
        if path not in theirs or _tensors(facts) != _tensors(theirs[path])
    }


def _tensors(facts: Facts) -> dict[str, Any]:
    return {
        tensor["name"]: (tensor["dtype"], tensor["shape"], tensor.get("digest"))
        for tensor in facts["tensors"]
    }


def _moved(left: Files, right: Files) -> bool:
    """Whether some tensor stands in another file than it did."""
    old, new = _homes(left), _homes(right)
    return any(old[name] != new[name] for name in old.keys() & new.keys())


def _homes(files: Files) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path, facts in files.items():
        for tensor in facts["tensors"]:
            found.setdefault(tensor["name"], set()).add(path)
    return found


def _unique(files: Files) -> bool:
    names = [tensor["name"] for facts in files.values() for tensor in facts["tensors"]]
    return len(names) == len(set(names))


def _metadata(files: Files) -> set[tuple[tuple[str, ...], ...]]:
    """The different metadata of files; ``format``, say, stands in every shard."""
    return {
        tuple(tuple(map(str, pair)) for pair in facts.get("metadata", []))
        for facts in files.values()
    }


def _together(diffs: list[TensorDiff]) -> TensorDiff:
    return TensorDiff(
        same=sum(one.same for one in diffs),
        unknown=sum(one.unknown for one in diffs),
        changed=[name for one in diffs for name in one.changed],
        left_only=[name for one in diffs for name in one.left_only],
        right_only=[name for one in diffs for name in one.right_only],
        metadata="changed" if any(one.metadata == "changed" for one in diffs) else "same",
    )


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
