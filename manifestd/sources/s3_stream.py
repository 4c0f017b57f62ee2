"""Conditional reads of one object: the bytes that were listed, or an error.

A range is taken only with status 206, the asked-for offsets, the listed total and the
listed entity tag: without these checks a resumed read of a replaced object, or from a
server that ignores ranges, gives a digest of mixed bytes and no error at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from types import TracebackType
from typing import Any, Final, Self

from botocore.exceptions import FlexibleChecksumError

from manifestd.errors import ChangedError, ManifestdError, TransientError, UnreadableError
from manifestd.model.entry import Entry
from manifestd.sources.s3_client import Answer, Connection
from manifestd.sources.s3_errors import FAULTS, denied, shown, translate

_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z")
_PIECE: Final = 256 * 1024
"""Bytes of a read: what stays in a core's cache while several digests go over it. A MiB at
a time costs a quarter more CPU in all (benchmarks/s3_snapshot.py read)."""
_KEPT_AT_MOST: Final = 128
"""Small objects kept between a look at their header and their reading: 8 MiB in all."""

_CHEAP: Final = frozenset({"CRC64NVME", "CRC32", "CRC32C", "XXHASH64", "XXHASH3", "XXHASH128"})

_COMPARED: Final = frozenset({"sha256", "crc64nvme", "crc32c", "crc32"})
"""What every reading pass computes itself where the entry has it (workflows.measuring)."""


class S3Stream:
    """An open GET, from an offset to the end of the object (or of the range asked for).

    Args:
        body: botocore's body, whose ``read`` checks its length and checksum at the end.
        skip: Bytes to throw away first, where the server sent the whole object.
        length: Bytes to give after those.
        failed: Turns what reading raised into an error of manifestd.
    """

    def __init__(
        self, body: Any, skip: int, length: int, failed: Callable[[Exception], ManifestdError]
    ) -> None:
        self._body = body
        self._skip = skip
        self._length = length
        self._failed = failed

    def chunks(self, size: int) -> Iterator[bytes | memoryview]:
        """Yield the bytes in pieces of at most ``size``; a cut connection is an error.

        Raises:
            TransientError: The connection broke or stalled.
            MismatchError: The bytes do not have the checksum sent with them.
        """
        given = 0
        read = self._body.read
        size = min(size, _PIECE)
        while True:
            try:
                # Read on to the empty end: only there botocore compares length and checksum.
                data = read(size)
            except FAULTS as error:
                raise self._failed(error) from error
            if not data:
                break
            if self._skip:
                dropped = min(self._skip, len(data))
                self._skip -= dropped
                data = data[dropped:]
                if not data:
                    continue
            given += len(data)
            yield data
        if given < self._length:
            raise self._failed(OSError(f"ended {self._length - given} bytes early"))

    def close(self) -> None:
        """Give the connection back; an unread rest is not drained."""
        self._body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Reader:
    """Opens listed objects. Thread-safe.

    Args:
        connection: To the bucket.
        prefix: What paths are relative to.
    """

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix
        self._versions_denied = False
        self._kept: dict[str, tuple[dict[str, str], bytes]] = {}

    def keep(self, entry: Entry, data: bytes) -> None:
        """Spare the next :meth:`open` of a small object that was just read whole."""
        if len(self._kept) >= _KEPT_AT_MOST:
            self._kept.clear()
        self._kept[entry.path] = (entry.identity, data)

    def open(self, entry: Entry, offset: int = 0, end: int | None = None) -> S3Stream:
        """Open an object from ``offset`` up to ``end`` (default: its end).

        Raises:
            ChangedError: It is not the object that was listed.
            TransientError: Worth another try.
            AccessDeniedError, UnreadableError: Not worth one.
        """
        key = self._prefix + entry.path
        stop = entry.size if end is None else min(end, entry.size)
        if offset >= stop and entry.size:
            return S3Stream(BytesIO(), 0, 0, self._failed(key))
        if offset == 0 and end is None:
            kept = self._kept.pop(entry.path, None)
            if kept is not None and kept[0] == entry.identity:
                return S3Stream(BytesIO(kept[1]), 0, entry.size, self._failed(key))
        whole = offset == 0 and stop == entry.size
        span = None if whole else f"bytes={offset}-{stop - 1}"
        answer = self._get(entry, key, span, checked=whole and _worth_checking(entry))
        try:
            skip = self._check(answer, entry, key, offset, stop)
        except ManifestdError:
            answer.body.close()
            raise
        return S3Stream(answer.body, skip, stop - offset, self._failed(key))

    def _get(self, entry: Entry, key: str, span: str | None, *, checked: bool) -> Answer:
        version = entry.identity.get("versionId")
        etag = entry.identity.get("etag")
        pinned = None if self._versions_denied and etag else version

        def get(named: str | None) -> Answer:
            return self._connection.get(key, version=named, etag=etag, span=span, checked=checked)

        try:
            return get(pinned)
        except FAULTS as error:
            if pinned is None or not etag or not denied(error):
                raise translate(error, self._connection.bucket, key) from error
            refused = error
        # Reading by version id is a permission of its own. If-Match and the version id of
        # the answer pin the object as well, as long as it is the current one.
        try:
            answer = get(None)
        except FAULTS as error:
            raise translate(refused, self._connection.bucket, key) from error
        self._versions_denied = True
        return answer

    def _check(self, answer: Answer, entry: Entry, key: str, offset: int, stop: int) -> int:
        """Refuse an answer about another object or range; return how many bytes to skip."""
        place = shown(self._connection.bucket, key)
        etag, version = entry.identity.get("etag"), entry.identity.get("versionId")
        other = answer.headers.get("x-amz-version-id", version)
        if (etag and answer.etag() != etag) or (version is not None and other != version):
            raise _replaced(place, entry, answer)
        length = answer.length()
        if length is None:
            raise UnreadableError(
                f"{place}: the server does not say how long the object is",
                why="a body without a length cannot be told from one that was cut off",
                hint="check that AWS_ENDPOINT_URL_S3 is an S3 service",
            )
        if answer.status == 200:
            if length != entry.size:
                raise _replaced(place, entry, answer)
            if stop != entry.size:
                raise UnreadableError(
                    f"{place}: the server ignores Range",
                    hint="read the whole object instead (--read all)",
                )
            return offset
        match = _RANGE.match(answer.headers.get("content-range", ""))
        expected = (str(offset), str(stop - 1), str(entry.size))
        if match is None or match.groups() != expected or length != stop - offset:
            raise ChangedError(
                f"{place}: the server sent another range than bytes {offset}-{stop - 1}"
                f" of {entry.size}",
                why=f"it says {answer.headers.get('content-range', 'nothing')[:80]}",
                hint="take the snapshot again",
            )
        return 0

    def _failed(self, key: str) -> Callable[[Exception], ManifestdError]:
        def failed(error: Exception) -> ManifestdError:
            if isinstance(error, FlexibleChecksumError):
                return translate(error, self._connection.bucket, key)
            found = translate(error, self._connection.bucket, key)
            if isinstance(found, TransientError):
                return found
            return TransientError(found.what, why=found.why, facts=found.facts)

        return failed


class Peek:
    """Random access by small ranges, each conditional on the listed object.

    Asks for exactly the bytes that are wanted: what is beyond a header is weights, and to
    read none of them is the point. A small object comes whole and is not fetched again.

    Attributes:
        fetched: Content bytes that were sent so far.
    """

    SMALL: Final = 64 * 1024

    def __init__(self, reader: Reader, entry: Entry) -> None:
        self._reader = reader
        self._entry = entry
        self._start = 0
        self._window = b""
        self.fetched = 0

    @property
    def size(self) -> int:
        """Length of the object in bytes."""
        return self._entry.size

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``, fewer only at the end of the object."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        begin = offset - self._start
        if not (begin >= 0 and begin + length <= len(self._window)):
            small = offset == 0 and self.size <= self.SMALL
            end = self.size if small else offset + length
            with self._reader.open(self._entry, offset, end) as stream:
                self._window = b"".join(bytes(data) for data in stream.chunks(1 << 20))
            self.fetched += len(self._window)
            self._start, begin = offset, 0
            if small:
                self._reader.keep(self._entry, self._window)
        return self._window[begin : begin + length]


def _worth_checking(entry: Entry) -> bool:
    """Whether botocore shall compare the stored checksum while it reads.

    A second sha256 would double the cost. What the entry has a value of, the reading pass
    compares itself, also when the read was cut and resumed.
    """
    algorithms = entry.hints.get("checksumAlgorithms")
    if not _COMPARED.isdisjoint(entry.digests):
        return False
    return not algorithms or not _CHEAP.isdisjoint(algorithms)


def _replaced(place: str, entry: Entry, answer: Answer) -> ChangedError:
    return ChangedError(
        f"{place} was replaced after it was listed",
        hint="take the snapshot again",
        facts={
            "place": place,
            "listedEtag": entry.identity.get("etag"),
            "etag": answer.etag()[:80],
            "listedSize": entry.size,
            "size": answer.length(),
        },
    )
