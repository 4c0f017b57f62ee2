"""Model cards: front matter by node, body as text (rule ``card/1``, specs 5.3)."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from manifestd.formats.base import Explanation, FormatReader, Outline
from manifestd.formats.bounds import RefusedError, refusal
from manifestd.formats.text import explain_as_text
from manifestd.model.change import Change
from manifestd.model.entry import RegionDigest
from manifestd.rules import jsondiff, linediff
from manifestd.rules.lexemes import Leaf

_FIRST: Final = ("license", "license_name", "license_link", "base_model", "pipeline_tag")
"""Keys whose change people ask about first."""
_FACTS: Final = {"license": "license", "base_model": "baseModel", "library_name": "library"}


class CardReader(FormatReader):
    """Compares cards by the nodes of their front matter and the bytes of their body."""

    name: ClassVar[str] = "card"
    version: ClassVar[str] = "card/1"
    needs_body: ClassVar[bool] = True

    def facts(
        self, path: str, outline: Outline, regions: list[RegionDigest] | None, body: bytes | None
    ) -> dict[str, Any] | None:
        """Licence, base model and library as written."""
        if body is None:
            return None
        try:
            tree = _read(body)[1]
        except RefusedError as error:
            return refusal(self.version, str(error))
        document: dict[str, Any] = {"format": self.version}
        for key, name in _FACTS.items() if type(tree) is dict else ():
            words = _words(tree.get(key))
            if words:
                document[name] = words
        return document

    def explain(
        self,
        path: str,
        left: dict[str, Any] | None,
        right: dict[str, Any] | None,
        left_body: bytes | None,
        right_body: bytes | None,
    ) -> Explanation | None:
        """Changed keys, licence and base model first, then changed lines of the body."""
        if left_body is None or right_body is None:
            return None
        sides = []
        for side, body in (("left", left_body), ("right", right_body)):
            try:
                sides.append(_read(body))
            except RefusedError as error:
                why = f"{side} not read as a model card: {error}"
                return explain_as_text(path, left_body, right_body, why)
        return _explain(*sides[0], *sides[1])


def _read(body: bytes) -> tuple[Any, Any]:
    """The card's parts and the node tree of its front matter."""
    # PyYAML costs 30 ms to import and nothing but a card needs it.
    from manifestd.formats import frontmatter  # noqa: PLC0415

    if body.startswith(b"\xef\xbb\xbf"):
        raise RefusedError("a byte order mark, which some readers skip")
    try:
        card = frontmatter.Card(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RefusedError("not UTF-8") from error
    return card, frontmatter.parse(card.front)


def _explain(card: Any, tree: Any, other_card: Any, other_tree: Any) -> Explanation:
    fenced = (card.has_front, card.fence) == (other_card.has_front, other_card.fence)
    same_front = fenced and jsondiff.same(tree, other_tree)
    same_body = card.body == other_card.body
    if same_front and same_body:
        return Explanation(
            equivalent=True, summary="the same front matter, written differently; the same text"
        )
    front = sorted(jsondiff.diff(tree, other_tree), key=_order)
    if not same_front and not front:
        front = [Change(at="front matter", what="marked off or spelled differently")]
    lines: list[Change] = []
    if not same_body:
        kind = linediff.spelling(card.body, other_card.body)
        if kind is not None:
            what = linediff.describe_spelling(kind, card.body, other_card.body)
            lines = [Change(at=kind, what=what)]
        else:
            lines = linediff.text_changes(card.body, other_card.body, first_line=card.body_line)
    changes = [*front, *lines]
    shown = changes[: jsondiff.MAX_CHANGES]
    return Explanation(
        summary=_summary(front, lines), changes=shown, more=len(changes) - len(shown)
    )


def _order(change: Change) -> int:
    key = change.at.split("/")[1] if change.at.startswith("/") else ""
    return _FIRST.index(key) if key in _FIRST else len(_FIRST)


def _summary(front: list[Change], lines: list[Change]) -> str:
    parts = []
    keys = list(dict.fromkeys(change.at.split("/")[1] for change in front if "/" in change.at))
    for change in front:
        name = change.at.removeprefix("/")
        if (
            name in _FIRST
            and change.left is not msgspec.UNSET
            and change.right is not msgspec.UNSET
        ):
            parts.append(f"{name} {_plain(change.left)} to {_plain(change.right)}")
            keys.remove(name)
    if keys:
        parts.append(f"{', '.join(keys[:4])}{', …' if len(keys) > 4 else ''} changed")
    if not parts and front:
        parts.append("front matter marked off differently")
    if lines:
        text = lines[0].what if len(lines) == 1 and lines[0].what else None
        parts.append(text or f"text changed in {len(lines)} place{'s' * (len(lines) > 1)}")
    return "; ".join(parts)


def _plain(value: Any) -> str:
    return value if type(value) is str else "…"


def _words(node: Any) -> list[str]:
    items = node if type(node) is list else [node]
    return [jsondiff.cut(item.text) for item in items[:50] if isinstance(item, Leaf)]
