"""The connection to S3: one session, one client, requests counted, credentials renewed once.

Settings follow measurements: adaptive retries (a server that allows 50 requests a
second loses none of 400 that way, and 97 with the standard mode), one client per
source because the limiter lives in it, timeouts of seconds instead of minutes, and a
timestamp parser that makes listings 2.7 times cheaper.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import botocore
import botocore.session
import msgspec
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.utils import parse_timestamp

from manifestd._version import __version__
from manifestd.redact import redact
from manifestd.sources.base import SourceSettings
from manifestd.sources.s3_errors import EXPIRED, FAULTS, code_of, translate
from manifestd.sources.s3_lane import Lane
from manifestd.sources.s3_options import S3Options

HEAD_THREADS: Final = 16
"""HEADs in flight: their cost is the round trip, which on a real network dwarfs the CPU's."""

_PAYER: Final = frozenset({
    "list_objects_v2", "list_object_versions", "head_object", "get_object",
    "get_object_attributes",
})  # fmt: skip
_FULL_BUDGET: Final = 60.0
_ATTEMPTS: Final = 10


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


def quick_timestamp(value: Any) -> datetime:
    """Parse a time as S3's listings write it; anything else as botocore does.

    botocore asks dateutil, which takes 63 % of the time of a whole listing.
    """
    if isinstance(value, str) and value[10:11] == "T":
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            if moment.tzinfo is not None:
                return moment
    found: datetime = parse_timestamp(value)
    return found


class Connection:
    """Requests to one bucket's service. Thread-safe.

    Args:
        bucket: Whom errors speak of, and whose objects the lane fetches.
        options: S3's own settings.
        settings: Timeouts, retry budget and number of readers.

    Attributes:
        requests: Requests sent so far, retries included.
    """

    def __init__(self, bucket: str, options: S3Options, settings: SourceSettings) -> None:
        self.bucket = bucket
        self.requests = 0
        self._options = options
        self._settings = settings
        self._lock = threading.Lock()
        self._generation = 0
        self._proven = True
        self._sent = threading.local()
        self._payer = {"RequestPayer": "requester"} if options.requester_pays else {}
        self._open()

    def _open(self) -> None:
        try:
            core = botocore.session.get_session()
            core.get_component("response_parser_factory").set_parser_defaults(
                timestamp_parser=quick_timestamp
            )
            self._credentials = None if self._options.anonymous else core.get_credentials()
            self._client = core.create_client("s3", config=self._config(attempts=self._attempts()))
            self._once = core.create_client("s3", config=self._config(attempts=1))
        except (*FAULTS, ValueError) as error:
            raise translate(error, self.bucket) from error
        for client in (self._client, self._once):
            client.meta.events.register("before-send.s3", self._note_request)
        self._lane = Lane(self._client, self._credentials, self._options.requester_pays)

    def _attempts(self) -> int:
        """Ten tries within a full budget, fewer within a small one, never none."""
        share = min(1.0, self._settings.retry_budget / _FULL_BUDGET)
        return max(1, round(_ATTEMPTS * share))

    def _config(self, *, attempts: int) -> Any:
        style = self._options.addressing_style
        return Config(
            retries={"mode": "adaptive", "total_max_attempts": attempts},
            max_pool_connections=max(self._settings.jobs, HEAD_THREADS) + 2,
            connect_timeout=self._settings.connect_timeout,
            read_timeout=self._settings.read_timeout,
            tcp_keepalive=True,
            signature_version=botocore.UNSIGNED if self._options.anonymous else None,
            user_agent_extra=f"manifestd/{__version__}",
            s3={"addressing_style": style} if style else None,
            # Whole reads ask for the checksum themselves; some servers echo the whole
            # object's checksum on ranges, which would make every resumed read fail.
            response_checksum_validation="when_required",
            request_checksum_calculation="when_required",
        )

    def _note_request(self, request: Any, **_: Any) -> None:
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
        generation = self._generation

        def ask() -> dict[str, Any]:
            client = self._once if once else self._client
            answer: dict[str, Any] = getattr(client, operation)(**arguments)
            return answer

        try:
            answer = ask()
        except ClientError as error:
            if code_of(error) not in EXPIRED or not self._renew(generation):
                raise
            answer = ask()
        self._proven = True
        return answer

    def _renew(self, generation: int) -> bool:
        """Build the session anew; False if that was done and brought nothing."""
        with self._lock:
            if self._generation != generation:
                return True
            if not self._proven:
                return False
            self._proven = False
            self._generation += 1
        old = (self._client, self._once)
        self._open()
        for client in old:
            client.close()
        return True

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
        lane = self._lane
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

    def close(self) -> None:
        """Close all connections. May be called twice."""
        self._lane.close()
        self._client.close()
        self._once.close()


_ARGUMENT: Final[dict[str, str]] = {
    "If-Match": "IfMatch",
    "Range": "Range",
    "x-amz-checksum-mode": "ChecksumMode",
    "partNumber": "PartNumber",
    "versionId": "VersionId",
}
