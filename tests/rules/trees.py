"""Files and diffs for tests, made from little text."""

from __future__ import annotations

import hashlib
from typing import Any

from manifestd.model.entry import Chunks, File, Observation
from manifestd.model.evidence import Grade
from manifestd.model.role import role_of


def file_of(
    path: str,
    data: bytes,
    *,
    known: dict[str, Grade] | None = None,
    size: int | None = None,
    **observed: Any,
) -> File:
    """A file of these bytes, known by these algorithms (default: sha256, measured)."""
    known = {"sha256": "measured"} if known is None else known
    digests = {name: digest(name, data) for name in known}
    sha256 = digests.pop("sha256", None)
    return File(
        path=path,
        size=len(data) if size is None else size,
        sha256=sha256,
        seen=Observation(role=role_of(path), digests=digests, evidence=dict(known), **observed),
    )


def digest(name: str, data: bytes) -> str:
    """A value of the right shape for an algorithm, depending on the bytes alone."""
    if name in {"sha256", "sha512", "md5", "sha1"}:
        return hashlib.new(name, data).hexdigest()
    return hashlib.shake_128(name.encode() + data).hexdigest(8)


def parts_of(data: bytes, size: int) -> list[bytes]:
    """The bytes cut into parts, as a multipart upload would."""
    return [data[at : at + size] for at in range(0, len(data), size)] or [b""]


def composite(name: str, data: bytes, size: int) -> str:
    """What a store gives as the composite of an upload in parts of ``size``."""
    joined = b"".join(hashlib.new(name, part).digest() for part in parts_of(data, size))
    return hashlib.new(name, joined).hexdigest()


def chunks_of(name: str, data: bytes, size: int) -> Chunks:
    """Chunk digests as a measuring pass gives them."""
    found = [hashlib.new(name, part).hexdigest() for part in parts_of(data, size)]
    return Chunks(algorithm=name, size=size, digests=found)
