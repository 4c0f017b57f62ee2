"""A small S3 server that answers as Amazon's does, and goes wrong exactly when told to.

Answers about checksums are set by hand, from what was seen of the real service; every
fault is one object in a queue, taken by the next GET of that key.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit
from xml.sax.saxutils import escape

MODIFIED = "2026-03-01T12:00:00.000Z"


class Seen(NamedTuple):
    """One request as it arrived."""

    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]


class Stored(NamedTuple):
    """One object: bytes, entity tag, extra headers of GET and HEAD, extra XML in listings."""

    data: bytes
    etag: str
    headers: Mapping[str, str] = {}
    listing: str = ""
    version: str | None = None


class Reply(NamedTuple):
    """An answer made by hand. ``{code}`` errors get S3's XML body."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""


def error(status: int, code: str, message: str = "no", **more: str) -> Reply:
    """S3's error document."""
    extra = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in more.items())
    return Reply(
        status,
        {"content-type": "application/xml"},
        f"<Error><Code>{code}</Code><Message>{escape(message)}</Message>{extra}</Error>".encode(),
    )


class Cut(NamedTuple):
    """Close the connection in an orderly way after so many body bytes."""

    after: int


class Reset(NamedTuple):
    """Reset the connection after so many body bytes."""

    after: int


class Stall(NamedTuple):
    """Send nothing more after so many body bytes."""

    after: int


class IgnoreRange:
    """Send the whole object with 200 whatever was asked."""


class IgnoreConditions:
    """Answer even if If-Match does not hold."""


class NoLength:
    """No Content-Length: the body ends when the connection does."""


class WrongRange(NamedTuple):
    """Answer a range with one that starts so many bytes later."""

    by: int = 1


class Swap(NamedTuple):
    """Replace the object before answering."""

    new: Stored


Fault = Cut | Reset | Stall | IgnoreRange | IgnoreConditions | NoLength | WrongRange | Swap | Reply


class FaultServer:
    """One bucket, called ``bucket``.

    Attributes:
        objects: key -> what is stored.
        faults: key -> faults, one for each coming GET of it (None for a good answer).
        replies: (method, key) -> function of the request that may return a reply.
        versioning: What GetBucketVersioning says; None for 403.
        broken_pages: How many of the coming listings are cut XML.
        page: Keys in a page of a listing.
        seen: Every request, in order.
        sent: Body bytes of objects sent by GET.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.faults: dict[str, deque[Fault | None]] = defaultdict(deque)
        self.replies: dict[tuple[str, str], Callable[[Seen], Reply | None]] = {}
        self.versioning: str | None = ""
        self.broken_pages = 0
        self.page = 1000
        self.seen: list[Seen] = []
        self.sent = 0
        self.stop = threading.Event()
        handler = type("Bound", (_Handler,), {"fault": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def put(
        self,
        key: str,
        data: bytes,
        *,
        etag: str | None = None,
        headers: Mapping[str, str] | None = None,
        listing: str = "",
        version: str | None = None,
    ) -> Stored:
        """Store an object; its entity tag is the MD5 unless another is given."""
        tag = etag if etag is not None else hashlib.md5(data).hexdigest()
        stored = Stored(data, tag, headers or {}, listing, version)
        self.objects[key] = stored
        return stored

    def count(self, method: str, key: str | None = None) -> int:
        """How many such requests came."""
        return sum(1 for one in self.seen if one.method == method and key in {None, one.key})

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fault: FaultServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def _route(self) -> None:
        parts = urlsplit(self.path)
        raw = parts.path.removeprefix("/bucket").removeprefix("/")
        query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, unquote(raw), query, headers)
        self.fault.seen.append(seen)
        hand = self.fault.replies.get((self.command, seen.key))
        reply = hand(seen) if hand else None
        if reply is None and not seen.key:
            reply = self._bucket(seen)
        if reply is not None:
            self._reply(reply)
            return
        self._object(seen)

    def _bucket(self, seen: Seen) -> Reply:
        if not self.path.startswith("/bucket"):
            return error(404, "NoSuchBucket", "The specified bucket does not exist")
        if "versioning" in seen.query:
            if self.fault.versioning is None:
                return error(403, "AccessDenied", "Access Denied")
            status = self.fault.versioning
            inner = f"<Status>{status}</Status>" if status else ""
            return Reply(
                body=f"<VersioningConfiguration>{inner}</VersioningConfiguration>".encode()
            )
        if self.fault.broken_pages:
            self.fault.broken_pages -= 1
            return Reply(body=b"<ListBucketResult><Contents><Key>half")
        return self._versions(seen) if "versions" in seen.query else self._list(seen)

    def _list(self, seen: Seen) -> Reply:
        keys = sorted(
            (k for k in self.fault.objects if k.startswith(seen.query.get("prefix", ""))),
            key=str.encode,
        )
        start = int(seen.query.get("continuation-token", "0"))
        shown = keys[start : start + self.fault.page]
        more = start + self.fault.page < len(keys)
        token = f"<NextContinuationToken>{start + self.fault.page}</NextContinuationToken>"
        body = "".join(_item("Contents", key, self.fault.objects[key]) for key in shown)
        return Reply(
            body=(
                "<ListBucketResult><EncodingType>url</EncodingType>"
                f"<IsTruncated>{str(more).lower()}</IsTruncated>{token if more else ''}{body}"
                "</ListBucketResult>"
            ).encode()
        )

    def _versions(self, seen: Seen) -> Reply:
        body = "".join(
            _item("Version", key, stored, f"<VersionId>{stored.version or 'null'}</VersionId>")
            for key, stored in sorted(self.fault.objects.items())
            if key.startswith(seen.query.get("prefix", ""))
        )
        return Reply(
            body=(
                "<ListVersionsResult><EncodingType>url</EncodingType>"
                f"<IsTruncated>false</IsTruncated>{body}</ListVersionsResult>"
            ).encode()
        )

    def _object(self, seen: Seen) -> None:
        queue = self.fault.faults[seen.key]
        fault = queue.popleft() if queue and seen.method == "GET" else None
        if isinstance(fault, Reply):
            return self._reply(fault)
        if isinstance(fault, Swap):
            self.fault.objects[seen.key] = fault.new
        stored = self.fault.objects.get(seen.key)
        if stored is None:
            return self._reply(error(404, "NoSuchKey"))
        wanted = seen.headers.get("if-match", "").strip('"')
        if wanted and wanted != stored.etag and not isinstance(fault, IgnoreConditions):
            return self._reply(error(412, "PreconditionFailed"))
        return self._send(seen, stored, fault)

    def _send(self, seen: Seen, stored: Stored, fault: Fault | None) -> None:
        size = len(stored.data)
        first, last, status = 0, size - 1, 200
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))
        if span and not isinstance(fault, IgnoreRange):
            status, first = 206, int(span[1])
            last = min(size - 1, int(span[2])) if span[2] else size - 1
            if isinstance(fault, WrongRange):
                first += fault.by
        body = stored.data[first : last + 1]
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        if isinstance(fault, NoLength):
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{stored.etag}"')
        self.send_header("Last-Modified", formatdate(1772366400, usegmt=True))
        if stored.version:
            self.send_header("x-amz-version-id", stored.version)
        for name, value in stored.headers.items():
            checksum = name.startswith("x-amz-checksum")
            if not checksum or (status == 200 and "x-amz-checksum-mode" in seen.headers):
                self.send_header(name, value)
        self.end_headers()
        if seen.method == "GET":
            self._body(body, fault)

    def _body(self, body: bytes, fault: Fault | None) -> None:
        if isinstance(fault, Cut | Reset | Stall):
            body = body[: fault.after]
        self.fault.sent += len(body)
        self.wfile.write(body)
        if isinstance(fault, Stall):
            self.fault.stop.wait(10)
        if isinstance(fault, Reset):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if isinstance(fault, Cut | Stall | NoLength):
            self.connection.shutdown(socket.SHUT_RDWR)
        if fault is not None:
            self.close_connection = True

    def _reply(self, reply: Reply) -> None:
        self.send_response(reply.status)
        headers = {"Content-Length": str(len(reply.body)), **reply.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)


def _item(element: str, key: str, stored: Stored, version: str = "") -> str:
    latest = "<IsLatest>true</IsLatest>" if version else ""
    return (
        f"<{element}><Key>{quote_plus(key.encode(), safe='/')}</Key>{version}{latest}"
        f"<LastModified>{MODIFIED}</LastModified><ETag>&quot;{stored.etag}&quot;</ETag>"
        f"<Size>{len(stored.data)}</Size>{stored.listing}</{element}>"
    )
