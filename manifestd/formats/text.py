"""Text whose bytes are its meaning: templates, vocabularies, merges, code (``text/1``, specs 5.4, 5.5).

Never equivalent. Hints say when only line ends, the final newline or something
else invisible differs; vocabularies and merges are explained by their tokens.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from manifestd.formats import pointers, tokenizer
from manifestd.formats.base import Explanation, FormatReader
from manifestd.model.change import Change
from manifestd.rules import linediff
from manifestd.rules.jsondiff import MAX_CHANGES


class TextReader(FormatReader):
    """Compares texts line by line; two texts are equal only when their bytes are."""

    name: ClassVar[str] = "text"
    version: ClassVar[str] = "text/1"
    needs_body: ClassVar[bool] = True

    def explain(
        self,
        path: str,
        left: dict[str, Any] | None,
        right: dict[str, Any] | None,
        left_body: bytes | None,
        right_body: bytes | None,
    ) -> Explanation | None:
        """Changed lines, or the tokens of a vocabulary or merges file."""
        if left_body is None or right_body is None:
            return None
        return explain_text(path, left_body, right_body)


def explain_text(path: str, left: bytes, right: bytes) -> Explanation | None:
    """Explain two texts as bytes; None when a side is not UTF-8 text."""
    try:
        old, new = left.decode("utf-8"), right.decode("utf-8")
    except UnicodeDecodeError:
        return Explanation(summary="not UTF-8 text: compared by bytes")
    said = [
        f"{side}: {pointers.in_words(data)}"
        for side, data in (("left", left), ("right", right))
        if pointers.begins_pointer(data)
    ]
    if said:
        return Explanation(summary="; ".join(said))
    kind = linediff.spelling(old, new)
    if kind is not None:
        what = linediff.describe_spelling(kind, old, new)
        return Explanation(summary=what, changes=[Change(at=kind, what=what)])
    changes = _changes(path.rpartition("/")[2].lower(), old, new)
    shown = changes[:MAX_CHANGES]
    return Explanation(summary=_summary(changes), changes=shown, more=len(changes) - len(shown))


def explain_as_text(path: str, left: bytes, right: bytes, why: str) -> Explanation:
    """As :func:`explain_text`, for a file that its own reader did not read, with the reason first."""
    explained = explain_text(path, left, right)
    if explained is None:
        return Explanation(summary=why)
    changes = [Change(at="", what=f"{why}; compared as text"), *explained.changes]
    return msgspec.structs.replace(
        explained, summary=f"{why}; compared as text: {explained.summary}", changes=changes
    )


def _changes(name: str, old: str, new: str) -> list[Change]:
    if name == "vocab.txt":
        left, right = tokenizer.numbered(_lines(old)), tokenizer.numbered(_lines(new))
        if left is not None and right is not None:
            return tokenizer.vocabulary("vocabulary", left, right)
    if name == "merges.txt" and old.split("\n", 1)[0] == new.split("\n", 1)[0]:
        return tokenizer.merges("merges", _lines(old), _lines(new))
    return linediff.text_changes(old, new)


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n")


def _summary(changes: list[Change]) -> str:
    if not changes:
        return "bytes differ"
    if changes[0].at in {"vocabulary", "merges"}:
        return "; ".join(change.what for change in changes if change.what)
    if len(changes) == 1:
        return changes[0].what or f"{changes[0].at} changed"
    return f"{len(changes)} passages changed, the first at {changes[0].at}"
