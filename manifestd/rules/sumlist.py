r"""Lists of sha256 digests as ``sha256sum`` writes them, in its plain and its tagged form.

The format is that of the coreutils manual, "md5sum invocation": a backslash before the line
says that ``\\``, ``\n`` and ``\r`` in the name are escaped.
"""

from __future__ import annotations

import re
from typing import Final

from manifestd.errors import MalformedError

_PLAIN: Final = re.compile(r"(?s)(\\?)([0-9a-fA-F]{64}) [ *](.+)\Z")
_TAGGED: Final = re.compile(r"(?s)(\\?)SHA256 \((.+)\) = ([0-9a-fA-F]{64})\Z")
_ESCAPE: Final = re.compile(r"\\(.?)")
_MEANT: Final = {"\\": "\\", "n": "\n", "r": "\r"}


def looks_like_list(data: bytes) -> bool:
    """Whether the first line that is not empty is one of such a list."""
    for line in data[: 1 << 16].split(b"\n"):
        text = line.decode("utf-8", "replace").rstrip("\r")
        if text:
            return _PLAIN.match(text) is not None or _TAGGED.match(text) is not None
    return False


def parse_list(data: bytes) -> dict[str, str]:
    """Path -> sha256 hex, in the list's order; a leading ``./`` is dropped.

    Raises:
        MalformedError: Not UTF-8, a line of another kind, or a name with two digests.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("the list of digests is not UTF-8") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.removesuffix("\r")
        if not bare:
            continue
        name, digest = _line(bare, number)
        if found.setdefault(name, digest) != digest:
            raise MalformedError(f"line {number} of the list gives {name[:200]!r} another digest")
    if not found:
        raise MalformedError("the list of digests is empty")
    return found


def _line(line: str, number: int) -> tuple[str, str]:
    plain, tagged = _PLAIN.match(line), _TAGGED.match(line)
    if plain is not None:
        escaped, digest, name = plain.groups()
    elif tagged is not None:
        escaped, name, digest = tagged.groups()
    else:
        raise MalformedError(f"line {number} of the list is not a sha256 and a name")
    if escaped:
        name = _ESCAPE.sub(lambda match: _meant(match[1], number), name)
    while name.startswith("./"):
        name = name[2:]
    if name in {"", "-"}:
        raise MalformedError(f"line {number} of the list names no file")
    return name, digest.lower()


def _meant(letter: str, number: int) -> str:
    if letter not in _MEANT:
        raise MalformedError(f"line {number} of the list has an escape that means nothing")
    return _MEANT[letter]
