"""A shorter way to GET and HEAD: botocore signs and sends, its 0.5 ms of ceremony is left out.

boto3 spends about 0.75 ms of Python on a request (endpoint rules, user agent, event
hooks, response parser), which bounds a process to some 1,000 small objects a second.
The first request of a bucket goes the ordinary way and shows the URL and the
signature's scope that botocore settled on; later ones repeat that with another key:
the same credentials object, the same signer, the same connection pool, TLS settings
and proxies, the same checked body. Whatever is not a plain success is asked again the
ordinary way, so retries, redirects and error texts stay botocore's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpchecksum import handle_checksum_body, resolve_response_checksum_algorithms
from botocore.response import StreamingBody

from manifestd.sources.s3_errors import FAULTS

_SCOPE: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request")
_REST_SECONDS: Final = 30.0
"""How long the ordinary way is taken when a server is overloaded: its limiter must see that."""


class Lane:
    """The learned way to one bucket. Thread-safe: it changes only from unknown to known.

    Args:
        client: The client whose transport is used.
        credentials: What it signs with, None for anonymous.
        requester_pays: Whether to send ``x-amz-request-payer``.
        clock: Monotonic seconds.

    Attributes:
        ready: The way is known and not resting.
    """

    def __init__(
        self,
        client: Any,
        credentials: Any,
        requester_pays: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._credentials = credentials
        self._extra = {"x-amz-request-payer": "requester"} if requester_pays else {}
        self._extra["User-Agent"] = str(client.meta.config.user_agent)
        # Not public, so it may go away: then there is no lane, and nothing else is lost.
        self._transport: Any = getattr(getattr(client, "_endpoint", None), "http_session", None)
        self._operation = client.meta.service_model.operation_model("GetObject")
        self._algorithms = _checksum_context(self._operation)
        self._base: str | None = None
        self._scope: tuple[str, str] | None = None
        self._rest_until = 0.0

    @property
    def ready(self) -> bool:
        """Whether requests may go this way now."""
        return self._base is not None and self._clock() >= self._rest_until

    def learn(self, key: str, request: Any) -> None:
        """Take the way from a request that botocore made for ``key`` and S3 answered."""
        if self._base is not None or request is None or self._transport is None:
            return
        url = str(request.url).partition("?")[0]
        path = quote(key.encode(), safe="/~")
        if not url.endswith("/" + path):
            return
        if self._credentials is not None:
            header = request.headers.get("Authorization", b"")
            text = header.decode("latin-1") if isinstance(header, bytes) else str(header)
            scope = _SCOPE.match(text)
            # S3 Express signs with a session of its own; leave such buckets to botocore.
            if scope is None or "x-amz-s3session-token" in request.headers:
                return
            self._scope = (scope[2], scope[1])
        self._base = url.removesuffix(path)

    def send(
        self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], Any] | None:
        """Status, headers and body of a success; None if the ordinary way must be taken."""
        url = f"{self._base}{quote(key.encode(), safe='/~')}"
        if query:
            pairs = sorted(query.items())
            url += "?" + "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in pairs)
        request = AWSRequest(
            method=method, url=url, headers={**self._extra, **headers}, stream_output=True
        )
        try:
            if self._scope is not None:
                frozen = self._credentials.get_frozen_credentials()
                S3SigV4Auth(frozen, *self._scope).add_auth(request)
            response = self._transport.send(request.prepare())
        except FAULTS:
            return None
        if response.status_code not in {200, 206}:
            if response.status_code >= 500 or response.status_code == 429:
                self._rest_until = self._clock() + _REST_SECONDS
            response.raw.read(65536)
            response.raw.close()
            return None
        found = {name.lower(): value for name, value in response.headers.items()}
        if method == "HEAD":
            response.raw.read()
            return response.status_code, found, None
        return response.status_code, found, self._body(response, headers)

    def _body(self, response: Any, asked: Mapping[str, str]) -> Any:
        parsed = {
            "headers": response.headers,
            "body": StreamingBody(response.raw, response.headers.get("content-length")),
            "context": {},
        }
        if "x-amz-checksum-mode" in asked:
            handle_checksum_body(response, parsed, self._algorithms, self._operation)
        return parsed["body"]

    def close(self) -> None:
        """Take no further requests."""
        self._base = None


def _checksum_context(operation: Any) -> dict[str, Any]:
    """Botocore's own choice of the checksum algorithms it can check."""
    request: dict[str, Any] = {"context": {}}
    resolve_response_checksum_algorithms(request, operation, {"ChecksumMode": "ENABLED"})
    context: dict[str, Any] = request["context"]
    return context
