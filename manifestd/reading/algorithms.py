"""Digest and checksum algorithms by name, each loaded when first asked for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from manifestd.errors import MissingExtraError, UsageError

Buffer: TypeAlias = bytes | bytearray | memoryview


class Hasher(Protocol):
    """The part of hashlib's interface that the pass uses."""

    def update(self, data: Buffer, /) -> object:
        """Take more bytes."""

    def hexdigest(self) -> str:
        """Lower-case hex of what came so far."""


_HASHLIB: Final = {"sha256", "sha512", "sha1", "md5"}
_CRC_BITS: Final = {"crc32": 32, "crc32c": 32, "crc64nvme": 64}

ALGORITHMS: Final = frozenset({*_HASHLIB, *_CRC_BITS, "blake3"})
"""What :func:`hasher` knows."""


class _Checksum:
    """A running CRC with hashlib's face; hex is big-endian, as S3 prints it before base64."""

    __slots__ = ("_bits", "_function", "_value")

    def __init__(self, function: Callable[[Buffer, int], int], bits: int) -> None:
        self._function = function
        self._bits = bits
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = self._function(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:0{self._bits // 4}x}"


def hasher(algorithm: str) -> Callable[[], Hasher]:
    """The maker of fresh hashers for ``algorithm``.

    md5 and sha1 only ever prove a difference here, which is said to hashlib so
    that FIPS builds allow them.

    Raises:
        UsageError: An algorithm that is not known, or that this Python refuses.
    """
    if algorithm == "sha256":
        return hashlib.sha256
    if algorithm in _HASHLIB:
        return _hashlib(algorithm)
    if algorithm == "blake3":
        return _blake3()
    bits = _CRC_BITS.get(algorithm)
    if bits is None:
        raise UsageError(
            f"no digest algorithm is called {algorithm!r}",
            hint="known are " + ", ".join(sorted(ALGORITHMS)),
        )
    return functools.partial(_Checksum, _crc(algorithm), bits)


@functools.cache
def _hashlib(algorithm: str) -> Callable[[], Hasher]:
    maker = functools.partial(getattr(hashlib, algorithm), usedforsecurity=False)
    try:
        maker()
    except ValueError as error:
        raise UsageError(f"this Python's OpenSSL refuses {algorithm}") from error
    return maker


@functools.cache
def is_fips() -> bool:
    """Whether the system is in FIPS mode, in which only approved algorithms are to be used."""
    try:
        return Path("/proc/sys/crypto/fips_enabled").read_text().strip() == "1"
    except OSError:
        return False


@functools.cache
def _blake3() -> Callable[[], Hasher]:
    from blake3 import blake3  # noqa: PLC0415  (only where pieces or regions are wanted)

    return blake3


@functools.cache
def _crc(algorithm: str) -> Callable[[Buffer, int], int]:
    if algorithm == "crc32":
        import zlib  # noqa: PLC0415

        return zlib.crc32
    try:
        from awscrt import checksums  # noqa: PLC0415  (0.04 s, needed for S3's checksums only)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{algorithm} needs the library 'awscrt', which is not installed",
            hint="pip install 'boto3[crt]'",
        ) from error
    function: Callable[[Buffer, int], int] = getattr(checksums, algorithm)
    return function
