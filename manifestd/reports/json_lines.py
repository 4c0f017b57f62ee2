"""JSON on indented lines, in pieces: a document whose long lists are made while it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from manifestd.reports.escape import json_text


def json_pieces(document: Any, lists: Sequence[tuple[str, Iterable[Any]]]) -> Iterator[str]:
    """The document on lines indented by one space a level, ending in a newline.

    Args:
        document: Each of ``lists`` stands in it as an empty list.
        lists: Key -> its items, in the order of the keys in the document; no other empty
            list stands before one of them under the same key.
    """
    rest = _lines(document)
    for key, items in lists:
        # Whole lines are compared: a string cannot look like one, its quotes are escaped.
        found = re.search(rf'^( *)"{key}": \[(?=\],?$)', rest, re.MULTILINE)
        assert found is not None, key
        begin, rest, level = rest[: found.end()], rest[found.end() :], len(found[1])
        last = ""
        for item in items:
            yield f"{last},\n" if last else f"{begin}\n"
            inside = " " * (level + 1)
            last = inside + _lines(item).replace("\n", f"\n{inside}")
        if last:
            yield f"{last}\n"
        rest = " " * level + rest if last else begin + rest
    yield f"{rest}\n"


def _lines(document: Any) -> str:
    data = msgspec.json.format(msgspec.json.encode(document), indent=1)
    return json_text(data.decode())
