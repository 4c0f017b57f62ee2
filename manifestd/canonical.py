"""The one canonical encoder and the one strict decoder (docs/format/v1.md, section 2).

Canonical form is RFC 8785 restricted to a subset in which msgspec's sorted
encoding gives the same bytes: no floating-point numbers, integers within 2^53,
object names in the Basic Multilingual Plane below the surrogates. Our documents
never leave that subset; the decoder refuses those of others that do.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from typing import Any, Final, TypeVar

import msgspec

from manifestd.errors import MalformedError, NotCanonicalError

T = TypeVar("T")

MAX_DEPTH = 64
MAX_SIZE = 64 * 1024 * 1024
MAX_INTEGER = 2**53 - 1
_SHORT: Final = 64 * 1024
"""Bytes up to which JSON is tried as canonical first: most signatures are, and come by the thousand."""

_encoder = msgspec.json.Encoder(order="sorted")

_prepared: set[Any] = set()
_preparing: Final = threading.Lock()

# Possessive, and content with an unfinished string at its end: no text makes it try again.
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def encode(document: object) -> bytes:
    """Encode a document (struct or plain value) to its canonical bytes.

    Raises:
        NotCanonicalError: A value has no canonical form (a lone surrogate).
    """
    try:
        return _encoder.encode(document)
    except UnicodeEncodeError as error:
        raise NotCanonicalError(
            "a text value has a lone surrogate, which JSON cannot carry"
        ) from error


def prepared(kind: T) -> T:
    """A type to decode into, which msgspec has looked at whole. Every decoding names its type so.

    msgspec looks at a struct when it is first decoded into, and keeps what it knows from the
    beginning; a second thread that decodes meanwhile crashes the process (seen in 0.22).
    """
    if kind not in _prepared:
        with _preparing:
            msgspec.json.Decoder(kind)
            _prepared.add(kind)
    return kind


def sha256_hex(data: bytes) -> str:
    """The sha256 of ``data`` in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def digest_of(document: object) -> str:
    """``sha256:<hex>`` of the canonical bytes of ``document``."""
    return "sha256:" + sha256_hex(encode(document))


def decode(data: bytes, kind: type[T], *, name: str = "document", max_size: int = MAX_SIZE) -> T:
    """Decode one of our own documents, refusing all but its canonical bytes.

    Size and depth are checked before parsing. Duplicate names, white space,
    other key order, floats and escaped forms all fail the same way: encoding
    the parsed value again does not give ``data``.

    Members ``kind`` does not know and members it would fill in are refused at every
    level: the typed value, too, must encode to ``data``.

    Raises:
        MalformedError: Too large, too deep, not JSON, or not of this shape.
        NotCanonicalError: JSON of the right shape whose bytes are not canonical.
    """
    plain = _parse(data, name=name, max_size=max_size)
    if _encoder.encode(plain) != data:
        raise NotCanonicalError(
            f"{name} is not in canonical form",
            why="white space, key order, duplicate names or number spelling differ from RFC 8785",
        )
    try:
        value = msgspec.convert(plain, prepared(kind))
    except msgspec.ValidationError as error:
        raise MalformedError(f"{name} does not have the expected shape: {error}") from error
    if _encoder.encode(value) != data:
        raise MalformedError(f"{name} lacks members, or has some that this version does not know")
    return value


def decode_foreign(data: bytes, *, name: str = "document", max_size: int = MAX_SIZE) -> Any:
    """Decode somebody else's JSON: any spelling, but bounded and with unique names.

    Returns plain dicts, lists, strings, numbers (floats allowed), booleans and None.

    Raises:
        MalformedError: Too large, too deep, not JSON, or an object has a name twice.
    """
    check_bounds(data, name=name, max_size=max_size)
    if len(data) <= _SHORT:
        plain = _canonical(data)
        if plain is not None:
            return plain
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{name} is not acceptable JSON: {error}") from error


def _canonical(data: bytes) -> Any:
    """The value of JSON in canonical form, where no name can stand twice; None for any other."""
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return plain if _encoder.encode(plain) == data else None


def check_bounds(data: bytes, *, name: str = "document", max_size: int = MAX_SIZE) -> None:
    """Refuse oversized or over-nested JSON text before any parser sees it.

    Raises:
        MalformedError: ``data`` is larger than ``max_size`` or deeper than :data:`MAX_DEPTH`.
    """
    if len(data) > max_size:
        raise MalformedError(
            f"{name} is too large: {len(data)} bytes, at most {max_size} are accepted"
        )
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    if _depth(data, MAX_DEPTH) > MAX_DEPTH:
        raise MalformedError(f"{name} is nested deeper than {MAX_DEPTH} levels")


def _parse(data: bytes, *, name: str, max_size: int) -> Any:
    check_bounds(data, name=name, max_size=max_size)
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"{name} is not JSON: {error}") from error
    _check_subset(plain, name)
    return plain


def _check_subset(value: Any, name: str) -> None:
    stack = [value]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is dict:
            stack.extend(item.values())
            if not all(key.isascii() for key in item):
                raise NotCanonicalError(f"{name} has an object name outside ASCII")
        elif kind is list:
            stack.extend(item)
        elif kind is float:
            raise NotCanonicalError(f"{name} has a floating-point number")
        elif kind is int and not -MAX_INTEGER <= item <= MAX_INTEGER:
            raise NotCanonicalError(f"{name} has an integer beyond 2^53")


def _depth(data: bytes, stop_after: int) -> int:
    """Deepest nesting of brackets outside strings; stops counting past ``stop_after``."""
    brackets = _STRINGS.sub(b"", data).translate(None, _NOT_BRACKETS)
    deepest = depth = 0
    for byte in brackets:
        if byte in b"[{":
            depth += 1
            if depth > deepest:
                deepest = depth
                if deepest > stop_after:
                    return deepest
        else:
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return result


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
