"""JSON with its lexemes: the strict, bounded parser behind ``json/1`` (specs 5.1).

Strict UTF-8 without byte order mark, unique names, no NaN or Infinity, no lone
surrogates, at most :data:`MAX_DEPTH` levels, bounded numbers and counts. What it
accepts, every JSON reader known to us reads as the same tree.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from manifestd.errors import MalformedError
from manifestd.formats import pointers
from manifestd.formats.bounds import RefusedError
from manifestd.rules import lexemes

MAX_SIZE: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 200
MAX_VALUES: Final = 2_500_000
"""Commas and brackets accepted; tokenizers with 500,000 merges have about 1,500,000."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(data: bytes, *, max_values: int = MAX_VALUES) -> Any:
    """The tree of a JSON text: dicts, lists, str, int, bool, None and Leaf for reals.

    Raises:
        RefusedError: Anything that two readers might read differently, or too much of it.
    """
    if len(data) > MAX_SIZE:
        raise RefusedError(f"{len(data)} bytes of JSON; at most {MAX_SIZE} are read")
    if pointers.begins_pointer(data):
        raise RefusedError(pointers.in_words(data))
    if data.startswith(b"\xef\xbb\xbf"):
        raise RefusedError("a byte order mark, which JSON readers refuse or skip")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > max_values:
        raise RefusedError(f"more than {max_values} values")
    try:
        text = data.decode("utf-8")
        tree = json.loads(
            text,
            parse_int=lexemes.integer,
            parse_float=lexemes.real,
            parse_constant=_constant,
            object_pairs_hook=_unique,
        )
    except UnicodeDecodeError as error:
        raise RefusedError(f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise RefusedError(f"nested deeper than {MAX_DEPTH} levels") from error
    except json.JSONDecodeError as error:
        raise RefusedError(f"not JSON: {error.msg} at character {error.pos}") from error
    except MalformedError as error:
        raise RefusedError(error.what) from error
    _check_depth(tree)
    if _SURROGATE.search(data):
        _check_surrogates(tree)
    return tree


def _constant(text: str) -> NoReturn:
    raise RefusedError(f"{text} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RefusedError(f"the name {key[:80]!r} stands twice in one object")
            seen.add(key)
    return result


def _check_depth(tree: Any) -> None:
    level = [tree] if isinstance(tree, (dict, list)) else []
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise RefusedError(f"nested deeper than {MAX_DEPTH} levels")
        level = [
            child
            for item in level
            for child in (item.values() if type(item) is dict else item)
            if type(child) is dict or type(child) is list
        ]


def _check_surrogates(tree: Any) -> None:
    stack = [tree]
    while stack:
        item = stack.pop()
        if type(item) is dict:
            stack.extend(item.keys())
            stack.extend(item.values())
        elif type(item) is list:
            stack.extend(item)
        elif type(item) is str and not item.isascii():
            try:
                item.encode("utf-8")
            except UnicodeEncodeError as error:
                raise RefusedError("a lone surrogate, which is no character") from error
