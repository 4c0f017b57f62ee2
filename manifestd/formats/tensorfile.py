"""What the weight readers share: facts of tensors with their digests, and their explanation."""

from __future__ import annotations

from typing import Any

from manifestd.formats.base import Explanation
from manifestd.formats.bounds import digests_of, empty_digest
from manifestd.model.change import Change, TensorDiff
from manifestd.model.entry import RegionDigest
from manifestd.model.region import Region
from manifestd.rules import tensors as rules
from manifestd.rules.jsondiff import MAX_CHANGES


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
        return Explanation(summary=f"nothing is known of the {side} side but its bytes")
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
    what: str = "tensors",
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
    summary = rules.summary(state, what=what)
    if equivalent:
        summary = f"same {what} and metadata, header written differently"
    return Explanation(
        equivalent=equivalent,
        summary=summary,
        changes=shown,
        more=len(changes) + len(metadata) - len(shown),
        tensors=state,
    )
