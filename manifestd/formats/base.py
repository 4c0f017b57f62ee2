"""What every format reader promises: regions before the pass, facts after it, explanations later.

A reader never executes anything, reads a bounded amount, and answers "bytes
only" (None) when it is unsure. Its ``version`` (``json/1``) stands in every
fact it makes: two facts of different versions are never called equal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec

from manifestd.formats.names import reader_name
from manifestd.model.change import Change, TensorDiff
from manifestd.model.content import RandomAccess
from manifestd.model.entry import RegionDigest
from manifestd.model.region import Region


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader learned from small ranged reads, before the bytes are streamed.

    Attributes:
        regions: Ranges that want a digest each, in ascending order, not overlapping.
        state: The reader's own notes for :meth:`FormatReader.facts`.
        refused: Why this file is "bytes only", or None.
    """

    regions: list[Region] = []
    state: dict[str, Any] = {}
    refused: str | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Two facts (or bodies) of one path, explained against each other.

    Attributes:
        equivalent: No known reader can tell the two files apart (specs.md section 5).
        summary: One line for people: ``3 keys changed``, ``tensors identical, metadata changed``.
        changes: Bounded list of single changes, most important first.
        more: How many further changes were left out of ``changes``.
        tensors: For weight files.
    """

    equivalent: bool = False
    summary: str | None = None
    changes: list[Change] = []
    more: int = 0
    tensors: TensorDiff | None = None


class FormatReader(ABC):
    """Reads what a file says of itself.

    Attributes:
        name: ``safetensors``.
        version: ``safetensors/1``: rule and version, kept in facts.
        needs_body: Explaining needs the file's bytes kept in the store (small text files).
    """

    name: ClassVar[str]
    version: ClassVar[str]
    needs_body: ClassVar[bool] = False

    def recognizes(self, path: str, size: int) -> bool:
        """Whether this reader is the one for a file of this name and size.

        Readers of other packages say so themselves; ours have their names in ``formats/names.py``.
        """
        return reader_name(path) == self.name

    def outline(self, path: str, content: RandomAccess) -> Outline:
        """Read headers (bounded) and name the regions wanted. Default: nothing."""
        return Outline()

    def facts(
        self, path: str, outline: Outline, regions: list[RegionDigest] | None, body: bytes | None
    ) -> dict[str, Any] | None:
        """Facts as a plain canonical document, or None for "bytes only, nothing to say".

        ``regions`` is None when the bytes were not streamed (headers only): then
        digests stay out of the facts and comparisons say "unknown".
        The document always has ``{"format": self.version}``; a refusal is
        ``{"format": …, "refused": "why"}``.
        """
        return None

    @abstractmethod
    def explain(
        self,
        path: str,
        left: dict[str, Any] | None,
        right: dict[str, Any] | None,
        left_body: bytes | None,
        right_body: bytes | None,
    ) -> Explanation | None:
        """Explain one path's two sides; None when there is nothing to say beyond "bytes differ"."""
