"""Reading one blob of a registry, from any byte, checked against what the manifest says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from urllib3.exceptions import HTTPError

from manifestd.errors import MismatchError, TransientError
from manifestd.sources.oci_errors import refusal
from manifestd.sources.oci_http import Answer, Registry
from manifestd.sources.oci_manifest import Descriptor

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)\Z")
_LENGTH: Final = re.compile(r"\d{1,19}\Z")


class BlobStream:
    """An open answer, as a :class:`~manifestd.model.content.Stream`.

    Args:
        registry: Translates errors.
        answer: The open answer; None for "nothing is left to read".
        skip: Leading bytes to drop.
        limit: Bytes to yield at most.
    """

    def __init__(self, registry: Registry, answer: Answer | None, skip: int, limit: int) -> None:
        self._registry = registry
        self._answer = answer
        self._skip = skip
        self._limit = limit

    def chunks(self, size: int) -> Iterator[bytes | memoryview]:
        """Yield the bytes in pieces of at most ``size``.

        Raises:
            TransientError: The connection broke.
        """
        if self._answer is None:
            return
        skip, left = self._skip, self._limit
        try:
            for piece in self._answer.stream(size, decode_content=False):
                view = memoryview(piece)[skip:]
                skip = max(0, skip - len(piece))
                view = view[:left]
                left -= len(view)
                if view:
                    yield view
                if left <= 0:
                    return
        except HTTPError as error:
            raise self._registry.broken(error) from error

    def close(self) -> None:
        """Give the connection back, or drop it when bytes are left on it."""
        if self._answer is not None:
            self._answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_blob(
    registry: Registry, blob: Descriptor, offset: int = 0, length: int | None = None
) -> BlobStream:
    """Open a blob from ``offset`` for ``length`` bytes (to its end when None).

    Raises:
        MismatchError: It does not have the length that the manifest says.
        TransientError: Worth another try.
        SourceNotFoundError, AccessDeniedError, UnreachableError: Not worth one.
    """
    end = blob.size if length is None else min(blob.size, offset + length)
    if offset >= end:
        return BlobStream(registry, None, 0, 0)
    url = registry.url(f"blobs/{blob.digest}")
    headers = {}
    if offset or end < blob.size:
        headers["Range"] = f"bytes={offset}-{end - 1}"
    answer = registry.opened("GET", url, headers)
    try:
        _check(registry, answer, blob, offset)
    except BaseException:
        answer.close()
        raise
    return BlobStream(registry, answer, offset if answer.status == 200 else 0, end - offset)


def stored_size(registry: Registry, blob: Descriptor) -> int | None:
    """The length the registry has of a blob; None where it does not say (HEAD redirected away).

    Raises:
        SourceNotFoundError: It does not have the blob.
        TransientError, AccessDeniedError, UnreachableError: As answered.
    """
    url = registry.url(f"blobs/{blob.digest}")
    with registry.opened("HEAD", url, {}) as answer:
        if answer.status == 200:
            text = answer.headers.get("Content-Length", "")
            return int(text) if _LENGTH.match(text) else None
        if "/v2/" not in (answer.geturl() or url) or answer.status == 405:
            return None  # a store behind the registry that signed the address for GET only
        raise refusal(answer, registry.subject(url))


def check_size(registry: Registry, blob: Descriptor, found: int | None) -> None:
    """Refuse a blob whose length is not the manifest's.

    Raises:
        MismatchError: It is not.
    """
    if found is not None and found != blob.size:
        raise _wrong_size(registry, blob, str(found))


def _check(registry: Registry, answer: Answer, blob: Descriptor, offset: int) -> None:
    if answer.status == 416:
        raise _wrong_size(registry, blob, "fewer")
    if answer.status not in {200, 206}:
        raise refusal(answer, registry.subject(registry.url(f"blobs/{blob.digest}")))
    if answer.status == 200:
        text = answer.headers.get("Content-Length", "")
        check_size(registry, blob, int(text) if _LENGTH.match(text) else None)
        return
    found = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != offset:
        raise TransientError(f"{registry.host} answers with another part than was asked for")
    if found[3] != "*":
        check_size(registry, blob, int(found[3]))


def _wrong_size(registry: Registry, blob: Descriptor, found: str) -> MismatchError:
    return MismatchError(
        f"{registry.host} holds {found} bytes as {blob.digest}, the manifest says {blob.size}",
        facts={"digest": blob.digest, "size": blob.size},
    )
