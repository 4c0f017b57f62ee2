"""One feeder: takes a file's bytes in order, once, and gives every digest that was wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from manifestd.errors import MalformedError
from manifestd.model.entry import Chunks, RegionDigest
from manifestd.model.region import Region
from manifestd.reading.algorithms import Buffer, Hasher, hasher
from manifestd.reading.aside import Aside, idle_core
from manifestd.reading.wants import BODY_LIMIT, ChunkLayout, RegionAlgorithm, Wants

_WORTH_A_HANDOVER = 256 * 1024
"""Bytes below which handing a buffer to another thread costs more than hashing it."""


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What the bytes gave: the fields of a Measurement that come from content."""

    digests: dict[str, str]
    chunks: list[Chunks]
    regions: list[RegionDigest]
    body: bytes | None


class Feeder:
    """Updates all digests of one file from the buffers it is fed.

    The buffers may be reused by whoever gives them: nothing of them is kept but
    copies. Not thread-safe; one file, one feeder, one thread.

    Args:
        size: The file's length, which git's blob id starts with.
        wants: What to compute.

    Raises:
        UsageError: An algorithm that is not known.
        MalformedError: Regions out of order, overlapping or outside the file.
    """

    __slots__ = ("_aside", "_body", "_chunkers", "_main", "_regions", "_side", "_whole", "position")

    def __init__(self, size: int, wants: Wants) -> None:
        self.position = 0
        whole: dict[str, Hasher] = {}
        if wants.sha256:
            whole["sha256"] = hasher("sha256")()
        if wants.git_blob:
            blob = whole["sha1-git"] = hasher("sha1")()
            blob.update(b"blob %d\0" % size)
        for algorithm in sorted(wants.algorithms - whole.keys()):
            whole[algorithm] = hasher(algorithm)()
        self._whole = whole
        self._chunkers = [_Chunker(layout) for layout in wants.chunks if layout.size < size]
        self._regions = _Regions(wants, size) if wants.regions else None
        self._body = bytearray() if wants.body and size <= BODY_LIMIT else None
        updates: list[Callable[[Buffer], object]] = [each.update for each in whole.values()]
        self._main = updates[0] if updates else None
        self._side = updates[1:]
        self._side += [each.update for each in self._chunkers]
        if self._regions is not None:
            self._side.append(self._regions.update)
        if self._body is not None:
            self._side.append(self._body.extend)
        self._aside: Aside | None = None

    def update(self, data: Buffer) -> None:
        """Take the next bytes of the file."""
        self.position += len(data)
        if self._main is not None:
            if not self._side:
                self._main(data)
                return
            if len(data) >= _WORTH_A_HANDOVER and idle_core():
                self._update_beside(self._main, data)
                return
            self._main(data)
        for update in self._side:
            update(data)

    def _update_beside(self, main: Callable[[Buffer], object], data: Buffer) -> None:
        """The first digest here, all others at the same time on a core that idles."""
        if self._aside is None:
            self._aside = Aside(self._side)
        self._aside.start(data)
        try:
            main(data)
        finally:
            self._aside.wait()

    def close(self) -> None:
        """End the helping thread, if one was started. May be called twice."""
        if self._aside is not None:
            self._aside.close()
            self._aside = None

    def finish(self) -> Findings:
        """All results, after the last byte."""
        self.close()
        return Findings(
            digests={name: each.hexdigest() for name, each in self._whole.items()},
            chunks=[each.finish() for each in self._chunkers],
            regions=self._regions.finish() if self._regions is not None else [],
            body=bytes(self._body) if self._body is not None else None,
        )


class _Chunker:
    """Digests of equal pieces."""

    __slots__ = ("_current", "_digests", "_layout", "_left", "_make")

    def __init__(self, layout: ChunkLayout) -> None:
        if layout.size < 1:
            raise MalformedError(f"a piece of {layout.size} bytes cannot be hashed")
        self._layout = layout
        self._make = hasher(layout.algorithm)
        self._current = self._make()
        self._left = layout.size
        self._digests: list[str] = []

    def update(self, data: Buffer) -> None:
        if len(data) < self._left:
            self._current.update(data)
            self._left -= len(data)
            return
        view = memoryview(data)
        while len(view) >= self._left:
            self._current.update(view[: self._left])
            self._digests.append(self._current.hexdigest())
            view = view[self._left :]
            self._current = self._make()
            self._left = self._layout.size
        self._current.update(view)
        self._left -= len(view)

    def finish(self) -> Chunks:
        digests = self._digests
        if self._left < self._layout.size:
            digests = [*digests, self._current.hexdigest()]
        return Chunks(algorithm=self._layout.algorithm, size=self._layout.size, digests=digests)


class _Regions:
    """Digests of named ranges, in one sweep over them."""

    __slots__ = ("_algorithm", "_current", "_digests", "_make", "_next", "_position", "_regions")

    def __init__(self, wants: Wants, size: int) -> None:
        _check_order(wants.regions, size)
        self._regions = wants.regions
        self._algorithm = wants.region_algorithm
        self._make = hasher(self._algorithm)
        self._current: Hasher | None = None
        self._digests: list[str] = []
        self._next = 0
        self._position = 0

    def update(self, data: Buffer) -> None:
        start = self._position
        end = self._position = start + len(data)
        regions = self._regions
        if self._next >= len(regions) or regions[self._next].begin >= end:
            return
        view = memoryview(data)
        while self._next < len(regions):
            region = regions[self._next]
            if region.begin >= end:
                break
            current = self._current or self._make()
            current.update(view[max(region.begin - start, 0) : region.end - start])
            if region.end > end:
                self._current = current
                break
            self._digests.append(current.hexdigest())
            self._current = None
            self._next += 1

    def finish(self) -> list[RegionDigest]:
        # Only empty regions at the very end of the file can still be without a digest.
        while len(self._digests) < len(self._regions):
            self._digests.append(self._make().hexdigest())
        return [
            RegionDigest(
                name=region.name,
                begin=region.begin,
                end=region.end,
                algorithm=self._algorithm,
                digest=digest,
            )
            for region, digest in zip(self._regions, self._digests, strict=True)
        ]


def _check_order(regions: tuple[Region, ...], size: int) -> None:
    before = 0
    for region in regions:
        if not before <= region.begin <= region.end <= size:
            raise MalformedError(
                f"region {region.name[:80]!r} is out of order or outside the file",
                facts={"begin": region.begin, "end": region.end, "size": size},
            )
        before = region.end


def region_digests(
    body: bytes, regions: Sequence[Region], algorithm: RegionAlgorithm = "blake3"
) -> list[RegionDigest]:
    """Digests of named ranges of bytes that are held in memory.

    Raises:
        UsageError: An algorithm that is not known.
        MalformedError: Regions out of order, overlapping or outside the bytes.
    """
    if not regions:
        return []
    wants = Wants(sha256=False, chunks=(), regions=tuple(regions), region_algorithm=algorithm)
    feeder = Feeder(len(body), wants)
    feeder.update(body)
    return feeder.finish().regions
