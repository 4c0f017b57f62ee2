"""Git LFS pointers where content should be, told by every reader in the same words.

A directory recognises them before anything is read. In a bucket a pointer is an object like
any other, and its reader is the one who notices.
"""

from __future__ import annotations

from typing import Final

from manifestd.formats.bounds import RefusedError
from manifestd.model.content import RandomAccess
from manifestd.model.lfs_pointer import LARGEST, Pointer, parse_pointer

TOLD: Final = "a Git LFS pointer, not the content"
_BEGINNING: Final = b"version https://git-lfs"


def begins_pointer(data: bytes) -> bool:
    """Whether a file that begins so is a pointer rather than anything its name says."""
    return data.startswith(_BEGINNING)


def in_words(data: bytes) -> str:
    """What to say of a pointer, of which ``data`` is the whole or the beginning."""
    pointer = parse_pointer(data)
    return TOLD if pointer is None else naming(pointer)


def naming(pointer: Pointer) -> str:
    """What to say of a pointer that names this content."""
    return f"{TOLD} (which has sha256 {pointer.sha256}, {pointer.size} bytes)"


def refuse_pointer(content: RandomAccess) -> None:
    """Look at the first bytes of a file that did not begin as its reader expects.

    Raises:
        RefusedError: It is a pointer; the text says to what.
    """
    data = content.read_at(0, min(LARGEST + 1, content.size))
    if begins_pointer(data):
        raise RefusedError(in_words(data))
