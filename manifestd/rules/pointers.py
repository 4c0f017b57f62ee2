"""What Git LFS pointers prove of a pair of files: which content they stand for, never that it is there."""

from __future__ import annotations

import msgspec

from manifestd.model.entry import File
from manifestd.model.evidence import Grade


class Pointing(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of which at least one side is a pointer, by the contents the two stand for.

    Attributes:
        same: Whether it is one content. It is missing on one side all the same.
        reason: The same in words.
        left: How the left content's digest is known; a pointer declares it.
        right: The same of the right.
    """

    same: bool
    reason: str
    left: Grade
    right: Grade


def is_pointer(file: File) -> bool:
    """Whether a pointer was found in the file's place."""
    return "lfsSha256" in file.seen.hints


def pointing(left: File, right: File) -> Pointing | None:
    """Compare what pointers name; None without a pointer, or where a side's sha256 is unknown."""
    pointers = [name for name, file in (("left", left), ("right", right)) if is_pointer(file)]
    mine, theirs = _meant(left), _meant(right)
    if not pointers or mine is None or theirs is None:
        return None
    same = mine[0] == theirs[0]
    return Pointing(same=same, reason=in_words(pointers, same=same), left=mine[1], right=theirs[1])


def in_words(pointers: list[str], *, same: bool) -> str:
    """What to say of the sides (``left``, ``right``) that are pointers."""
    if len(pointers) > 1:
        return f"both sides are Git LFS pointers, to {'the same content' if same else 'different contents'}"
    (one,) = pointers
    other = "right" if one == "left" else "left"
    what = f"the very content of the {other}" if same else f"other content than the {other} has"
    return f"the {one} is a Git LFS pointer to {what}"


def _meant(file: File) -> tuple[str, Grade] | None:
    """The sha256 of the content that is meant to stand in a place, and how it is known."""
    named = file.seen.hints.get("lfsSha256")
    if isinstance(named, str):
        return named, "declared"
    grade = file.grade()
    return None if file.sha256 is None or grade == "none" else (file.sha256, grade)
