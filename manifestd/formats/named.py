"""Files whose reader is still to be written: named by suffix, their magic bytes checked."""

from __future__ import annotations

from typing import Any, ClassVar

from manifestd.formats.base import Explanation, FormatReader, Outline
from manifestd.formats.names import next_kind
from manifestd.model.content import RandomAccess
from manifestd.model.entry import RegionDigest


class NamedReader(FormatReader):
    """Says what kind of file it is (ONNX, TensorFlow …) and whether its first bytes fit the name."""

    name: ClassVar[str] = "named"
    version: ClassVar[str] = "named/1"

    def outline(self, path: str, content: RandomAccess) -> Outline:
        """Compare the magic bytes, for kinds that have any."""
        kind = next_kind(path)
        if kind is None:
            return Outline()
        name, magic, offset = kind
        state: dict[str, Any] = {"kind": name}
        if magic and content.read_at(offset, len(magic)) != magic:
            state["note"] = f"does not begin as a file of this kind does ({name})"
        return Outline(state=state)

    def facts(
        self, path: str, outline: Outline, regions: list[RegionDigest] | None, body: bytes | None
    ) -> dict[str, Any] | None:
        """The kind, and a note when the bytes do not fit it."""
        return {"format": self.version, **outline.state} if outline.state else None

    def explain(
        self,
        path: str,
        left: dict[str, Any] | None,
        right: dict[str, Any] | None,
        left_body: bytes | None,
        right_body: bytes | None,
    ) -> Explanation | None:
        """Name the kind; only bytes are compared."""
        kind = next_kind(path)
        if kind is None:
            return None
        notes = [
            f"{side} {facts['note']}"
            for side, facts in (("left", left), ("right", right))
            if facts is not None and type(facts.get("note")) is str
        ]
        return Explanation(
            summary="; ".join([f"{kind[0]}: compared by bytes, no reader looks inside", *notes])
        )
