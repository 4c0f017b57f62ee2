"""A small registry of our own for tests: log-ins, broken connections, redirects and lies on demand."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from tests.support.registry import OCI_INDEX, OCI_MANIFEST, sha256

USER, PASSWORD = "alice", "wonderland"
TOKEN = "a-token-of-this-registry"


class SmallRegistry:
    """Holds manifests and blobs; how it behaves can be changed between requests.

    Attributes:
        auth: What it asks for: nothing, a password, a token for anyone, a token for a password.
        cut: A blob's answer ends after so many bytes, each time it is asked for.
        ranges: Whether it knows ranges.
        busy: So many of the next requests are answered 503.
        api: It lists what is attached, and says so of manifests with a subject.
        elsewhere: Another server that blobs are redirected to.
        seen: (method, path, headers) of every request.
    """

    def __init__(self) -> None:
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.blobs: dict[str, bytes] = {}
        self.auth: Literal["", "basic", "anonymous", "token"] = ""
        self.cut = 0
        self.ranges = True
        self.busy = 0
        self.elsewhere = ""
        self.api = False
        self.referrers: dict[str, list[dict[str, Any]]] = {}
        self.realm = ""
        self.seen: list[tuple[str, str, Mapping[str, str]]] = []
        self.host = ""

    def add_blob(self, data: bytes, kind: str = "", **notes: str) -> dict[str, Any]:
        """A blob and its descriptor; names of annotations are written with underscores."""
        self.blobs[sha256(data)] = data
        named = {name.replace("__", "-").replace("_", "."): value for name, value in notes.items()}
        return {"mediaType": kind, "digest": sha256(data), "size": len(data), "annotations": named}

    def add(self, tag: str, layers: list[dict[str, Any]], **more: Any) -> str:
        """A manifest under a tag and its digest."""
        document = {
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": self.add_blob(b"{}", "application/vnd.oci.empty.v1+json"),
            "layers": layers, **more,
        }  # fmt: skip
        return self.add_document(tag, document)

    def add_document(
        self, tag: str, document: Mapping[str, Any], kind: str = OCI_MANIFEST
    ) -> str:  # fmt: skip
        """Any document as a manifest."""
        data = json.dumps(document).encode()
        self.manifests[tag] = self.manifests[sha256(data)] = (data, kind)
        return sha256(data)


@contextmanager
def small_registry() -> Iterator[SmallRegistry]:
    """One on a free port of the loopback."""
    registry = SmallRegistry()

    class Handler(_Handler):
        state = registry

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.host = f"127.0.0.1:{server.server_address[1]}"
    registry.realm = f"http://{registry.host}/token"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: SmallRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.state.seen.append(("POST", self.path, dict(self.headers)))
        if self.path.endswith("/blobs/uploads/"):
            if self._allowed():
                self._answer(202, b"", Location="/v2/upload?state=1")
            else:
                self._refuse()
            return
        form = parse_qs(body.decode())
        granted = form.get("refresh_token") == ["an-identity"]
        self._answer(200 if granted else 401, json.dumps({"access_token": TOKEN}).encode())

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        state = self.state
        state.seen.append(("PUT", self.path, dict(self.headers)))
        parts = urlsplit(self.path)
        if not self._allowed():
            self._refuse()
        elif parts.path == "/v2/upload":
            fits = parse_qs(parts.query)["digest"] == [sha256(body)]
            state.blobs[sha256(body)] = body
            self._answer(201 if fits else 400, b"")
        else:
            kind = self.headers["Content-Type"]
            state.manifests[parts.path.rpartition("/")[2]] = (body, kind)
            state.manifests[sha256(body)] = (body, kind)
            document = json.loads(body)
            more = {}
            if state.api and "subject" in document:
                more["OCI_Subject"] = document["subject"]["digest"]
                found = state.referrers.setdefault(document["subject"]["digest"], [])
                found.append({"mediaType": kind, "digest": sha256(body), "size": len(body),
                              "artifactType": document["artifactType"]})  # fmt: skip
            self._answer(201, b"", **more)

    def _get(self) -> None:
        state = self.state
        state.seen.append((self.command, self.path, dict(self.headers)))
        path = urlsplit(self.path).path
        if state.busy:
            state.busy -= 1
            self._answer(503, b"", Retry_After="0")
        elif path == "/token":
            self._token()
        elif not self._allowed():
            self._refuse()
        elif "/manifests/" in path:
            found = state.manifests.get(path.rpartition("/")[2])
            if found is None:
                said = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no such thing"}]}
                self._answer(404, json.dumps(said).encode())
            else:
                self._answer(200, found[0], Content_Type=found[1])
        elif "/referrers/" in path and state.api:
            listed = state.referrers.get(path.rpartition("/")[2], [])
            document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
            self._answer(200, json.dumps(document).encode(), Content_Type=OCI_INDEX)
        elif "/blobs/" in path:
            self._blob(path.rpartition("/")[2])
        else:
            self._answer(404, b"")

    def _token(self) -> None:
        given = self.headers.get("Authorization", "")
        granted = self.state.auth == "anonymous" or given == _basic()
        self._answer(200 if granted else 401, json.dumps({"token": TOKEN}).encode())

    def _allowed(self) -> bool:
        given = self.headers.get("Authorization", "")
        if self.state.auth == "basic":
            return given == _basic()
        return not self.state.auth or given == f"Bearer {TOKEN}"

    def _refuse(self) -> None:
        scope = "repository:acme/tiny:pull"
        if self.state.auth == "basic":
            challenge = 'Basic realm="here"'
        else:
            challenge = f'Bearer realm="{self.state.realm}",service="here",scope="{scope}"'
        self._answer(401, b"", WWW_Authenticate=challenge)

    def _blob(self, digest: str) -> None:
        state = self.state
        data = state.blobs.get(digest)
        if state.elsewhere:
            self._answer(307, b"", Location=f"{state.elsewhere}/blobs/{digest}")
            return
        if data is None:
            self._answer(404, b"")
            return
        begin, end, status, more = 0, len(data), 200, {}
        if state.ranges and "Range" in self.headers:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            begin, end, status = int(first), min(len(data), int(last or len(data)) + 1), 206
            more["Content_Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        self._answer(status, data[begin:end], cut=state.cut, **more)

    def _answer(self, status: int, body: bytes, *, cut: int = 0, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut] if cut else body)
            if cut and cut < len(body):
                self.close_connection = True


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
