"""The YAML of a model card as a tree of nodes; nothing is ever constructed from it (specs 5.3).

Nodes are compared as written: resolved tag, plain or quoted, text. YAML 1.1 and
1.2 readers then agree on them, whatever they make of ``no`` or ``12:30``.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml
from yaml import events, nodes

from manifestd.formats.bounds import RefusedError
from manifestd.rules.lexemes import Leaf

MAX_SIZE: Final = 128 * 1024
"""Bytes of front matter that are read; PyYAML needs about a second for them."""
MAX_NODES: Final = 12_000
MAX_DEPTH: Final = 30
MAX_SCALAR: Final = 64 * 1024

_DOCUMENT_END: Final = re.compile(r"(?m)^\.\.\.")
_BLOCK: Final = re.compile(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))")
"""Front matter as huggingface_hub 2.4 finds it."""


class Card:
    """A model card in three parts.

    Attributes:
        fence: What stands before and after the front matter, as written.
        front: Text of the front matter, empty when there is none.
        body: Everything after it.
        body_line: Number of the body's first line in the file.
    """

    def __init__(self, text: str) -> None:
        found = _BLOCK.match(text[: MAX_SIZE * 2])
        self.has_front = found is not None
        self.fence = (found[1], found[3]) if found else ("", "")
        self.front = found[2] if found else ""
        self.body = text[found.end() :] if found else text
        self.body_line = text[: found.end()].count("\n") + 1 if found else 1


def parse(text: str) -> Any:
    """The node tree of a front matter: dicts, lists and leaves.

    Raises:
        RefusedError: Not one plain YAML document: aliases, anchors, explicit tags, directives,
            merge keys, duplicate or compound keys, or too much of it.
    """
    if len(text) > MAX_SIZE:
        raise RefusedError(f"{len(text)} characters of front matter; at most {MAX_SIZE} are read")
    if _DOCUMENT_END.search(text):
        raise RefusedError("front matter is more than one plain document")
    loader = None
    try:
        loader = _Composer(text)
        node = loader.get_single_node()
        return None if node is None else _tree(node)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "not YAML"
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 2}" if mark is not None else ""
        raise RefusedError(f"front matter is not YAML: {problem}{where}") from error
    except (ValueError, RecursionError) as error:
        raise RefusedError("front matter is not YAML that can be read safely") from error
    finally:
        if loader is not None:
            loader.dispose()


class _Composer(yaml.SafeLoader):
    """The safe loader's composer, which looks at each event before it becomes a node."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._depth = 0

    def compose_document(self) -> nodes.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, events.DocumentStartEvent) and (
            event.explicit or event.version or event.tags
        ):
            raise RefusedError("front matter is more than one plain document")
        return super().compose_document()

    def compose_node(self, parent: nodes.Node | None, index: int) -> nodes.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, events.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise RefusedError("front matter uses anchors or aliases")
        if getattr(event, "tag", None) is not None:
            raise RefusedError("front matter uses explicit tags")
        if isinstance(event, events.ScalarEvent) and len(event.value) > MAX_SCALAR:
            raise RefusedError(f"front matter has a value of {len(event.value)} characters")
        self._nodes += 1
        self._depth += 1
        if self._nodes > MAX_NODES:
            raise RefusedError(f"front matter has more than {MAX_NODES} parts")
        if self._depth > MAX_DEPTH:
            raise RefusedError(f"front matter is nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _tree(node: nodes.Node) -> Any:
    if isinstance(node, nodes.ScalarNode):
        return Leaf(("yaml", node.tag, node.style is None, node.value), node.value)
    if isinstance(node, nodes.SequenceNode):
        return [_tree(item) for item in node.value]
    found: dict[str, Any] = {}
    spellings: dict[str, tuple[object, ...]] = {}
    for key, value in node.value:
        if not isinstance(key, nodes.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            raise RefusedError("front matter has a merge key or a key that is no plain text")
        # The key's type and quoting belong to it: `1:` and `"1":` are different keys.
        name = (
            key.value
            if key.tag == "tag:yaml.org,2002:str" and key.style is None
            else repr((key.tag.rpartition(":")[2], key.style is None, key.value))
        )
        if name in found or key.value in spellings:
            raise RefusedError(f"the key {key.value[:80]!r} stands twice in the front matter")
        spellings[key.value] = (key.tag, key.style)
        found[name] = _tree(value)
    return found
