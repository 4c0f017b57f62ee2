"""The HTTP client of one Hub source: bounded, counted, and careful where its token goes.

huggingface_hub brings the token, the user agent and the offline switch. Its shared
session is not used: it belongs to the whole process, its listings have no
timeout, wait as long as a server says, and follow a ``next`` link to any host
with the token.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

from manifestd import canonical
from manifestd._version import __version__
from manifestd.errors import (
    AccessDeniedError,
    ConfigError,
    ManifestdError,
    TransientError,
    UnreachableError,
)
from manifestd.redact import redact
from manifestd.sources.base import Shared, SourceSettings
from manifestd.sources.hub_errors import (
    Asked,
    broken,
    given_up,
    refusal,
)
from manifestd.sources.patience import Patience

# Read by huggingface_hub when it is imported. Telemetry would send a request of its own
# before ours, and progress bars would write over ours.
for _name in ("DISABLE_TELEMETRY", "DISABLE_PROGRESS_BARS", "DISABLE_XET"):
    os.environ.setdefault(f"HF_HUB_{_name}", "1")

from huggingface_hub import is_offline_mode  # noqa: E402
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # noqa: E402

T = TypeVar("T")

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
MAX_DOCUMENT: Final = 64 * 1024 * 1024
"""Bytes of one JSON answer; the largest real ones have some 10 MB."""

_MAX_REDIRECTS: Final = 6
_OWNER: Final = "manifestd"
"""The extension of a request that names the client it counts for."""
_PORTS: Final = {"http": 80, "https": 443}
_NEXT = re.compile(r'<([^<>]{1,8192})>\s*;\s*rel="?next"?')

Origin = tuple[str, str, int | None]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON answer, undecoded, with the address of the next page if there is one."""

    body: bytes
    next: str | None


class HubClient:
    """One source's client. Thread-safe.

    Args:
        endpoint: Where the Hub is.
        settings: Timeouts, retry budget and number of connections.
        sleep: Waits so many seconds.
        clock: Seconds that only grow.

    Attributes:
        requests: Requests on the wire so far, each hop of a redirect included.
        shared: Where the connections come from; None: own ones. Set before the first request.
    """

    def __init__(
        self,
        endpoint: str,
        settings: SourceSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self.requests = 0
        self._origin = origin_of(httpx2.URL(endpoint))
        self._settings = settings
        self._patience = Patience(settings.retry_budget, sleep, clock)
        self._clock = clock
        self._lock = threading.Lock()
        self._http: httpx2.Client | None = None
        self.shared: Shared | None = None

    # -- requests ---------------------------------------------------------------------------

    def headers(self) -> dict[str, str]:
        """Headers of a request to the Hub: user agent, and the token if there is one.

        Asked for anew each time, because a saved token may be refreshed in the meantime.

        Raises:
            AccessDeniedError: A token was asked for by the environment and none was given.
        """
        try:
            headers = build_hf_headers(library_name="manifestd", library_version=__version__)
        except Exception as error:  # any of: OIDC exchange, token refresh, unreadable file
            raise AccessDeniedError(
                "no Hub token could be had",
                why=redact(str(error))[:300] or type(error).__name__,
                hint="set HF_TOKEN, or run: hf auth login",
            ) from error
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            # The HTTP library would quote it in its refusal.
            raise AccessDeniedError(
                "the Hub token has a character that no token has", hint="set HF_TOKEN again"
            )
        return headers

    def get(self, url: str, asked: Asked, params: Mapping[str, str] | None = None) -> Answer:
        """GET a JSON document of the Hub, with retries inside the budget.

        Raises:
            SourceNotFoundError, AccessDeniedError: As the Hub answers.
            RateLimitedError: Told to wait for longer than the budget.
            UnreachableError: No answer, server errors to the end, or not the Hub's answer.
        """
        return self._patience.retried(lambda: self._get_once(url, asked, params), given_up)

    def open(self, url: str, headers: Mapping[str, str]) -> httpx2.Response:
        """Open a streamed GET, following redirects. One try; the caller closes it.

        Raises:
            TransientError: The network failed; worth another try.
            UnreachableError: It failed for good (certificate, redirects, offline).
        """
        http = self._client()
        request = http.build_request(
            "GET", url, headers=self.headers() | dict(headers), extensions={_OWNER: self}
        )
        try:
            return http.send(request, stream=True)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self.translated(error) from error

    def translated(self, error: httpx2.HTTPError | httpx2.InvalidURL) -> ManifestdError:
        """One of our errors for one of the HTTP client's."""
        host = urlsplit(self.endpoint).hostname or self.endpoint
        if isinstance(error, httpx2.RequestError):
            with contextlib.suppress(RuntimeError):  # raised before there was a request
                host = error.request.url.host
        return broken(error, host)

    def from_hub(self, url: httpx2.URL) -> bool:
        """Whether ``url`` is on the endpoint's origin: same scheme, host and port."""
        return origin_of(url) == self._origin

    def close(self) -> None:
        """Close the connections. May be called twice."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None and self.shared is None:
            http.close()

    # -- inside -----------------------------------------------------------------------------

    def _get_once(self, url: str, asked: Asked, params: Mapping[str, str] | None) -> Answer:
        if params:
            url = str(httpx2.URL(url, params=dict(params)))
        response = self.open(url, {"Accept": "application/json"})
        try:
            if response.status_code >= 300:
                raise refusal(response, asked)
            if not self.from_hub(response.url):
                raise UnreachableError(
                    f"{asked.endpoint} hands its answers over to {response.url.host}",
                    hint="check HF_ENDPOINT: it must name the Hub itself",
                )
            body = self._whole(response)
        finally:
            response.close()
        found = _NEXT.search(response.headers.get("link", "")[:16_384])
        return Answer(body=body, next=self._next(found[1], asked) if found else None)

    def _next(self, link: str, asked: Asked) -> str:
        try:
            url = httpx2.URL(self.endpoint).join(link)
        except httpx2.InvalidURL as error:
            raise UnreachableError(
                f"the listing of {asked.repo} goes on at an address that is none",
                why=redact(str(error))[:300],
                hint="check HF_ENDPOINT and the proxy settings",
            ) from error
        if not self.from_hub(url):
            raise UnreachableError(
                f"the listing of {asked.repo} goes on at another host, {url.host}",
                why="a listing comes from one Hub; the token must not leave it",
                hint="check HF_ENDPOINT: a mirror has to rewrite the links to its next pages",
            )
        return str(url)

    def _whole(self, response: httpx2.Response) -> bytes:
        found = bytearray()
        deadline = self._clock() + self._settings.read_timeout * 4
        try:
            for piece in response.iter_bytes():
                found += piece
                if len(found) > MAX_DOCUMENT:
                    raise UnreachableError(f"{response.url.host} answers without end")
                if self._clock() > deadline:
                    raise TransientError(f"{response.url.host} sends its answer too slowly")
        except httpx2.HTTPError as error:
            raise self.translated(error) from error
        return bytes(found)

    def _client(self) -> httpx2.Client:
        settings = self._settings
        with self._lock:
            if self._http is None and self.shared is not None:
                budgets = settings.read_timeout, settings.connect_timeout, settings.jobs
                key = ("hub", self._origin, *budgets)
                self._http = self.shared.get(key, lambda: _http_client(settings))
            if self._http is None:
                self._http = _http_client(settings)
            return self._http

    def guard(self, request: httpx2.Request) -> None:
        """Count a request and keep the token from other origins; for each hop of a redirect."""
        if is_offline_mode():
            raise UnreachableError(
                "the Hub is switched off by HF_HUB_OFFLINE",
                hint="unset HF_HUB_OFFLINE, or compare what is stored with: manifestd diff",
            )
        if not self.from_hub(request.url):
            for name in ("authorization", "cookie"):
                request.headers.pop(name, None)
        with self._lock:
            self.requests += 1


def _http_client(settings: SourceSettings) -> httpx2.Client:
    try:
        return httpx2.Client(
            verify=_tls(),
            event_hooks={"request": [_before]},
            follow_redirects=True,
            max_redirects=_MAX_REDIRECTS,
            timeout=httpx2.Timeout(settings.read_timeout, connect=settings.connect_timeout),
            limits=httpx2.Limits(max_connections=max(8, settings.jobs * 2)),
        )
    except (ValueError, ImportError, httpx2.InvalidURL) as error:  # it reads them only here
        raise ConfigError(
            "the proxy that the environment names cannot be used",
            why=redact(str(error)).partition(". ")[0][:300],
            hint="correct HTTPS_PROXY, HTTP_PROXY and ALL_PROXY",
        ) from error


def _before(request: httpx2.Request) -> None:
    """Runs before every request on the wire; redirects carry the extensions on."""
    owner = request.extensions[_OWNER]
    owner.guard(request)


def decode(answer: Answer, kind: type[T], asked: Asked) -> T:
    """Decode a JSON answer to its type; only the fields we look at must fit.

    Raises:
        UnreachableError: It is not what a Hub answers.
    """
    try:
        return msgspec.json.decode(answer.body, type=canonical.prepared(kind))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreachableError(
            f"{asked.endpoint} does not answer as a Hub does",
            why=str(error)[:300],
            hint="check HF_ENDPOINT and the proxy settings (a log-in page?)",
        ) from error


def endpoint_from(environ: Mapping[str, str]) -> str:
    """The Hub's address, from ``HF_ENDPOINT``.

    Raises:
        ConfigError: It is not an http(s) address.
    """
    text = (environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    if not _is_address(text):
        raise ConfigError(
            f"HF_ENDPOINT is not an address: {redact(text)!r}",
            hint=f"write it as {DEFAULT_ENDPOINT}",
        )
    return text


def _is_address(text: str) -> bool:
    try:
        parts, url = urlsplit(text), httpx2.URL(text)
        url.host.encode("idna")
        known = parts.scheme in _PORTS and parts.port != 0
    except (ValueError, httpx2.InvalidURL):  # of brackets, ports, controls, long labels
        return False
    return known and bool(parts.hostname) and not parts.query and not parts.fragment


def origin_of(url: httpx2.URL) -> Origin:
    """Scheme, host and port; who may see a token is decided by this."""
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


@functools.cache
def _tls() -> ssl.SSLContext:
    # Loading the certificates takes 20 ms, once for all sources of a run.
    return httpx2.create_ssl_context()


def _redact_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True


# At level INFO the HTTP library logs whole URLs, with the queries that sign them.
logging.getLogger("httpx2").addFilter(_redact_record)
