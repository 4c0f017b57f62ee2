"""Texts as a configuration spells them, for whoever writes one."""

from __future__ import annotations

import re
from typing import Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def quoted(text: str) -> str:
    r"""A TOML basic string; what cannot be seen is escaped.

    Example:
        >>> quoted('say "no"'), quoted("a\tb")
        ('"say \\"no\\""', '"a\\u0009b"')
    """
    return '"' + "".join(map(_escaped, text)) + '"'


def key(text: str) -> str:
    """A key, quoted where it has to be."""
    return text if _BARE.fullmatch(text) else quoted(text)


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
