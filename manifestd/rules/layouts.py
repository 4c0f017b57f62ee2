"""Composite digests: how a store split an object into parts, and what our own chunks say about that.

S3 gives objects uploaded in parts a *composite*: the digest of the joined raw
digests of the parts. It is no digest of the bytes, and two composites are of
the same kind only when the parts were cut alike. Where a side has digests of
chunks of exactly the part size, its composite can be computed from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from manifestd.model.entry import Chunks, File

COMPOSITE: Final = "-composite"
MAX_PARTS: Final = 100_000
"""More parts than any store allows (S3: 10,000); a layout beyond it is not looked at."""

PROVEN: Final = frozenset({"sha256-composite", "sha1-composite"})
"""Composites whose formula is the same on every store (s3.md 1.1). Of others, such as the md5
of md5s in an ETag, a recomputed value that agrees says something, one that differs nothing."""

_HASHES: Final = frozenset({"sha256", "sha512", "sha1", "md5"})

Layout = int | tuple[int, ...]
"""Bytes of every part but the last, or of each part where they are not alike."""


def is_composite(algorithm: str) -> bool:
    """Whether values under this name are digests of part digests."""
    return algorithm.endswith(COMPOSITE)


def layout_of(file: File, algorithm: str) -> Layout | None:
    """How the parts behind a composite were cut; None when the record cannot tell.

    Reads the observation's hints (``{"composite": {"partSize" | "partSizes", …}}``), which
    come from the source and are believed only as far as they fit the file's size.
    """
    for hint in _hints(file, algorithm):
        sizes = hint.get("partSizes")
        if isinstance(sizes, list) and sizes and len(sizes) <= MAX_PARTS:
            layout = _normalised(sizes, file.size)
            if layout is not None:
                return layout
        size = hint.get("partSize")
        if isinstance(size, int) and size > 0 and -(-file.size // size) <= MAX_PARTS:
            return min(size, file.size) or size
    return None


def part_digests(file: File, algorithm: str) -> Chunks | None:
    """The single parts' digests as chunks, where the store told them and they are cut alike.

    Accepted only when they give the composite that the record holds.
    """
    base = algorithm.removesuffix(COMPOSITE)
    layout = layout_of(file, algorithm)
    for hint in _hints(file, algorithm):
        parts = hint.get("parts")
        if not isinstance(layout, int) or not isinstance(parts, list) or len(parts) > MAX_PARTS:
            continue
        if not all(isinstance(part, str) for part in parts):
            continue
        chunks = Chunks(algorithm=base, size=layout, digests=parts)
        if composite_of(chunks, file.size, layout) == file.seen.digests.get(algorithm):
            return chunks
    return None


def composite_of(chunks: Chunks, size: int, layout: Layout) -> str | None:
    """The composite that a store would give a file of these chunks, or None if they do not fit.

    Args:
        chunks: Digests of pieces, under an algorithm of hashlib.
        size: Length of the file in bytes.
        layout: How the store cut it.
    """
    if chunks.algorithm not in _HASHES or chunks.size <= 0 or not isinstance(layout, int):
        return None
    if layout != min(chunks.size, size) or len(chunks.digests) != max(1, -(-size // layout)):
        return None
    try:
        joined = bytes.fromhex("".join(chunks.digests))
    except ValueError:
        return None
    # md5 and sha1 stand in for the store's own checksum here; nothing rests on their strength.
    return hashlib.new(chunks.algorithm, joined, usedforsecurity=False).hexdigest()


def recomputed(
    file: File, chunks: Sequence[Chunks], algorithm: str, layout: Layout | None
) -> str | None:
    """This side's composite under the other side's layout, from its own chunk digests."""
    if layout is None:
        return None
    base = algorithm.removesuffix(COMPOSITE)
    whole = file.digests().get(base)
    if layout == file.size and whole is not None:
        # One part: the list of part digests is the file's own digest.
        return composite_of(Chunks(algorithm=base, size=layout, digests=[whole]), file.size, layout)
    for candidate in chunks:
        if candidate.algorithm == base:
            value = composite_of(candidate, file.size, layout)
            if value is not None:
                return value
    return None


def _hints(file: File, algorithm: str) -> list[dict[str, Any]]:
    """The hints that speak of this composite, the ones by its own name first."""
    found = [
        hint
        for hint in (file.seen.hints.get(algorithm), file.seen.hints.get("composite"))
        if isinstance(hint, dict)
    ]
    base = algorithm.removesuffix(COMPOSITE)
    return [hint for hint in found if str(hint.get("algorithm", base)).lower() == base]


def _normalised(sizes: list[Any], total: int) -> Layout | None:
    if not all(isinstance(size, int) and size >= 0 for size in sizes) or sum(sizes) != total:
        return None
    alike = all(left == right for left, right in pairwise(sizes[:-1]))
    if len(sizes) == 1 or (alike and sizes[-1] <= sizes[0]):
        return int(sizes[0])
    return tuple(sizes)
