"""Git LFS pointer files: the little text that stands where a large file should be.

Grammar: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md. A checkout
without LFS leaves pointers under the weights' names; their own bytes are never
the content, so what they say is reported and their own digest is not recorded.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

SMALLEST: Final = 100
LARGEST: Final = 1024
"""Bytes between which a pointer's length lies; the specification says under 1,024."""

# Keys after the version come in alphabetical order: ext-N-name, oid, size.
_POINTER = re.compile(
    rb"version https?://(?:git-lfs\.github\.com/spec/v1|hawser\.github\.com/spec/v1"
    rb"|git-media\.io/v/2)\r?\n"
    rb"(?P<extensions>(?:ext-[0-9]-[a-z0-9.-]{1,64} sha256:[0-9a-f]{64}\r?\n){0,10})"
    rb"oid sha256:(?P<sha256>[0-9a-f]{64})\r?\n"
    rb"size (?P<size>0|[1-9][0-9]{0,18})(?:\r?\n)?"
)


class Pointer(msgspec.Struct, frozen=True):
    """What a pointer file says of the content it stands for."""

    sha256: str
    size: int
    extended: bool = False
    """Extensions turn what is stored into the content, so that both are others than its own."""


def may_be_pointer(size: int) -> bool:
    """Whether a file of this length is worth looking into."""
    return SMALLEST <= size <= LARGEST


def parse_pointer(data: bytes) -> Pointer | None:
    """The pointer that ``data`` is, exactly and to its last byte; otherwise None."""
    if not may_be_pointer(len(data)):
        return None
    found = _POINTER.fullmatch(data)
    if found is None:
        return None
    return Pointer(
        sha256=found["sha256"].decode(),
        size=int(found["size"]),
        extended=bool(found["extensions"]),
    )
