"""What one side computes because the other side holds nothing better (``--evidence-for``)."""

from __future__ import annotations

from typing import Final

import msgspec

from manifestd.model.chunks import decode_chunks
from manifestd.model.entry import Entry, File
from manifestd.reading.wants import ChunkLayout
from manifestd.rules.layouts import layout_of
from manifestd.store import Store

COMPOSITE: Final = "sha256-composite"

_ORDER: Final = ("sha512", "crc64nvme", "md5", "sha1", "crc32c", "crc32")
"""One of these is enough: the strong one first, then by what a difference costs to find."""

_SMALLEST_PART: Final = 64 * 1024
"""Bytes of a part below which no layout is believed: a hostile hint must not ask for a million digests."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the other side's knowledge of one file asks of this side.

    Attributes:
        algorithms: Whole-file algorithms to compute.
        layouts: Chunk digests to compute.
    """

    algorithms: frozenset[str] = frozenset()
    layouts: tuple[ChunkLayout, ...] = ()

    def lacking(self, store: Store, known: File | None) -> frozenset[str]:
        """Names of what ``known``, a stored measurement of the same object, does not have."""
        if known is None:
            return self.algorithms | ({COMPOSITE} if self.layouts else set())
        missing = self.algorithms - known.digests().keys()
        if self.layouts and not _has_layouts(store, known, self.layouts):
            missing |= {COMPOSITE}
        return missing


NOTHING: Final = Asked()


def asked_for(entry: Entry, other: File | None) -> Asked:
    """What to compute of ``entry`` so that it can be compared with ``other``.

    Nothing where the other side has a sha256, or where this side's listing already has
    what the other side holds. A composite asks for chunks of its part size; anything else
    for one algorithm, the best of those the other side holds.
    """
    if other is None or other.sha256 is not None or other.size != entry.size:
        return NOTHING
    theirs = other.seen.digests.keys()
    if COMPOSITE in theirs:
        layout = layout_of(other, COMPOSITE)
        if isinstance(layout, int) and layout >= min(_SMALLEST_PART, entry.size):
            if layout >= entry.size:
                # One part: its digest list is the sha256 itself, which any reading gives.
                return NOTHING if "sha256" in entry.digests else Asked(algorithms=_SHA256)
            return Asked(layouts=(ChunkLayout(algorithm="sha256", size=layout),))
    found = next((name for name in _ORDER if name in theirs), None)
    if found is None or found in entry.digests:
        return NOTHING
    return Asked(algorithms=frozenset({found}))


_SHA256: Final = frozenset({"sha256"})


def _has_layouts(store: Store, known: File, layouts: tuple[ChunkLayout, ...]) -> bool:
    if known.seen.chunks is None or not store.blobs.has(known.seen.chunks):
        return False
    data = store.blobs.get(known.seen.chunks)
    have = {(chunks.algorithm, chunks.size) for chunks in decode_chunks(data)}
    return all((layout.algorithm, layout.size) in have for layout in layouts)
