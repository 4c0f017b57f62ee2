"""What one pass over a file's bytes is asked to give."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from manifestd.model.region import Region

CHUNK_SIZE: Final = 64 * 1024 * 1024
"""Bytes a piece of the default layout has (docs/adr: damage is located to 64 MiB)."""

FREE: Final = frozenset({"crc64nvme", "crc32c", "crc32", "sha1-git"})
"""Algorithms beside the sha256 that cost at most a quarter of it: computed where the source has one."""
BODY_LIMIT: Final = 64 * 1024 * 1024
"""Bodies of larger files are never kept, whoever asks: memory stays bounded."""


RegionAlgorithm = Literal["blake3", "sha256"]
"""Algorithms for tensors and pieces: the fast one, and the one that FIPS machines may use."""


class ChunkLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Equal pieces of a file, each with a digest of its own.

    Attributes:
        algorithm: ``blake3``, ``sha256``, or any other that :func:`hashing.hasher` knows.
        size: Bytes a piece has; the last may be shorter. A file that is no larger
            than one piece gets no chunks: its whole digest says the same.
    """

    algorithm: str = "blake3"
    size: int = CHUNK_SIZE


class Wants(msgspec.Struct, frozen=True, kw_only=True):
    """The digests and facts that one pass shall give.

    Attributes:
        sha256: The whole file's sha256.
        git_blob: The git blob id (``sha1-git``), which needs the size beforehand.
        algorithms: Further whole-file algorithms: ``md5 sha1 sha512 blake3 crc32 crc32c crc64nvme``.
        chunks: Layouts for piece digests.
        regions: Named ranges, ascending and not overlapping.
        region_algorithm: Their algorithm.
        body: Keep the bytes themselves (files up to :data:`BODY_LIMIT`).
    """

    sha256: bool = True
    git_blob: bool = False
    algorithms: frozenset[str] = frozenset()
    chunks: tuple[ChunkLayout, ...] = (ChunkLayout(),)
    regions: tuple[Region, ...] = ()
    region_algorithm: RegionAlgorithm = "blake3"
    body: bool = False
