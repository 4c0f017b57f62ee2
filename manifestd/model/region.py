"""Regions: byte ranges of a file that a format reader wants named digests for."""

from __future__ import annotations

import msgspec


class Region(msgspec.Struct, frozen=True):
    """Half-open byte range ``[begin, end)`` with a name (tensor, archive record)."""

    name: str
    begin: int
    end: int
