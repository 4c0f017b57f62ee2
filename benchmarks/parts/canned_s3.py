"""An S3 server in a process of its own that sends prepared bytes, so that it is not what is measured."""

from __future__ import annotations

import asyncio
import multiprocessing
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from typing import Any, Final

HEAD: Final = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "e"\r\nLast-Modified: Sun, 01 Mar 2026 12:00:00 GMT\r\n'


def page(prefix: bytes, start: int, stop: int, size: int, *, more: bool) -> bytes:
    """A page of a listing, as S3 writes it."""
    items = b"".join(
        b"<Contents><Key>%b/shard-%07d.dat</Key><LastModified>2026-03-01T12:00:00.000Z</LastModified>"
        b"<ETag>&quot;e&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        b"<ChecksumType>FULL_OBJECT</ChecksumType><Size>%d</Size>"
        b"<StorageClass>STANDARD</StorageClass></Contents>" % (prefix, number, size)
        for number in range(start, stop)
    )
    token = b"<NextContinuationToken>%d</NextContinuationToken>" % stop if more else b""
    return (
        b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><EncodingType>url</EncodingType>'
        b"<IsTruncated>%b</IsTruncated>%b%b</ListBucketResult>"
        % (b"true" if more else b"false", token, items)
    )


def page_asked(line: bytes) -> int:
    """The key from which a request for a listing goes on."""
    token = line.partition(b"continuation-token=")[2].split(b"&")[0].split(b" ")[0]
    return int(token or b"0")


class Canned(asyncio.Protocol):
    """Answers by the first line alone."""

    @classmethod
    def prepare(cls) -> None:
        """Make the answers, in the server's process."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while (end := self.pending.find(b"\r\n\r\n")) >= 0:
            line = self.pending[: self.pending.find(b"\r\n")]
            self.pending = self.pending[end + 4 :]
            self.answer(line)

    @abstractmethod
    def answer(self, line: bytes) -> None:
        """Write the answer to a request."""

    def send(self, body: bytes) -> None:
        self.transport.write(HEAD % len(body) + b"\r\n" + body)


@contextmanager
def serving(kind: type[Canned]) -> Iterator[str]:
    """The URL at which a process answers as ``kind`` says."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(kind, theirs))
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(kind: type[Canned], pipe: Pipe) -> None:
    kind.prepare()

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())
