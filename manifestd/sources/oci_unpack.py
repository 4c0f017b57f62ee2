"""A layer's bytes: fetched across broken connections, hashed as they come, decompressed in bounds."""

from __future__ import annotations

import hashlib
import importlib
import threading
import zlib
from collections.abc import Iterator
from typing import Final

from manifestd.errors import (
    MalformedError,
    ManifestdError,
    MismatchError,
    MissingExtraError,
    TransientError,
    UndecidedError,
)
from manifestd.sources.oci_blob import BlobStream, open_blob
from manifestd.sources.oci_http import Registry
from manifestd.sources.oci_manifest import Descriptor, Packing
from manifestd.sources.oci_tar import Bytes

FREE: Final = 256 * 1024 * 1024
"""Decompressed bytes that are never called a bomb."""
MAX_RATIO: Final = 300
"""Decompressed bytes to a compressed one, beyond those. Weights that compress reach 2."""

_PIECE: Final = 256 * 1024
_WINDOW: Final = 128 * 1024 * 1024
"""The window that zstd's own command line accepts."""


class BlobReader:
    """One blob from its beginning, resumed where a connection breaks, hashed on the way.

    Args:
        registry: Where it is.
        blob: Which.
        stop: When set, the next read ends with an error.
    """

    def __init__(self, registry: Registry, blob: Descriptor, stop: threading.Event) -> None:
        self._registry = registry
        self._blob = blob
        self._stop = stop
        self._hash = hashlib.new(blob.digest.partition(":")[0])
        self._stream: BlobStream | None = None
        self._pieces: Iterator[bytes | memoryview] = iter(())
        self._ready = memoryview(b"")
        self.position = 0
        """Bytes that have arrived."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none only at the end of the blob."""
        if not self._ready and self.position < self._blob.size:
            self._ready = memoryview(self._registry.retried(self._fetch))
        piece, self._ready = self._ready[:size], self._ready[size:]
        return bytes(piece)

    def finish(self) -> None:
        """Read to the end and compare the digest with the manifest's.

        Raises:
            MismatchError: The bytes are not the layer's.
        """
        while self.read(_PIECE):
            pass
        found = self._hash.hexdigest()
        if found != self._blob.digest.partition(":")[2]:
            raise MismatchError(
                f"the registry's bytes for the layer {self._blob.digest} do not have that digest",
                facts={"digest": self._blob.digest, "found": found},
            )

    def close(self) -> None:
        """Give the connection back."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _fetch(self) -> bytes:
        if self._stop.is_set():
            raise UndecidedError("reading was ended")
        try:
            if self._stream is None:
                self._stream = open_blob(self._registry, self._blob, self.position)
                self._pieces = self._stream.chunks(_PIECE)
            piece = bytes(next(self._pieces, b""))
            if not piece:
                raise TransientError(f"the connection ended at byte {self.position}")
        except ManifestdError:
            self.close()
            raise
        self.position += len(piece)
        self._hash.update(piece)
        return piece


class Unpacked:
    """The decompressed bytes of a blob, refused when they outgrow it.

    Raises:
        MissingExtraError: zstd, and its library is not installed.
    """

    def __init__(self, blob: BlobReader, packing: Packing) -> None:
        self._blob = blob
        self._inner: Bytes = blob
        self._packed = packing != ""
        if packing == "gzip":
            self._inner = _Gunzip(blob)
        elif packing == "zstd":
            self._inner = _zstd(blob)
        self.position = 0

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none only at the end.

        Raises:
            MalformedError: The compressed stream is damaged, or a bomb.
        """
        try:
            piece = self._inner.read(size)
        except zlib.error as error:
            raise MalformedError(f"the layer's compression is damaged: {error}") from error
        except ManifestdError:
            raise
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "zstandard":
                raise
            raise MalformedError(f"the layer's compression is damaged: {error}") from error
        self.position += len(piece)
        if self._packed and self.position > FREE + MAX_RATIO * self._blob.position:
            raise MalformedError(
                f"the layer unpacks to more than {MAX_RATIO} times its size: a decompression bomb",
                facts={"packed": self._blob.position, "unpacked": self.position},
            )
        return piece


class _Gunzip:
    """Gzip members one after the other (RFC 1952), never more than asked for at once."""

    def __init__(self, source: Bytes) -> None:
        self._source = source
        self._waiting = b""
        self._inflate = zlib.decompressobj(wbits=31)
        self._inside = False

    def read(self, size: int, /) -> bytes:
        while True:
            if not self._waiting:
                self._waiting = self._source.read(_PIECE)
                if not self._waiting:
                    if self._inside:
                        raise MalformedError("the layer's compression ends in the middle")
                    return b""
            if not self._inside and not self._waiting.strip(b"\0"):
                self._waiting = b""  # padding after the last member
                continue
            self._inside = True
            found = self._inflate.decompress(self._waiting, size)
            self._waiting = self._inflate.unconsumed_tail
            if self._inflate.eof:
                self._waiting = self._inflate.unused_data
                self._inflate = zlib.decompressobj(wbits=31)
                self._inside = False
            if found:
                return found


def _zstd(source: Bytes) -> Bytes:
    try:
        library = importlib.import_module("zstandard")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "a layer is compressed with zstd, whose library is not installed",
            hint="pip install 'manifestd[zstd]'",
        ) from error
    packed = library.ZstdDecompressor(max_window_size=_WINDOW)
    reader: Bytes = packed.stream_reader(source, read_across_frames=True, closefd=False)
    return reader
