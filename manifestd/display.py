"""Names from outside, made safe for a terminal: one function that every screen text passes through."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence


def printable(text: str) -> str:
    r"""Return ``text`` with everything that could move a cursor, hide a letter or mislead escaped.

    Control, format (bidi, zero width), unassigned and odd space characters are
    escaped; of text that is not in normal form C everything but ASCII is, or
    else ``é`` in one piece and in two would look the same. Backslashes are
    doubled only when something else had to be escaped, so ordinary names read
    as they are and escaped ones stay unambiguous.

    Example:
        >>> printable("weights\x1b[31m.bin"), printable("e\u0301t\u00e9")
        ('weights\\x1b[31m.bin', 'e\\u0301t\\xe9')
    """
    if text.isascii() and text.isprintable():
        return text
    composed = unicodedata.is_normalized("NFC", text)
    if composed and text.isprintable():
        return text
    return "".join(_escaped(char, ascii_only=not composed) for char in text)


def _escaped(char: str, *, ascii_only: bool) -> str:
    if char == "\\":
        return "\\\\"
    if char.isprintable() and (char.isascii() or not ascii_only):
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def some_of(names: Sequence[str], most: int, show: Callable[[str], str] = printable) -> str:
    """The first of many names, each as ``show`` writes it, and how many more there are.

    Example:
        >>> some_of(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    shown = ", ".join(show(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


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
