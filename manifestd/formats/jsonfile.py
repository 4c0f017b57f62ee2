"""JSON files: configuration, tokenizers, templates in JSON (rule ``json/1``, specs 5.1)."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from manifestd.display import some_of
from manifestd.formats import jsontext, tokenizer
from manifestd.formats.base import Explanation, FormatReader, Outline
from manifestd.formats.bounds import RefusedError, refusal
from manifestd.formats.text import explain_as_text
from manifestd.model.change import Change
from manifestd.model.entry import RegionDigest
from manifestd.rules import jsondiff

_CHECKED: Final = 1024 * 1024
"""Larger files (tokenizers) are parsed only when they are to be explained."""
_FLAT: Final = frozenset({"vocab.json", "added_tokens.json"})
_CODE_KEYS: Final = ("auto_map", "custom_pipelines", "trust_remote_code")


class JsonReader(FormatReader):
    """Compares JSON trees with exact numbers; equal trees are equivalent files."""

    name: ClassVar[str] = "json"
    version: ClassVar[str] = "json/1"
    needs_body: ClassVar[bool] = True

    def facts(
        self, path: str, outline: Outline, regions: list[RegionDigest] | None, body: bytes | None
    ) -> dict[str, Any] | None:
        """Why the file is bytes only, and the code of its own that it names."""
        if body is None:
            return None
        if len(body) > _CHECKED:
            return {"format": self.version}
        try:
            tree = jsontext.parse(body)
        except RefusedError as error:
            return refusal(self.version, str(error))
        document: dict[str, Any] = {"format": self.version}
        findings = _findings(tree)
        return {**document, "findings": findings} if findings else document

    def explain(
        self,
        path: str,
        left: dict[str, Any] | None,
        right: dict[str, Any] | None,
        left_body: bytes | None,
        right_body: bytes | None,
    ) -> Explanation | None:
        """Changed values as pointers; tokenizers and templates in their own terms."""
        if left_body is None or right_body is None:
            return None
        trees = []
        for side, body in (("left", left_body), ("right", right_body)):
            try:
                trees.append(jsontext.parse(body))
            except RefusedError as error:
                return explain_as_text(
                    path, left_body, right_body, f"{side} not read as JSON: {error}"
                )
        if jsondiff.same(*trees):
            return Explanation(
                equivalent=True, summary="the same JSON content, written differently"
            )
        changes = self.changes(path, trees[0], trees[1])
        shown = changes[: jsondiff.MAX_CHANGES]
        return Explanation(summary=summary(changes), changes=shown, more=len(changes) - len(shown))

    def changes(self, path: str, left: Any, right: Any) -> list[Change]:
        """What tells two trees apart; never empty for trees that are not the same."""
        name = path.rpartition("/")[2].lower()
        found: list[Change] = []
        if name == "tokenizer.json":
            found = tokenizer.explain(left, right)
        elif name in _FLAT:
            old, new = tokenizer.ids_of(left), tokenizer.ids_of(right)
            if old is not None and new is not None:
                found = tokenizer.vocabulary("", old, new)
        return found or jsondiff.diff(left, right) or [Change(at="", what="content differs")]


def summary(changes: list[Change]) -> str:
    """One line that names the first changes."""
    places = list(dict.fromkeys(change.at.partition(" ")[0] for change in changes))
    if len(changes) == 1 and changes[0].what:
        return f"{changes[0].at or 'content'}: {changes[0].what}"
    return f"{some_of(places, 3, lambda place: place or '(whole)')} changed"


def _findings(tree: Any) -> list[dict[str, Any]]:
    """Keys that make a loader run code from the repository (transformers, diffusers)."""
    if type(tree) is not dict:
        return []
    found = []
    for key in _CODE_KEYS:
        value = tree.get(key)
        if value:
            names = ", ".join(str(name)[:80] for name in _strings(value)[:5])
            what = f"{key} names code that trust_remote_code would run"
            if key == "trust_remote_code":
                what = f"{key} is set: loaders that heed it run code of the repository"
            found.append(
                {
                    "rule": "custom-code",
                    "at": f"/{key}",
                    "what": what + (f": {names}" if names else ""),
                    "impact": "security",
                }
            )
    return found


def _strings(value: Any) -> list[str]:
    if type(value) is str:
        return [value]
    if type(value) is dict:
        value = [*value.values()]
    return [item for one in value for item in _strings(one)] if type(value) is list else []
