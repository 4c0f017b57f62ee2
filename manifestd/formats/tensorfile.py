"""What the weight readers share: facts of tensors with their digests, and their explanation."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from manifestd.formats.base import Explanation, FormatReader, Outline
from manifestd.formats.bounds import (
    RefusedError,
    bounded,
    digests_of,
    empty_digest,
    refusal,
)
from manifestd.model.change import Change, TensorDiff
from manifestd.model.content import RandomAccess
from manifestd.model.entry import RegionDigest
from manifestd.model.region import Region
from manifestd.rules import tensors as rules
from manifestd.rules.jsondiff import MAX_CHANGES


class HeaderReader(FormatReader):
    """Reads files whose header lists all their tensors with their places.

    Attributes:
        kind: How people call the format.
        extra: The member of facts, besides the tensors, that all readers see.
    """

    kind: ClassVar[str]
    extra: ClassVar[str]

    @abstractmethod
    def read(self, content: RandomAccess) -> dict[str, Any]:
        """What the header says, with ``tensors`` in file order.

        Raises:
            RefusedError: The file is not of this format, or not as its specification demands.
        """

    @abstractmethod
    def compare(self, left: dict[str, Any], right: dict[str, Any]) -> Explanation | None:
        """Explain two sides whose facts are whole and of one version."""

    def outline(self, path: str, content: RandomAccess) -> Outline:
        """Read the header and name a region for each tensor."""
        try:
            facts = self.read(content)
        except RefusedError as error:
            return Outline(refused=str(error))
        return Outline(regions=regions_of(facts["tensors"]), state=facts)

    def facts(
        self, path: str, outline: Outline, regions: list[RegionDigest] | None, body: bytes | None
    ) -> dict[str, Any] | None:
        """What the header says, with the digests of the tensors that were read."""
        if outline.refused is not None:
            return refusal(self.version, outline.refused)
        if not outline.state:
            return None
        return bounded(with_digests(outline.state, outline.regions, regions))

    def explain(
        self,
        path: str,
        left: dict[str, Any] | None,
        right: dict[str, Any] | None,
        left_body: bytes | None,
        right_body: bytes | None,
    ) -> Explanation | None:
        """Tensors same, changed, added and removed; metadata told apart from them."""
        said = refusals(left, right, self.kind)
        if said is not None or left is None or right is None:
            return said
        if "summarised" in left or "summarised" in right:
            return explain_summarised(left, right, self.extra)
        return self.compare(left, right)


def regions_of(tensors: list[dict[str, Any]]) -> list[Region]:
    """One region a tensor that has bytes, ascending; ranges that were checked not to overlap."""
    return [
        Region(one["name"], one["begin"], one["end"])
        for one in sorted(tensors, key=lambda item: (item["begin"], item["end"]))
        if one["end"] > one["begin"]
    ]


def with_digests(
    facts: dict[str, Any], wanted: list[Region], found: list[RegionDigest] | None
) -> dict[str, Any]:
    """``facts`` with the digests of the pass put to their tensors (specs 5.6, 5.7)."""
    algorithm, digests = digests_of(found, wanted)
    if algorithm is None:
        return facts
    tensors = []
    for tensor in facts["tensors"]:
        place = (tensor["name"], tensor["begin"], tensor["end"])
        empty = tensor["begin"] == tensor["end"]
        digest = empty_digest(algorithm) if empty else digests.get(place)
        tensors.append(tensor if digest is None else {**tensor, "digest": digest})
    return {**facts, "digestAlgorithm": algorithm, "tensors": tensors}


def refusals(
    left: dict[str, Any] | None, right: dict[str, Any] | None, kind: str
) -> Explanation | None:
    """An explanation when at least one side cannot be explained; None when both can."""
    if left is None or right is None:
        side = "left" if left is None else "right"
        return Explanation(summary=f"of the {side} side only digests are known, no tensors")
    whys = []
    for side, facts in (("left", left), ("right", right)):
        if "refused" in facts:
            whys.append(f"{side} not read as {kind}: {str(facts['refused'])[:200]}")
    if whys:
        return Explanation(summary="; ".join(whys))
    if left.get("format") != right.get("format"):
        return Explanation(
            summary="facts of different reader versions "
            f"({str(left.get('format'))[:40]}, {str(right.get('format'))[:40]}): bytes only"
        )
    return None


def explain_summarised(left: dict[str, Any], right: dict[str, Any], extra: str) -> Explanation:
    """Explain facts that were too large to keep whole: equal, or not explained."""
    old, new = left.get("summarised"), right.get("summarised")
    rest = [
        {key: value for key, value in one.items() if key in {"format", "digestAlgorithm", extra}}
        for one in (left, right)
    ]
    parts = [*old.values()] if isinstance(old, dict) else []
    complete = bool(parts) and old == new and rest[0] == rest[1]
    complete = complete and all(type(p) is dict and p.get("complete") is True for p in parts)
    summary = (
        "equal in everything a reader sees"
        if complete
        else "too many tensors to compare one by one"
    )
    return Explanation(equivalent=complete, summary=summary)


def explain_tensors(
    left: dict[str, Any],
    right: dict[str, Any],
    metadata: list[Change],
    *,
    metadata_same: bool,
) -> Explanation:
    """Tensors by name with changes of dtype, shape and values; metadata changes come last.

    ``equivalent`` when every tensor is known to be the same and so is the metadata.
    """
    diff, changes = rules.compare_tensors(left, right)
    state = TensorDiff(
        same=diff.same,
        unknown=diff.unknown,
        changed=diff.changed,
        left_only=diff.left_only,
        right_only=diff.right_only,
        metadata="same" if metadata_same else "changed",
    )
    equivalent = not changes and not diff.unknown and metadata_same
    # Metadata keeps room of its own: hundreds of changed tensors must not push it out.
    room = MAX_CHANGES - min(len(metadata), MAX_CHANGES // 2)
    shown = [*changes[:room], *metadata[: MAX_CHANGES - min(len(changes), room)]]
    summary = rules.summary(state)
    if equivalent:
        summary = "same tensors and metadata, header written differently"
    return Explanation(
        equivalent=equivalent,
        summary=summary,
        changes=shown,
        more=len(changes) + len(metadata) - len(shown),
        tensors=state,
    )
