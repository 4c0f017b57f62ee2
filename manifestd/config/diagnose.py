"""Why a configuration does not fit: the key, what is wrong with it, the nearest right word.

Only imported once something is wrong: a good configuration is converted in one
step and never meets this module.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any, Final

import msgspec
from msgspec import inspect

_NAMES: Final[dict[type, str]] = {
    str: "text", bool: "true or false", int: "a whole number", float: "a number",
    list: "a list", dict: "a table", datetime: "a date and time", date: "a date",
}  # fmt: skip

_FORMS: Final[dict[str, str]] = {
    "^sha256:": "sha256: and 64 hex digits",
    r"^[^\s+": "a name without spaces and +, such as log.example.com/models",
    "^[1-9]": "a span of time such as 36h, 30d or 4w",
}
"""How patterns of the configuration begin -> what they mean in words."""


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    Attributes:
        key: Where, dotted and indexed: ``trust[0].until``.
        what: What is wrong, to be read after the key.
        nearest: The key or word that was probably meant.
        known: All that could stand there, when that is a short list.
    """

    key: str
    what: str
    nearest: str | None = None
    known: list[str] = []


def find_flaws(document: Any, kind: type) -> Iterator[Flaw]:
    """Yield what keeps ``document`` from being a ``kind``, in the order of the file."""
    yield from _check(document, inspect.type_info(kind), "")


def _check(value: Any, kind: inspect.Type, key: str) -> Iterator[Flaw]:
    if isinstance(kind, inspect.UnionType):
        # Our only unions are with None, which TOML cannot say.
        kind = next(part for part in kind.types if not isinstance(part, inspect.NoneType))
    checker = _CHECKERS.get(type(kind))
    if checker is not None:
        yield from checker(value, kind, key)


def _struct(value: Any, kind: Any, key: str) -> Iterator[Flaw]:
    if not isinstance(value, dict):
        yield _expected(key, "a table", value)
        return
    fields = {field.encode_name: field for field in kind.fields}
    for name, item in value.items():
        inner = f"{key}.{name}" if key else name
        if name in fields:
            yield from _check(item, fields[name].type, inner)
        else:
            near = difflib.get_close_matches(name, fields, n=1)
            nearest = (f"{key}.{near[0]}" if key else near[0]) if near else None
            yield Flaw(key=inner, what="unknown key", nearest=nearest, known=list(fields))
    for name, field in fields.items():
        if field.required and name not in value:
            yield Flaw(key=f"{key}.{name}" if key else name, what="missing")


def _list(value: Any, kind: Any, key: str) -> Iterator[Flaw]:
    if not isinstance(value, list):
        # `[trust]` for `[[trust]]` is the commonest slip.
        table = isinstance(value, dict) and isinstance(kind.item_type, inspect.StructType)
        nearest = f"[[{key}]]" if table and "[" not in key else None
        yield Flaw(key=key, what=f"expected a list, found {_name(value)}", nearest=nearest)
        return
    for number, item in enumerate(value):
        yield from _check(item, kind.item_type, f"{key}[{number}]")


def _tuple(value: Any, kind: Any, key: str) -> Iterator[Flaw]:
    if not isinstance(value, list):
        yield _expected(key, "a list", value)
    elif len(value) != len(kind.item_types):
        yield Flaw(key=key, what=f"expected {len(kind.item_types)} items, found {len(value)}")
    else:
        for number, (item, part) in enumerate(zip(value, kind.item_types, strict=True)):
            yield from _check(item, part, f"{key}[{number}]")


def _dict(value: Any, kind: Any, key: str) -> Iterator[Flaw]:
    if not isinstance(value, dict):
        yield _expected(key, "a table", value)
        return
    for name, item in value.items():
        yield from _check(item, kind.value_type, f"{key}.{name}")


def _literal(value: Any, kind: Any, key: str) -> Iterator[Flaw]:
    words = [str(word) for word in kind.values]
    if not isinstance(value, str):
        yield _expected(key, "text", value)
    elif value not in words:
        near = difflib.get_close_matches(value, words, n=1)
        yield Flaw(
            key=key,
            what=f"{value[:80]!r} is none of its words",
            nearest=near[0] if near else None,
            known=words,
        )


def _text(value: Any, kind: Any, key: str) -> Iterator[Flaw]:
    if not isinstance(value, str):
        yield _expected(key, "text", value)
    elif kind.min_length and len(value) < kind.min_length:
        yield Flaw(key=key, what="must not be empty")
    elif kind.pattern and not re.search(kind.pattern, value):
        form = next(
            (words for start, words in _FORMS.items() if kind.pattern.startswith(start)), ""
        )
        yield Flaw(key=key, what=f"{value[:80]!r} is not {form or 'of the form it must have'}")


def _number(value: Any, kind: Any, key: str) -> Iterator[Flaw]:
    if type(value) is not int:
        yield _expected(key, "a whole number", value)
    elif kind.ge is not None and value < kind.ge:
        yield Flaw(key=key, what=f"must be at least {kind.ge}, is {value}")
    elif kind.le is not None and value > kind.le:
        yield Flaw(key=key, what=f"must be at most {kind.le}, is {value}")


def _boolean(value: Any, _kind: Any, key: str) -> Iterator[Flaw]:
    if type(value) is not bool:
        yield _expected(key, "true or false", value)


def _moment(value: Any, _kind: Any, key: str) -> Iterator[Flaw]:
    if not isinstance(value, datetime):
        yield _expected(key, "a date without quotes, such as 2027-01-31", value)
    elif value.tzinfo is None:
        yield Flaw(key=key, what="a time needs its zone, such as 2027-01-31T18:00:00Z")


def _expected(key: str, what: str, value: Any) -> Flaw:
    return Flaw(key=key, what=f"expected {what}, found {_name(value)}")


def _name(value: Any) -> str:
    return _NAMES.get(type(value), type(value).__name__)


_CHECKERS: Final[dict[type, Callable[[Any, Any, str], Iterator[Flaw]]]] = {
    inspect.StructType: _struct,
    inspect.ListType: _list,
    inspect.TupleType: _tuple,
    inspect.DictType: _dict,
    inspect.LiteralType: _literal,
    inspect.StrType: _text,
    inspect.IntType: _number,
    inspect.BoolType: _boolean,
    inspect.DateTimeType: _moment,
}
