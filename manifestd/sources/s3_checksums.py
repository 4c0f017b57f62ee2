"""What S3's checksum headers mean: which are digests of the bytes, which of part digests.

Only ``x-amz-checksum-type`` tells the two apart. A suffix ``-N`` does not
(GetObjectAttributes leaves it out), and without a type nothing is claimed: older
servers send values whose kind cannot be known. The list of algorithms is open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from manifestd.errors import MalformedError
from manifestd.model.digest import check_value

FULL: Final = "FULL_OBJECT"
COMPOSITE: Final = "COMPOSITE"
MAX_PARTS: Final = 10_000
"""S3's limit of parts in one object."""

_PREFIX: Final = "x-amz-checksum-"
_NOT_VALUES: Final = frozenset({"type", "mode", "algorithm"})
_PART_COUNT: Final = re.compile(r"(.+)-([1-9][0-9]{0,4})\Z")
_MULTIPART_ETAG: Final = re.compile(r"([0-9a-f]{32})-([1-9][0-9]{0,4})\Z")
_MD5: Final = re.compile(r"[0-9a-f]{32}\Z")
_HASHES: Final = frozenset({"sha256", "sha512", "sha1", "md5"})

# Strongest first: which of several composites is worth asking parts for.
_ORDER: Final[tuple[str, ...]] = ("sha256", "sha512", "sha1", "md5", "crc64nvme", "crc32", "crc32c")


class Checksums(msgspec.Struct, frozen=True, kw_only=True):
    """Checksums of one object, as one HEAD told them.

    Attributes:
        kind: ``FULL_OBJECT``, ``COMPOSITE``, or None when the server does not say.
        values: algorithm -> hex.
        parts: algorithm -> number of parts, where the value said so.
        odd: algorithm -> value as sent, where it cannot be one of this algorithm.
    """

    kind: str | None = None
    values: dict[str, str] = {}
    parts: dict[str, int] = {}
    odd: dict[str, str] = {}


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """How an object was uploaded.

    Attributes:
        sizes: Bytes of every part, in order.
        digests: algorithm -> hex of every part, in order; empty if they are not known.
    """

    sizes: list[int]
    digests: dict[str, list[str]] = {}


def checksums_of(headers: Mapping[str, str]) -> Checksums:
    """The checksums in a HEAD answer's headers (names in lower case)."""
    values: dict[str, str] = {}
    parts: dict[str, int] = {}
    odd: dict[str, str] = {}
    for name, text in headers.items():
        if not name.startswith(_PREFIX) or name[len(_PREFIX) :] in _NOT_VALUES:
            continue
        algorithm = name[len(_PREFIX) :][:40]
        match = _PART_COUNT.match(text)
        try:
            values[algorithm] = to_hex(algorithm, match[1] if match else text)
        except MalformedError:
            odd[algorithm] = text[:200]
            continue
        if match:
            parts[algorithm] = int(match[2])
    kind = headers.get(_PREFIX + "type")
    return Checksums(kind=kind[:40] if kind else None, values=values, parts=parts, odd=odd)


def to_hex(algorithm: str, text: str) -> str:
    """Base64 as hex, if its length is that algorithm's.

    Raises:
        MalformedError: Not base64, or not of this algorithm's length.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"not a base64 checksum: {text[:100]!r}") from error
    return check_value(algorithm, raw.hex())


def best_composite(found: Checksums) -> str | None:
    """The algorithm whose parts are worth asking for: composite, with a part count above none.

    Both signs must stand on the same object: servers without GetObjectAttributes send
    the whole object instead, and one of them echoes request headers back.
    """
    if found.kind != COMPOSITE:
        return None
    known = [algorithm for algorithm in _ORDER if algorithm in found.parts]
    return known[0] if known else min(found.parts, default=None)


def composite(algorithm: str, parts: Sequence[str]) -> str | None:
    """The composite of part digests in hex; None for an algorithm that cannot be computed here."""
    joined = bytes.fromhex("".join(parts))
    if algorithm in _HASHES:
        # Not for its strength: it repeats the store's own formula.
        return hashlib.new(algorithm, joined, usedforsecurity=False).hexdigest()
    if algorithm == "crc32":
        return f"{zlib.crc32(joined):08x}"
    return None


def parts_of(answer: Mapping[str, Any]) -> Parts | None:
    """Sizes and digests from the joined parts of GetObjectAttributes; None if they make no sense."""
    listed = answer.get("Parts")
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_PARTS:
        return None
    listed = sorted(listed, key=lambda part: part.get("PartNumber", 0))
    if [part.get("PartNumber") for part in listed] != list(range(1, len(listed) + 1)):
        return None
    sizes = [part.get("Size") for part in listed]
    if not all(isinstance(size, int) and size >= 0 for size in sizes):
        return None
    digests: dict[str, list[str]] = {}
    names = [name for name in listed[0] if name.startswith("Checksum")]
    for name in names:
        algorithm = name.removeprefix("Checksum").lower()
        try:
            digests[algorithm] = [to_hex(algorithm, part[name]) for part in listed]
        except (KeyError, TypeError, MalformedError):
            continue
    return Parts(sizes=[int(size) for size in sizes], digests=digests)


def layout(sizes: Sequence[int]) -> dict[str, Any]:
    """How parts were cut, as a hint: one size if all are alike but a shorter last."""
    first = sizes[0]
    if all(size == first for size in sizes[:-1]) and sizes[-1] <= first:
        return {"count": len(sizes), "partSize": first}
    return {"count": len(sizes), "partSizes": list(sizes)}


def equal_parts(size: int, first: int, count: int) -> bool:
    """Whether ``count`` parts of ``first`` bytes, the last possibly shorter, make ``size``."""
    return first > 0 and (count - 1) * first < size <= count * first


def multipart_etag(etag: str) -> tuple[str, int] | None:
    """Digest and number of parts of an entity tag of the form md5-of-md5s."""
    match = _MULTIPART_ETAG.match(etag)
    return (match[1], int(match[2])) if match else None


def md5_etag(etag: str, encryption: str | None, *, trusted: bool) -> str | None:
    """The MD5 in an entity tag, None where it need not be one.

    It is one only for objects uploaded whole, not encrypted or with S3's own keys
    (``encryption`` None or ``AES256``), outside directory buckets, on servers that are
    known to do so (``trusted``).
    """
    if trusted and encryption in {None, "AES256"} and _MD5.match(etag):
        return etag
    return None
