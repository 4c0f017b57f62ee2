"""Digests: ``algorithm:hex``, over raw bytes.

A *digest* is collision-resistant and may stand for content. A *checksum* (md5,
sha1, crc…) only ever proves a difference. This module knows which is which.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from manifestd import canonical
from manifestd.errors import MalformedError

Digest = NewType("Digest", str)
"""``sha256:<64 hex>``: what content, documents and facts are addressed by."""

# Algorithms we may meet in evidence, with the length of their hex form.
# Composite values (S3 multipart) are never stored under these names, but as
# ``<algorithm>-composite`` with the part layout beside them.
HEX_LENGTH: Final[dict[str, int]] = {
    "sha256": 64,
    "sha512": 128,
    "blake3": 64,
    "sha1": 40,
    "sha1-git": 40,
    "md5": 32,
    "crc32": 8,
    "crc32c": 8,
    "crc64nvme": 16,
    "xxhash64": 16,
    "xxhash3": 16,
    "xxhash128": 32,
    "xet": 64,
}

STRONG: Final[frozenset[str]] = frozenset({"sha256", "sha512", "blake3", "sha256-composite"})
"""Equality under one of these is equality of bytes. All others prove only difference."""

EMPTY_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}\Z")
_HEX = re.compile(r"[0-9a-f]+\Z")


def parse_digest(text: str) -> Digest:
    """Return ``text`` as a sha256 digest.

    Raises:
        MalformedError: Not ``sha256:`` and 64 lower-case hex digits.
    """
    if not _SHA256.match(text):
        raise MalformedError(f"not a sha256 digest: {text[:80]!r}")
    return Digest(text)


def of_hex(hex_digits: str) -> Digest:
    """``sha256:`` before 64 hex digits, checked."""
    return parse_digest("sha256:" + hex_digits)


def of_bytes(data: bytes) -> Digest:
    """The digest of bytes, by which documents and statements are named."""
    return Digest("sha256:" + canonical.sha256_hex(data))


def hex_of(digest: str) -> str:
    """The hex part of ``algorithm:hex``."""
    return digest.partition(":")[2]


def check_value(algorithm: str, value: str) -> str:
    """Return a digest or checksum value after checking its alphabet and length.

    An algorithm unknown to :data:`HEX_LENGTH` is accepted as lower-case hex:
    the list of S3's algorithms is open.

    Raises:
        MalformedError: Wrong characters, or a length that is not this algorithm's
            (a git SHA-1 called a sha256, for instance).
    """
    length = HEX_LENGTH.get(algorithm)
    if not _HEX.match(value) or (length is not None and len(value) != length):
        raise MalformedError(
            f"not a {algorithm} value: {value[:140]!r}",
            why=f"expected {length or 'lower-case'} hex digits, got {len(value)} characters",
        )
    return value


def short(digest: str) -> str:
    """First 12 hex digits, for screens only; never a key, never stored."""
    return digest.partition(":")[2][:12] or digest[:12]
