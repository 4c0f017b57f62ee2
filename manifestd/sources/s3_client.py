"""The connection to one bucket: requests counted, the short lane where it may be taken.

Settings follow measurements: adaptive retries (a server that allows 50 requests a
second loses none of 400 that way, and 97 with the standard mode), one client per
source because the limiter lives in it, timeouts of seconds instead of minutes, and a
timestamp parser that makes listings 2.7 times cheaper.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from botocore.exceptions import ClientError

from manifestd.redact import redact
from manifestd.sources.base import Shared, SourceSettings
from manifestd.sources.s3_errors import EXPIRED, code_of
from manifestd.sources.s3_lane import Lane
from manifestd.sources.s3_options import S3Options
from manifestd.sources.s3_session import HEAD_THREADS, Clients, quick_timestamp, session_for

__all__ = ["HEAD_THREADS", "Answer", "Connection", "bare", "quick_timestamp"]

_PAYER: Final = frozenset({
    "list_objects_v2", "list_object_versions", "head_object", "get_object",
    "get_object_attributes",
})  # fmt: skip


class Answer(msgspec.Struct, frozen=True):
    """A successful answer to GET or HEAD, whichever way it was asked.

    Attributes:
        status: 200 or 206.
        headers: Names in lower case.
        body: The body to read (GET only); checks its length, and its checksum if asked for.
    """

    status: int
    headers: Mapping[str, str]
    body: Any = None

    def etag(self) -> str:
        """The entity tag without its quotes; empty if there is none."""
        return bare(self.headers.get("etag"))

    def length(self) -> int | None:
        """Content-Length, None if absent or no number."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None


def bare(etag: object) -> str:
    """An entity tag without its quotes."""
    return etag.strip('"') if isinstance(etag, str) else ""


class Connection:
    """Requests to one bucket's service. Thread-safe.

    Args:
        bucket: Whom errors speak of, and whose objects the lane fetches.
        options: S3's own settings.
        settings: Timeouts, retry budget and number of readers.
        shared: Where the session comes from; None: an own one.

    Attributes:
        requests: Requests sent so far for this connection, retries included.
    """

    def __init__(
        self,
        bucket: str,
        options: S3Options,
        settings: SourceSettings,
        shared: Shared | None = None,
    ) -> None:
        self.bucket = bucket
        self.requests = 0
        self._options = options
        self._lock = threading.Lock()
        self._sent = threading.local()
        self._payer = {"RequestPayer": "requester"} if options.requester_pays else {}
        self._session = session_for(bucket, options, settings, shared)
        self._owned = shared is None
        self._lane = self._new_lane()

    def _new_lane(self) -> Lane:
        clients = self._session.clients
        self._generation = clients.generation
        return Lane(clients.retrying, clients.credentials, self._options.requester_pays)

    @property
    def _client(self) -> Any:
        return self._session.clients.retrying

    def _note_request(self, request: Any) -> None:
        with self._lock:
            self.requests += 1
        self._sent.request = request

    @property
    def endpoint(self) -> str:
        """Scheme and host the client speaks to, without user info."""
        return redact(str(self._client.meta.endpoint_url)).rstrip("/")

    @property
    def amazon(self) -> bool:
        """Whether the endpoint is Amazon's own."""
        host = urlsplit(str(self._client.meta.endpoint_url)).hostname or ""
        return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"))

    def call(self, operation: str, *, once: bool = False, **arguments: Any) -> dict[str, Any]:
        """Ask for one operation by its boto3 name; botocore's own errors are let through.

        Expired credentials are replaced by building the session anew, once for each
        time they had worked.

        Args:
            operation: For instance ``list_objects_v2``.
            once: Never retry (answers that some servers spoil with the whole object).
            arguments: As boto3 takes them.
        """
        if operation in _PAYER:
            arguments |= self._payer
        session = self._session
        clients = session.clients

        def ask(clients: Clients) -> dict[str, Any]:
            client = clients.once if once else clients.retrying
            answer: dict[str, Any] = session.ask(client, operation, self._note_request, **arguments)
            return answer

        try:
            answer = ask(clients)
        except ClientError as error:
            if code_of(error) not in EXPIRED or not session.renew(clients.generation, self.bucket):
                raise
            answer = ask(session.clients)
        session.proven = True
        return answer

    def head(self, key: str, *, version: str | None, checksums: bool, part: int = 0) -> Answer:
        """HEAD one object, asking for its checksums or not."""
        headers = {"x-amz-checksum-mode": "ENABLED"} if checksums else {}
        query = {"partNumber": str(part)} if part else {}
        return self._object("HEAD", key, version, headers, query)

    def get(
        self, key: str, *, version: str | None, etag: str | None, span: str | None, checked: bool
    ) -> Answer:
        """GET one object under the condition that it is the one with this ETag.

        Args:
            key: The object.
            version: Its version id, if known.
            etag: Its entity tag without quotes, if known.
            span: A ``Range`` header's value for a part of it.
            checked: Ask for the stored checksum and compare it when the body ends.
        """
        headers = {}
        if etag:
            headers["If-Match"] = f'"{etag}"'
        if span:
            headers["Range"] = span
        if checked:
            headers["x-amz-checksum-mode"] = "ENABLED"
        return self._object("GET", key, version, headers, {})

    def _object(
        self,
        method: str,
        key: str,
        version: str | None,
        headers: dict[str, str],
        query: dict[str, str],
    ) -> Answer:
        if version is not None:
            query["versionId"] = version
        lane = self._current_lane()
        if lane.ready:
            with self._lock:
                self.requests += 1
            found = lane.send(method, key, query, headers)
            if found is not None:
                return Answer(*found)
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Key": key}
        for name, value in (*headers.items(), *query.items()):
            arguments[_ARGUMENT[name]] = int(value) if name == "partNumber" else value
        answer = self.call("head_object" if method == "HEAD" else "get_object", **arguments)
        lane.learn(key, getattr(self._sent, "request", None))
        meta = answer["ResponseMetadata"]
        return Answer(meta["HTTPStatusCode"], meta["HTTPHeaders"], answer.get("Body"))

    def _current_lane(self) -> Lane:
        """The lane of the credentials in use; others may have renewed them."""
        if self._generation != self._session.clients.generation:
            with self._lock:
                if self._generation != self._session.clients.generation:
                    self._lane = self._new_lane()
        return self._lane

    def close(self) -> None:
        """Close all connections that are its own. May be called twice."""
        self._lane.close()
        if self._owned:
            self._session.close()


_ARGUMENT: Final[dict[str, str]] = {
    "If-Match": "IfMatch",
    "Range": "Range",
    "x-amz-checksum-mode": "ChecksumMode",
    "partNumber": "PartNumber",
    "versionId": "VersionId",
}
