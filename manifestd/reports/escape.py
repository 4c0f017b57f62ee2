"""Names from outside, made harmless for each medium. Every report passes every text through here."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_CELL: Final = 300
"""Characters of a name or value shown in a table cell; the JSON report has all of it."""

_SENTENCE: Final = {
    **{ord(char): f"\\{char}" for char in "\\`*_[]~$#"},
    **{ord(char): f"&#{ord(char)};" for char in "&<>|"},
}
_LIST_MARK: Final = re.compile(r"^(\d*)((?<=\d)[.)]|(?<!\d)[-+])(?= |$)")

_LINE: Final = ("  - ", "  + ")
_RUN: Final = re.compile(r"(\\++)(?=([^\\]))", re.DOTALL)
_READ: Final = frozenset("xuU")
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# What Markdown, or GitHub on top of it, would act on, as numeric character references.
_MARKDOWN: Final = {ord(char): f"&#{ord(char)};" for char in "\\`*_{}[]()<>#+!|~&@:$^=\"'"}


def visible(text: str) -> str:
    r"""Return ``text`` on one line with nothing in it that acts, hides or misleads.

    Control, format (bidi, zero width), unassigned and separator characters become ``\n``,
    ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``; a backslash is doubled, so that two names never
    look alike. Text that is not in normal form C has all its non-ASCII characters escaped:
    else ``é`` in one piece and in two would look the same. The result is legal in XML.

    Lines of a changed text (they begin with ``  - `` or ``  + ``) are code, where ``\n`` is what
    stands there: in them a backslash is doubled only where it would read as an escape from here,
    and no ``\n`` is one.

    Example:
        >>> visible("weights\x1b[31m.bin"), visible("e\u0301t\u00e9")
        ('weights\\x1b[31m.bin', 'e\\u0301t\\xe9')
        >>> print(visible("  + {{ x }}\\n"), visible("  + a\\x1b\x1b"))
          + {{ x }}\n   + a\\x1b\x1b
    """
    if text.isprintable() and "\\" not in text and (text.isascii() or _composed(text)):
        return text
    ascii_only = not text.isascii() and not _composed(text)

    def hidden(char: str) -> bool:
        return not char.isprintable() or (ascii_only and char > "\x7f")

    line = text.startswith(_LINE)
    if line:
        # A run before an escape is even, the escape's own backslash makes it odd.
        text = _RUN.sub(lambda run: run[1] * (2 if run[2] in _READ or hidden(run[2]) else 1), text)
    else:
        text = text.replace("\\", "\\\\")
    return "".join(_escaped(char, short=not line) if hidden(char) else char for char in text)


def shorten(text: str, limit: int = MAX_CELL) -> str:
    """Cut the middle out of a long text, keeping more of its beginning than of its end."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


def html(text: str) -> str:
    """For HTML and XML text and quoted attributes."""
    text = visible(text)
    for char, reference in (
        ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;"),
    ):  # fmt: skip
        text = text.replace(char, reference)
    return text


def markdown(text: str, limit: int = MAX_CELL) -> str:
    """For a sentence or a table cell in Markdown: nothing in it is markup, a link or a mention.

    Mentions are found in rendered text, so only ``<code>`` keeps one from calling people.
    """
    text = shorten(visible(text), limit).strip()
    if "@" in text:
        return f"<code>{text.translate(_MARKDOWN)}</code>"
    text = text.translate(_SENTENCE).replace("://", "&#58;//").replace("www.", "www&#46;")
    return _LIST_MARK.sub(r"\1\\\2", text)


def markdown_name(text: str) -> str:
    """For a name in Markdown: a code span where that is safe, else references in ``<code>``.

    In a table a pipe ends the cell even inside a code span, and a backtick ends the span.
    """
    text = shorten(visible(text))
    if not text or {"`", "|"} & set(text) or text != text.strip():
        return f"<code>{text.translate(_MARKDOWN).replace(' ', '&#32;')}</code>"
    return f"`{text}`"


def csv_cell(text: str) -> str:
    """For a CSV cell that may end up in a spreadsheet: never read as a formula."""
    text = visible(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "'")) else text


def json_text(text: str) -> str:
    r"""JSON text with characters that act on a terminal spelled as ``\uNNNN``.

    Apart from the line feeds of the layout such characters occur only inside strings, so the
    value stays the same.
    """
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else _surrogates(char) for char in text
    )


def uri(path: str) -> str:
    """A relative URI reference for a path: nothing in it is a scheme, a root or a step up."""
    from urllib.parse import quote  # noqa: PLC0415  (only SARIF needs it)

    segments = [quote(part, safe="") for part in path.split("/")]
    fixed = [part.replace(".", "%2E") if part in {".", ".."} else part for part in segments]
    if fixed[0] == "" and len(fixed) > 1:
        return "%2F" + "/".join(fixed[1:])
    return "/".join(fixed)


def _composed(text: str) -> bool:
    return unicodedata.is_normalized("NFC", text)


def _escaped(char: str, *, short: bool = True) -> str:
    if short and char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _surrogates(char: str) -> str:
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
