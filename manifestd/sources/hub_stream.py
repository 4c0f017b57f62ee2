"""Reading one file of the Hub: from the resolve URL of the commit, to the store's bytes.

Every answer is checked before a byte of it is used: the Hub said that it serves
this commit, the size is the listed one, and the range begins where it was asked to.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

import httpx2

from manifestd.errors import ChangedError, TransientError, UnreadableError
from manifestd.model.entry import Entry
from manifestd.sources.hub_client import HubClient
from manifestd.sources.hub_errors import Asked, refusal, store_refusal

_REST: Final = 64 * 1024
"""Bytes of an answer that are read although nobody wants them: another connection costs more."""
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)\Z")


class HubStream:
    """An open answer, as a :class:`~manifestd.model.content.Stream`.

    Args:
        client: Translates errors.
        response: The open answer; None for "nothing is left to read".
        skip: Leading bytes of the answer's content to drop.
        limit: Bytes to yield at most; one more is an error unless the answer is whole.
        exact: Whether bytes beyond ``limit`` mean that the file is not the listed one.
    """

    def __init__(
        self,
        client: HubClient,
        response: httpx2.Response | None,
        *,
        path: str,
        skip: int = 0,
        limit: int = 0,
        exact: bool = True,
    ) -> None:
        self._client = client
        self._response = response
        self._path = path
        self._skip = skip
        self._limit = limit
        self._exact = exact

    def chunks(self, size: int) -> Iterator[bytes | memoryview]:
        """Yield the remaining bytes in pieces of at most ``size``.

        Raises:
            TransientError: The connection broke.
            ChangedError: There are more bytes than the listing says.
        """
        left = self._limit
        pieces = self._pieces()
        for piece in pieces:
            if len(piece) > left:
                if self._exact:
                    raise ChangedError(f"{self._path!r} is longer than the listing says")
                piece = piece[:left]  # noqa: PLW2901  (the rest was not asked for)
            left -= len(piece)
            if len(piece) <= size:
                yield piece
            else:
                view = memoryview(piece)
                for begin in range(0, len(view), size):
                    yield view[begin : begin + size]
            if left == 0 and not self._exact:
                _finish(pieces)
                return

    def close(self) -> None:
        """Give the connection back, or drop it when bytes are left on it."""
        if self._response is not None:
            self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _pieces(self) -> Iterator[bytes]:
        response = self._response
        if response is None:
            return
        encoded = _encoded(response)
        skip = self._skip
        try:
            for piece in response.iter_bytes() if encoded else response.iter_raw():
                if skip >= len(piece):
                    skip -= len(piece)
                    continue
                yield piece[skip:] if skip else piece
                skip = 0
        except httpx2.HTTPError as error:
            raise self._client.translated(error) from error


class HubAccess:
    """Small reads of one file, each a request for just that range.

    One of the :class:`~manifestd.model.content.RandomAccess` kind.
    """

    def __init__(self, client: HubClient, url: str, entry: Entry, asked: Asked) -> None:
        self._client = client
        self._url = url
        self._entry = entry
        self._asked = asked

    @property
    def size(self) -> int:
        """The listed size."""
        return self._entry.size

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from ``offset``, fewer than ``length`` only at the end of the file.

        Raises:
            TransientError: Worth another try.
            ChangedError, UnreadableError, AccessDeniedError, SourceNotFoundError: Not worth one.
        """
        length = min(length, self._entry.size - offset)
        if length <= 0:
            return b""
        with open_stream(
            self._client, self._url, self._entry, self._asked, offset=offset, length=length
        ) as stream:
            found = b"".join(bytes(piece) for piece in stream.chunks(1 << 20))
        if len(found) != length:
            raise TransientError(f"{self._entry.path!r} ended {length - len(found)} bytes early")
        return found


def open_stream(
    client: HubClient,
    url: str,
    entry: Entry,
    asked: Asked,
    *,
    offset: int = 0,
    length: int | None = None,
) -> HubStream:
    """Open ``entry`` at ``offset``, for ``length`` bytes or to its end.

    Args:
        client: The source's client.
        url: The resolve URL with the commit. Resuming starts from it too: links to the
            store run out.
        entry: As listed.
        asked: For messages; its revision is the commit that must be served.
        offset: First byte wanted.
        length: How many, None for all.
    """
    if offset >= entry.size > 0:
        return HubStream(client, None, path=entry.path)
    # Encoded answers have no ranges; and the content, not its encoding, has the digest.
    headers = {"Accept-Encoding": "identity"}
    if offset or length is not None:
        last = "" if length is None else offset + length - 1
        headers["Range"] = f"bytes={offset}-{last}"
    response = client.open(url, headers)
    try:
        _check_answer(client, response, entry, asked)
        skip = _skip(response, entry, offset, length)
    except BaseException:
        response.close()
        raise
    wanted = entry.size - offset if length is None else length
    exact = length is None or response.status_code == 206
    return HubStream(client, response, path=entry.path, skip=skip, limit=wanted, exact=exact)


def _check_answer(client: HubClient, response: httpx2.Response, entry: Entry, asked: Asked) -> None:
    """The Hub's own answers, not the store's, must name the commit and the listed size."""
    if response.status_code >= 300:
        at_hub = client.from_hub(response.url)
        raise refusal(response, asked) if at_hub else store_refusal(response, asked)
    answers = [a for a in (*response.history, response) if client.from_hub(a.request.url)]
    commits = {a.headers["x-repo-commit"] for a in answers if "x-repo-commit" in a.headers}
    if not commits:
        raise UnreadableError(
            f"{asked.endpoint} does not say of which commit {entry.path!r} is",
            why="X-Repo-Commit is missing from its answer",
            hint="a mirror in HF_ENDPOINT has to pass the Hub's headers on",
        )
    if commits != {asked.revision}:
        raise ChangedError(
            f"{entry.path!r} was served from another commit than the one asked for",
            facts={"asked": asked.revision, "served": sorted(c[:80] for c in commits)},
        )
    sizes = {a.headers["x-linked-size"] for a in answers if "x-linked-size" in a.headers}
    if sizes - {str(entry.size)}:
        raise ChangedError(f"{entry.path!r} does not have the listed size {entry.size}")


def _skip(response: httpx2.Response, entry: Entry, offset: int, length: int | None) -> int:
    """How many leading bytes to drop, after checking that the rest is what was asked for."""
    if response.status_code == 206:
        found = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
        if found is None or _encoded(response):
            raise TransientError(f"the range of {entry.path!r} that was sent cannot be told")
        if found[3] != "*" and int(found[3]) != entry.size:
            raise ChangedError(f"{entry.path!r} has {found[3]} bytes, not {entry.size} as listed")
        last = entry.size - 1 if length is None else offset + length - 1
        # A range may end early, as a cut connection does, but never begin elsewhere.
        if int(found[1]) != offset or int(found[2]) > last:
            raise TransientError(
                f"another range of {entry.path!r} was sent than the one asked for",
                facts={"asked": f"{offset}-{last}", "sent": f"{found[1]}-{found[2]}"},
            )
        return 0
    # The whole file: it is of the commit asked for, so the bytes before the offset are the
    # ones read before, and may be dropped. A length that differs says it is not.
    stated = response.headers.get("content-length")
    if stated is not None and not _encoded(response) and stated != str(entry.size):
        raise ChangedError(f"{entry.path!r} has {stated} bytes, not {entry.size} as listed")
    return offset


def _finish(pieces: Iterator[bytes]) -> None:
    """Read a short rest of an answer, so that its connection can be used again."""
    rest = 0
    with contextlib.suppress(TransientError):
        for piece in pieces:
            rest += len(piece)
            if rest > _REST:
                return


def _encoded(response: httpx2.Response) -> bool:
    return response.headers.get("content-encoding", "identity").lower() not in {"identity", ""}
