"""Names from outside, made safe for a terminal: one function that every screen text passes through."""

from __future__ import annotations

import unicodedata
from typing import Final

# Cc control, Cf format (bidi overrides, zero width), Cs surrogates, Zl/Zp line separators.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str) -> str:
    r"""Return ``text`` with everything that could move a cursor or hide a letter escaped.

    Backslashes are doubled only when something else had to be escaped, so
    ordinary names read as they are and escaped ones stay unambiguous.

    Example:
        >>> printable("weights\x1b[31m.bin")
        'weights\\x1b[31m.bin'
    """
    if text.isascii() and text.isprintable():
        return text
    if not any(unicodedata.category(char) in _UNSAFE for char in text):
        return text
    return "".join(map(_escaped, text))


def _escaped(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if unicodedata.category(char) not in _UNSAFE:
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def size_text(count: int) -> str:
    """A number of bytes for people: ``512 B``, ``1.5 MiB``.

    Example:
        >>> size_text(1572864)
        '1.5 MiB'
    """
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} PiB"
