"""Tags: movable or fixed names for snapshots, and the signed statements that move them."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, UsageError
from manifestd.model import media_types
from manifestd.model.snapshot import HexDigest, Timestamp
from manifestd.model.statement import Statement, read_claim, subjects_of

MAX_REASON: Final = 2000
"""Characters of a reason."""

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_TAG: Final = re.compile(
    rf"(?P<name>{_PART}(?:/{_PART})*):(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}})\Z"
)
_MAX_NAME: Final = 255

Reason = Annotated[str, msgspec.Meta(max_length=MAX_REASON)]


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tag names: a snapshot, and the content identity it holds."""

    snapshot: HexDigest
    manifest: HexDigest


class TagPredicate(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"from_": "from", "key_id": "keyId"},
):
    """The claim that a tag was set, moved or deleted (docs/format/history.md).

    Attributes:
        tag: ``NAME:TAG``.
        from_: What it named before; None: it did not exist.
        to: What it names from here on; None: it is deleted.
        at: When, by the clock of the machine that signed.
        by: Who, as the signer's configuration calls the holder of the key.
        key_id: The key that signed; a hint.
        reason: Why, if somebody said.
        tool: Name and version of what wrote it.
    """

    tag: str
    from_: Target | None
    to: Target | None
    at: Timestamp
    by: str
    key_id: str
    reason: Reason | None
    tool: str


def check_reason(text: str | None) -> str | None:
    """Return a reason that somebody gave, after checking its length.

    Raises:
        UsageError: It is too long.
    """
    if text is not None and len(text) > MAX_REASON:
        raise UsageError(f"a reason has at most {MAX_REASON} characters, this has {len(text)}")
    return text


def split_tag(text: str) -> tuple[str, str] | None:
    """``NAME`` and ``TAG`` of a text of that form, else None.

    Example:
        >>> split_tag("org/model:v1.2"), split_tag("hf://org/model")
        (('org/model', 'v1.2'), None)
    """
    match = _TAG.match(text)
    # A shortened digest is written sha256:<hex>, which must never be a tag too.
    if match is None or match["name"] == "sha256" or len(match["name"]) > _MAX_NAME:
        return None
    return match["name"], match["tag"]


def check_tag(text: str) -> str:
    """Return ``NAME:TAG`` after checking its form.

    Raises:
        UsageError: Not of that form.
    """
    if split_tag(text) is None:
        raise UsageError(
            f"not a tag: {text[:300]!r}",
            why="a tag is NAME:TAG of letters, digits and . _ -; NAME may have parts between /",
            hint="write for example gpt2:production or openai-community/gpt2:v1",
        )
    return text


def tag_statement(predicate: TagPredicate) -> bytes:
    """The canonical bytes of the statement that moves a tag.

    Its subjects are the snapshot it names from here on, or named until it was deleted.
    """
    about = predicate.to or predicate.from_
    if about is None:
        raise MalformedError("a tag cannot move from nothing to nothing")
    return canonical.encode(
        Statement(
            subject=subjects_of(about.snapshot, about.manifest),
            predicate_type=media_types.TAG_PREDICATE,
            predicate=msgspec.to_builtins(predicate),
        )
    )


def read_tag_statement(payload: bytes) -> TagPredicate:
    """Decode the statement of a tag move strictly. Whether it is signed is the caller's to know.

    Raises:
        MalformedError: Not such a statement, or its subjects are not what it moves to.
        NotCanonicalError: Not its canonical bytes.
    """
    predicate = read_claim(
        payload,
        TagPredicate,
        tag_statement,
        predicate_type=media_types.TAG_PREDICATE,
        what="a statement about a tag",
    )
    if split_tag(predicate.tag) is None:
        raise MalformedError(f"a tag statement has no tag: {predicate.tag[:300]!r}")
    return predicate
