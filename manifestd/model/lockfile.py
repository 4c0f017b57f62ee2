"""The lock file: what a consumer pins, in one spelling that reads well in a diff.

It is JSON with one line for each file, sorted, and nothing in it that changes while the bytes
do not. A reader takes no other spelling, so what was edited by hand is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, MismatchError, NotCanonicalError
from manifestd.model.entry import Problem
from manifestd.model.manifest import Item, Size, manifest_digest
from manifestd.model.snapshot import HexDigest

SCHEMA_LOCK: Final = "manifestd.lock/v1"
SCHEMA_CHECK: Final = "manifestd.lock-check/v1"

MAX_LOCK: Final = 1 << 30
"""Bytes of a lock file; a file takes about 130."""

Hex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]


class LockedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file: path, sha256 in hex, size in bytes."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    sha256: Hex
    size: Size


class LockedModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model.

    Attributes:
        name: Its name.
        source: The place it was taken from.
        revision: The place's own name of that state, if it has one.
        manifest: Content identity, which follows from the files.
        ignore: Globs of files that were left out and are not looked at.
        files: In path order.
    """

    name: str
    source: str
    revision: str | None
    manifest: HexDigest
    ignore: list[str]
    files: list[LockedFile]


class LockFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``manifestd.lock``: models sorted by name and source.

    Attributes:
        schema: Always ``manifestd.lock/v1``.
        models: What is pinned.
    """

    schema: Literal["manifestd.lock/v1"]
    models: list[LockedModel]


class LockCheck(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``verify --lock --format json``.

    Attributes:
        schema: Always ``manifestd.lock-check/v1``.
        result: ``whole``: the files are just those; ``subset``: some of them, and nothing else;
            ``different``: another file, or other bytes; ``unknown``: something cannot be read.
        verified: Whole, or a subset where that was allowed.
        exit_code: 0 verified, 1 a subset, 3 unknown, 4 different.
        name: The model.
        source: The place that the lock names.
        revision: Its revision.
        manifest: Content identity in the lock.
        place: The directory that was read.
        locked: Files in the lock.
        matching: Files with the locked bytes.
        missing: Locked files that are not there, at most 100.
        problems: Files that are different, extra or unreadable, at most 100.
        more: Missing files and problems that are not listed.
    """

    schema: Literal["manifestd.lock-check/v1"] = SCHEMA_CHECK
    result: Literal["whole", "subset", "different", "unknown"]
    verified: bool
    exit_code: int
    name: str
    source: str
    revision: str | None
    manifest: HexDigest
    place: str
    locked: int
    matching: int
    missing: list[str]
    problems: list[Problem]
    more: int


Locked = tuple[dict[str, Any], Iterable[Item]]
"""A model's members but its files, and its files in path order."""


def lock_lines(models: Iterable[Locked]) -> Iterator[bytes]:
    """The lines of a lock file, each with its newline, by streaming.

    Args:
        models: Sorted by name and source.
    """
    yield b'{"schema":"%b","models":[\n' % SCHEMA_LOCK.encode()
    comma = b""
    for head, files in models:
        text = msgspec.json.encode({key: head[key] for key in _HEAD})
        yield comma + text[:-1] + b',"files":[\n'
        before: bytes | None = None
        for file in files:
            if before is not None:
                yield before + b",\n"
            before = b'{"path":%b,"sha256":"%b","size":%d}' % (
                msgspec.json.encode(file.path), file.sha256.encode(), file.size,
            )  # fmt: skip
        yield (before or b"") + b"\n]}"
        comma = b",\n"
    yield b"\n]}\n"


_HEAD: Final = ("name", "source", "revision", "manifest", "ignore")


def decode_lock(data: bytes) -> LockFile:
    """Read a lock file strictly.

    Raises:
        MalformedError: Not a lock file, or it pins nothing.
        NotCanonicalError: Not the one spelling: it was edited.
        MismatchError: A manifest digest is not that of the files under it.
    """
    canonical.check_bounds(data, name="lock file", max_size=MAX_LOCK)
    try:
        lock = msgspec.json.decode(data, type=canonical.prepared(LockFile))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"not a lock file: {error}") from error
    if b"".join(lock_lines((_head(model), _items(model)) for model in lock.models)) != data:
        raise NotCanonicalError(
            "the lock file is not as `manifestd lock` writes it",
            hint="it was edited: write it again with `manifestd lock`",
        )
    if not lock.models:
        raise MalformedError("the lock file pins no model")
    keys = [(model.name, model.source) for model in lock.models]
    if keys != sorted(set(keys)):
        raise MalformedError("the lock file's models are out of order or there twice")
    for model in lock.models:
        if not model.files or manifest_digest(_items(model)) != model.manifest:
            _contradicts(model)
    return lock


def _contradicts(model: LockedModel) -> NoReturn:
    raise MismatchError(
        f"the manifest of {model.name} in the lock file is not that of its files",
        hint="it was edited: write it again with `manifestd lock`",
    )


def _head(model: LockedModel) -> dict[str, Any]:
    return {key: getattr(model, key) for key in _HEAD}


def _items(model: LockedModel) -> Iterator[Item]:
    return (Item(file.path, file.size, file.sha256) for file in model.files)
