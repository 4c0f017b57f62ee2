"""The wire of the loopback Hub: exchanges on record, faulty bodies, ranges, prompt shutdown."""

from __future__ import annotations

import gzip
import re
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from manifestd.loopback.hub_faults import Fault, Faults

Origin = Literal["hub", "cdn"]

_PIECE: Final = 64 * 1024
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)\Z")
_TEXT_SUFFIXES: Final = (".json", ".md", ".txt", ".py", ".jinja", ".yaml", ".csv", ".gitattributes")


class Exchange:
    """One request and what became of it. Numbers grow before the bytes leave.

    Attributes:
        origin: ``hub``, or ``cdn`` for the store behind it.
        method: ``GET``, ``HEAD`` or ``POST``.
        target: Path and query as they came.
        headers: Lower-case names.
        status: Of the answer; 0 before there is one.
        sent: Bytes of the body put on the wire.
        file: ``org/name/path`` when the body is a file's content.
        port: The client's: requests on one connection have one.
    """

    __slots__ = ("file", "headers", "method", "origin", "port", "sent", "status", "target")

    def __init__(
        self, origin: Origin, method: str, target: str, headers: dict[str, str], port: int
    ) -> None:
        self.origin = origin
        self.port = port
        self.method = method
        self.target = target
        self.headers = headers
        self.status = 0
        self.sent = 0
        self.file: str | None = None

    @property
    def path(self) -> str:
        """The decoded path."""
        return unquote(urlsplit(self.target).path)

    def __repr__(self) -> str:
        return f"<{self.origin} {self.method} {self.target} -> {self.status}, {self.sent} bytes>"


class Wire:
    """What both origins share: the log, the faults, and the sign that it is closing time."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._log: list[Exchange] = []

    @property
    def log(self) -> list[Exchange]:
        """A copy of the exchanges so far, oldest first."""
        with self._lock:
            return list(self._log)

    def note(self, exchange: Exchange) -> None:
        """Put an exchange on record."""
        with self._lock:
            self._log.append(exchange)

    def forget(self) -> None:
        """Clear the record."""
        with self._lock:
            self._log.clear()


class OriginServer(ThreadingHTTPServer):
    """One origin on 127.0.0.1 with a port of its own, served from a thread until closed."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, handler: type[OriginHandler], wire: Wire, house: Any) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.wire = wire
        self.house = house
        self.origin = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are the point of half the faults."""


class OriginHandler(BaseHTTPRequestHandler, ABC):
    """Reads requests, records them, applies faults; members answer in :meth:`answer`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    origin: Origin = "hub"
    server: OriginServer

    @abstractmethod
    def answer(self) -> None:
        """Answer one request."""

    def do_GET(self) -> None:
        """Answer a GET."""
        self._serve()

    def do_HEAD(self) -> None:
        """Answer a HEAD."""
        self._serve()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing on stderr: the exchanges are on record."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.segments = [unquote(part) for part in parts.path.strip("/").split("/")]
        self.query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.exchange = Exchange(
            self.origin, self.command, self.path, headers, self.client_address[1]
        )
        length = int(headers.get("content-length", "0"))
        self.body = self.rfile.read(length) if length else b""
        self.server.wire.note(self.exchange)
        target = f"{self.command} {self.origin} {unquote(parts.path)}"
        if parts.query:
            target += f"?{parts.query}"
        self.struck: dict[str, Fault] = self.server.wire.faults.take(target)
        if "status" in self.struck:
            code, _, wait = self.struck["status"].argument.partition(":")
            self.send(int(code), {"Retry-After": wait} if wait else {}, b"scripted fault\n")
        elif "redirect" in self.struck:
            self.send(302, {"Location": self.struck["redirect"].argument}, b"")
        elif "garbage" in self.struck:
            self.send(200, {"Content-Type": "text/html"}, b"<!doctype html><p>Log in</p>")
        else:
            self.answer()

    def send_json(
        self, document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with a JSON document."""
        kind = {"Content-Type": "application/json; charset=utf-8"}
        self.send(status, kind | dict(headers or {}), msgspec.json.encode(document))

    def send(
        self, status: int, headers: Mapping[str, str], body: bytes, *, chunked: bool = False
    ) -> None:
        """Answer with a body, with the body faults that hit this request."""
        body = self._stretched(body)
        self.exchange.status = status
        self.send_response(status)
        for name, value in (self.common_headers() | dict(headers)).items():
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(body, chunked=chunked)

    def common_headers(self) -> dict[str, str]:
        """Headers of every answer."""
        return {}

    def send_content(self, name: str, content: bytes, headers: Mapping[str, str]) -> None:
        """Answer with a file's content: whole, or the range asked for; faults included."""
        self.exchange.file = name
        if "flip" in self.struck and content:
            at = self.struck["flip"].number() % len(content)
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        asked = self.exchange.headers
        text = name.endswith(_TEXT_SUFFIXES) and "gzip" in asked.get("accept-encoding", "")
        if text or "gzip" in self.struck:
            # As the Hub does it: no length, no ranges, whatever was asked for.
            packed = gzip.compress(content, 1)
            self.send(200, {**headers, "Content-Encoding": "gzip"}, packed, chunked=True)
            return
        found = _RANGE.match(asked.get("range", ""))
        if found is None or "ignore-range" in self.struck:
            self.send(200, {**headers, "Accept-Ranges": "bytes"}, content)
            return
        total = len(content)
        start = int(found[1]) + (1 if "wrong-range" in self.struck else 0)
        end = min(int(found[2]) if found[2] else total - 1, total - 1)
        if start >= total:
            self.send(416, {"Content-Range": f"bytes */{total}"}, b"")
            return
        if "half-range" in self.struck:
            end = start + (end - start) // 2
        stated = total + (1 if "wrong-total" in self.struck else 0)
        extent = {"Content-Range": f"bytes {start}-{end}/{stated}", "Accept-Ranges": "bytes"}
        self.send(206, {**headers, **extent}, content[start : end + 1])

    def _stretched(self, body: bytes) -> bytes:
        if "short" in self.struck:
            return body[: max(0, len(body) - self.struck["short"].number(1))]
        if "long" in self.struck:
            return body + bytes(self.struck["long"].number(1))
        return body

    def _send_body(self, body: bytes, *, chunked: bool) -> None:
        broken = next((self.struck[k] for k in ("cut", "reset", "stall") if k in self.struck), None)
        view = memoryview(body)
        if broken is not None:
            view = view[: broken.number()]
        for begin in range(0, len(view), _PIECE):
            piece = view[begin : begin + _PIECE]
            self.exchange.sent += len(piece)
            if chunked:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)))
            else:
                self.wfile.write(piece)
        if broken is not None:
            self._break_off(broken.kind)
        elif chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _break_off(self, how: str) -> None:
        self.close_connection = True
        if how == "stall":
            self.server.wire.closing.wait(60)
        elif how == "reset":
            # A linger time of zero turns the close into a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()
