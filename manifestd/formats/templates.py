"""Chat templates wherever they stand: a template that moved to another file is still the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from manifestd.formats import jsontext
from manifestd.formats.bounds import RefusedError

DEFAULT: Final = "default"
_FOLDER: Final = "additional_chat_templates/"


class Moved(NamedTuple):
    """A template whose text is on both sides, in other files.

    Attributes:
        name: What it is called; :data:`DEFAULT` where it is the only one.
        left: Paths of the left side's files that hold it, in order.
        right: The same for the right side.
    """

    name: str
    left: tuple[str, ...]
    right: tuple[str, ...]

    def told(self) -> str:
        """One sentence for people."""
        was, is_now = ", ".join(self.left), ", ".join(self.right)
        return f"chat template {self.name!r} is unchanged: {was} left, {is_now} right"


def holds_templates(path: str) -> bool:
    """Whether a file may hold chat templates."""
    name = path.rpartition("/")[2]
    return name in {"tokenizer_config.json", "chat_template.json", "chat_template.jinja"} or (
        _FOLDER in path and name.endswith(".jinja")
    )


def chat_templates(path: str, body: bytes) -> dict[str, str]:
    """Name -> template text that one file holds; empty when it holds none or cannot be read.

    ``chat_template.jinja`` and the string in JSON are the template ``default``;
    ``additional_chat_templates/NAME.jinja`` and ``{"name", "template"}`` have names (specs 5.4).
    """
    name = path.rpartition("/")[2]
    try:
        if name.endswith(".jinja"):
            key = name.removesuffix(".jinja") if _FOLDER in path else DEFAULT
            return {key: body.decode("utf-8")}
        tree = jsontext.parse(body)
    except (RefusedError, UnicodeDecodeError):
        return {}
    value = tree.get("chat_template") if type(tree) is dict else None
    if type(value) is str:
        return {DEFAULT: value}
    if type(value) is list:
        return {item["name"]: item["template"] for item in value if _named(item)}
    return {}


def moved_templates(left: Mapping[str, bytes], right: Mapping[str, bytes]) -> list[Moved]:
    """The templates whose text is unchanged but stands in other files, in order of their names.

    Args:
        left: Path -> body of the left side's files that hold templates.
        right: The same for the right side.
    """
    old, new = _places(left), _places(right)
    return [
        Moved(key[0], tuple(sorted(places)), tuple(sorted(now)))
        for key, places in sorted(old.items())
        if (now := new.get(key, set())) and places != now
    ]


def _places(files: Mapping[str, bytes]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for path, body in files.items():
        if holds_templates(path):
            for name, text in chat_templates(path, body).items():
                found.setdefault((name, text), set()).add(path)
    return found


def _named(item: Any) -> bool:
    return (
        type(item) is dict and type(item.get("name")) is str and type(item.get("template")) is str
    )
