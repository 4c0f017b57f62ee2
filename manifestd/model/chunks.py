"""The document of a file's chunk digests (docs/format/v1.md, section 6)."""

from __future__ import annotations

from typing import Literal

import msgspec

from manifestd import canonical
from manifestd.model.entry import Chunks


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    layouts: list[Chunks]
    schema: Literal["manifestd.chunks/v1"] = "manifestd.chunks/v1"


def encode_chunks(layouts: list[Chunks]) -> bytes:
    """The canonical document with these chunk digests."""
    return canonical.encode(_Document(layouts))


def decode_chunks(data: bytes) -> list[Chunks]:
    """The chunk digests of a stored document.

    Raises:
        MalformedError, NotCanonicalError: It is none.
    """
    return canonical.decode(data, _Document, name="chunk digests").layouts
