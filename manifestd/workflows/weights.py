"""The weights of two snapshots as a whole: the same tensors in whatever files, indexes that hold."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec

from manifestd.formats.names import reader_name
from manifestd.model.change import FileDiff, WeightsDiff
from manifestd.model.entry import File
from manifestd.model.role import role_of
from manifestd.rules.resharding import regrouped, retold
from manifestd.rules.tensors import compare_weights, has_tensors, whole_file
from manifestd.workflows.listing import Listing

MAX_FILES: Final = 10_000
"""Files up to which both lists are read for a weights digest; larger places hold many models."""

_MAX_FINDINGS: Final = 100
_LOOKED_THROUGH: Final = 1000
"""Files up to which a list is read only to see whether there are weights in it."""

Facts = dict[str, Any]


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        weights: The document's ``weights``.
        files: The files that were given, those of re-cut weights told as such.
        findings: Where shard indexes disagree with shards.
    """

    weights: WeightsDiff
    files: list[FileDiff]
    findings: list[Facts] = []


class _Side:
    """The weight files of one snapshot: their facts by path, and every path there is."""

    def __init__(self, files: Collection[File], facts: Callable[[File], Facts | None]) -> None:
        weights = [file for file in files if file.seen.role == "weights"]
        self.paths = {file.path for file in files}
        self.facts = {file.path: facts(file) for file in weights}
        self.sha256 = {
            file.path: file.sha256 for file in weights if reader_name(file.path) != "shardindex"
        }
        self.streamed = {
            sha256: path
            for path, sha256 in self.sha256.items()
            if sha256 is not None and _complete(self.facts[path])
        }
        self.contents = set(self.sha256.values())

    def tensors(self, other: _Side) -> list[Facts | None]:
        """Facts that list tensors, one for each file; None where nothing is known of one."""
        return [self._best(path, sha256, other) for path, sha256 in self.sha256.items()]

    def recut(self, other: _Side) -> dict[str, Facts | None]:
        """Facts of the files whose bytes stand nowhere on the other side."""
        return {
            path: self.facts[path]
            for path, sha256 in self.sha256.items()
            if sha256 is None or sha256 not in other.contents
        }

    def _best(self, path: str, sha256: str | None, other: _Side) -> Facts | None:
        """A file's own facts; an identical file's on the other side, if only that was streamed."""
        own = self.facts[path]
        if _complete(own):
            return own
        if sha256 is None:
            return own
        if sha256 in other.streamed:
            return other.facts[other.streamed[sha256]]
        if sha256 in other.contents or not has_tensors(own):
            return whole_file(sha256)
        return own


def weigh(
    sides: tuple[Listing, Listing],
    files: list[FileDiff],
    facts: Callable[[File], Facts | None],
    *,
    listed: bool = False,
) -> Weighed:
    """Compare the sets of tensors of two snapshots.

    Weights that are all identical are equal without reading anything. Otherwise both
    file lists are read, if they are those of one model rather than of a whole mirror.

    Args:
        sides: The two file lists.
        files: At least every file that is not identical.
        facts: Loads a file's facts.
        listed: ``files`` are all files, the identical ones too.
    """
    if not any(file.role == "weights" and file.verdict != "identical" for file in files):
        return Weighed(weights=_untouched(sides, files, listed=listed), files=files)
    if max(side.record.files for side in sides) > MAX_FILES:
        return Weighed(weights=WeightsDiff(left=None, right=None, equal=None), files=files)
    left, right = (_Side([*side.files()], facts) for side in sides)
    weights = compare_weights(left.tensors(right), right.tensors(left))
    findings = _findings(left, right)
    found = regrouped(left.recut(right), right.recut(left))
    misled = ""
    if any(one["impact"] != "metadata" and one["side"] != "both" for one in findings):
        misled = "; but a shard index does not agree with its shards"
    if found is None:
        if misled and weights.equal:
            told = f"the same tensors on both sides{misled}"
            weights = msgspec.structs.replace(weights, summary=told)
        return Weighed(weights=weights, files=files, findings=findings)
    if any(finding.get("impact") != "metadata" for finding in findings):
        # Which shards a loader opens is in doubt, so nothing about them is harmless.
        found = msgspec.structs.replace(found, harmless=frozenset(), folders=frozenset())
    weights = msgspec.structs.replace(
        weights, summary=found.summary + misled, tensors=found.tensors, changes=found.changes
    )
    return Weighed(
        weights=weights, files=[retold(file, found) for file in files], findings=findings
    )


def _untouched(
    sides: tuple[Listing, Listing], files: list[FileDiff], *, listed: bool
) -> WeightsDiff:
    """No weight file differs: they are equal, if all files are known and there are any weights."""
    if not all(side.record.complete for side in sides):
        return WeightsDiff(left=None, right=None, equal=None)
    if any(file.role == "weights" for file in files):
        return WeightsDiff(left=None, right=None, equal=True)
    if not listed and _weights_unlisted(sides):
        return WeightsDiff(left=None, right=None, equal=True)
    return WeightsDiff(left=None, right=None, equal=None, summary="neither side has weights")


def _weights_unlisted(sides: tuple[Listing, Listing]) -> bool:
    """Whether there are weights among the identical files, which nobody listed.

    There are taken to be, where finding out would read what the comparison need not.
    """
    left, right = (side.record for side in sides)
    if left.files > _LOOKED_THROUGH or (left.files and left.content == right.content):
        return True
    return any(role_of(path) == "weights" for path in sides[0].paths())


def _findings(left: _Side, right: _Side) -> list[Facts]:
    """Where an index disagrees with its shards, on either side."""
    if not any(reader_name(path) == "shardindex" for path in (*left.facts, *right.facts)):
        return []
    from manifestd.formats.shardindex import check_shards

    mine, theirs = check_shards(left.paths, left.facts), check_shards(right.paths, right.facts)
    both = [{**finding, "side": "both"} for finding in mine if finding in theirs]
    found = [
        *({**finding, "side": "left"} for finding in mine if finding not in theirs),
        *({**finding, "side": "right"} for finding in theirs if finding not in mine),
    ]
    return [*found, *both][:_MAX_FINDINGS]


def _complete(facts: Facts | None) -> bool:
    return (
        facts is not None
        and has_tensors(facts)
        and "digestAlgorithm" in facts
        and all("digest" in tensor for tensor in facts["tensors"])
    )
