"""The HTTP client of one repository in a registry: bounded, counted, logged in when asked to.

The distribution specification (v1.1) with docker's token authentication: a 401 names
the way to log in. Credentials go to the registry and to the token service that it
names, never over plain http to another machine, and never along a redirect.
"""

from __future__ import annotations

import functools
import ipaddress
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.util import Timeout

from manifestd._version import TOOL
from manifestd.errors import AccessDeniedError, RateLimitedError, TransientError, UnreachableError
from manifestd.model.reference import OciReference
from manifestd.redact import redact
from manifestd.sources.base import Shared, SourceSettings
from manifestd.sources.oci_auth import Challenge, challenge_in, token_from, token_request
from manifestd.sources.oci_credentials import DOCKER_HUB, Credentials, credentials_for
from manifestd.sources.oci_errors import refusal, wait_asked
from manifestd.sources.patience import TRANSIENT, NoConnectionError, Patience

T = TypeVar("T")
Answer = urllib3.BaseHTTPResponse

MAX_DOCUMENT: Final = 8 * 1024 * 1024
"""Bytes of a manifest or another document; registries take 4 MiB."""
MAX_TOKEN: Final = 256 * 1024

_MAX_HOPS: Final = 6
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_PORTS: Final = {"http": 80, "https": 443}
_HUB_NAMES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


class Registry:
    """One repository of one registry. Thread-safe.

    Args:
        reference: Which repository.
        settings: Timeouts and budgets; ``options["plainHttp"]`` allows http to other machines.
        environ: Where docker's configuration is looked for.
        sleep: Waits so many seconds.
        clock: Seconds that only grow.

    Attributes:
        requests: Requests on the wire so far, redirects and retries included.
        shared: Where connections come from; None: own ones. Set before the first request.
    """

    def __init__(
        self,
        reference: OciReference,
        settings: SourceSettings,
        *,
        environ: Mapping[str, str],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        hub = reference.host in _HUB_NAMES
        self.host = "registry-1.docker.io" if hub else reference.host
        self.name = reference.repository
        if hub and "/" not in self.name:
            self.name = f"library/{self.name}"
        self.plain = _is_plain(self.host, allowed=bool(settings.options.get("plainHttp")))
        self.base = f"{'http' if self.plain else 'https'}://{self.host}"
        self.requests = 0
        self.shared: Shared | None = None
        self._key = DOCKER_HUB if hub else reference.host
        self._settings = settings
        self._environ = environ
        self._patience = Patience(settings.retry_budget, sleep, clock)
        self._clock = clock
        self._lock = threading.Lock()
        self._pool: _Pool | None = None
        self._authorization: str | None = None
        self._credentials: tuple[Credentials | None] | None = None

    def url(self, what: str) -> str:
        """Address of something of the repository: ``manifests/latest``."""
        return f"{self.base}/v2/{self.name}/{what}"

    def retried(self, call: Callable[[], T]) -> T:
        """``call`` again and again while it fails in passing, inside the retry budget.

        Raises:
            RateLimitedError: Told to wait for longer than the budget.
            UnreachableError: It failed to the end of the budget.
        """
        return self._patience.retried(call, _given_up)

    def document(
        self, url: str, headers: Mapping[str, str], limit: int = MAX_DOCUMENT
    ) -> tuple[bytes, Answer]:
        """GET a bounded document, with retries.

        Raises:
            SourceNotFoundError, AccessDeniedError, RateLimitedError, UnreachableError: As answered.
        """

        def once() -> tuple[bytes, Answer]:
            with self.opened("GET", url, headers) as answer:
                if answer.status != 200:
                    raise refusal(answer, self.subject(url))
                return self.whole(answer, limit), answer

        return self.retried(once)

    def opened(self, method: str, url: str, headers: Mapping[str, str], body: Any = None) -> Answer:
        """One request, logged in where that is asked for, GET and HEAD along redirects.

        The caller closes the answer; its status may be anything but a redirect or a 401
        that credentials could mend.

        Raises:
            AccessDeniedError: Logging in was refused.
            TransientError, UnreachableError: There was no answer.
        """
        logged_in = False
        for _ in range(_MAX_HOPS):
            answer = self._send(method, url, headers, body)
            location = answer.headers.get("Location", "")
            if answer.status == 401 and self._is_own(url) and not logged_in:
                challenge = challenge_in(answer.headers.getlist("WWW-Authenticate"))
                try:
                    if challenge is None or not self._log_in(challenge):
                        return answer
                except BaseException:
                    answer.close()
                    raise
                _let_go(answer)
                logged_in = True
                if hasattr(body, "seek"):
                    body.seek(0)
            elif answer.status in _MOVED and method in {"GET", "HEAD"} and location:
                _let_go(answer)
                url = self.following(url, location)
            else:
                return answer
        raise UnreachableError(f"{self.host} sends requests round in circles")

    def whole(self, answer: Answer, limit: int) -> bytes:
        """The body of an answer, no longer than ``limit`` bytes.

        Raises:
            UnreachableError: It is longer.
            TransientError: The connection broke.
        """
        found = bytearray()
        deadline = self._clock() + self._settings.read_timeout * 4
        try:
            for piece in answer.stream(64 * 1024, decode_content=False):
                found += piece
                if len(found) > limit:
                    raise UnreachableError(f"{self.host} answers with more than {limit} bytes")
                if self._clock() > deadline:
                    raise TransientError(f"{self.host} sends its answer too slowly")
        except HTTPError as error:
            raise self.broken(error) from error
        return bytes(found)

    def broken(self, error: HTTPError) -> TransientError | UnreachableError:
        """One of our errors for one of the HTTP library's."""
        why = redact(str(error))[:300]
        if isinstance(error, SSLError):
            hint = "if it speaks plain http, say --plain-http to snapshot, push or pull"
            return UnreachableError(f"{self.host} cannot be trusted (TLS)", why=why, hint=hint)
        if isinstance(error, LocationValueError):
            return UnreachableError(f"{self.host} names an impossible address", why=why)
        if isinstance(error, NewConnectionError | ConnectTimeoutError | ProxyError):
            hint = "check the name, the network and the proxy settings"
            return NoConnectionError(f"no connection to {self.host}", why=why, hint=hint)
        return TransientError(f"the connection to {self.host} broke", why=why)

    def following(self, url: str, location: str) -> str:
        """Where an answer sends a request on to.

        Raises:
            UnreachableError: To nowhere, or from https to http.
        """
        try:
            found = urljoin(url, location)
            scheme = _origin(found)[0]
        except ValueError:
            found, scheme = location, ""
        if scheme not in _PORTS or (scheme == "http" and not self._may_be_plain(found)):
            raise UnreachableError(f"{self.host} sends requests on to {redact(found[:300])!r}")
        return found

    def subject(self, url: str) -> str:
        """What a URL of the repository is, for messages."""
        rest = urlsplit(url).path.partition(f"/v2/{self.name}/")[2]
        return f"oci://{self.host}/{self.name}" + (f" ({rest})" if rest else "")

    def close(self) -> None:
        """Close the connections. May be called twice."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None and self.shared is None:
            pool.close()

    # -- inside -----------------------------------------------------------------------------

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
        sent = {"User-Agent": TOOL, "Accept-Encoding": "identity", **headers}
        with self._lock:
            self.requests += 1
            if self._is_own(url) and self._authorization is not None:
                sent["Authorization"] = self._authorization
        settings = self._settings
        try:
            return self._connections().manager(url).request(
                method, url, headers=sent, body=body, preload_content=False, redirect=False,
                retries=False,
                timeout=Timeout(connect=settings.connect_timeout, read=settings.read_timeout),
            )  # fmt: skip
        except HTTPError as error:
            raise self.broken(error) from error

    def _connections(self) -> _Pool:
        jobs = max(8, self._settings.jobs * 2)
        with self._lock:
            if self._pool is None and self.shared is not None:
                self._pool = self.shared.get(("oci", jobs), lambda: _Pool(jobs))
            if self._pool is None:
                self._pool = _Pool(jobs)
            return self._pool

    def _is_own(self, url: str) -> bool:
        return _origin(url) == _origin(self.base)

    def _may_be_plain(self, url: str) -> bool:
        """Whether plain http to an address is no more than was asked for.

        A registry on this machine, a tunnel to another perhaps, must not name a third one.
        """
        allowed = bool(self._settings.options.get("plainHttp"))
        return self.plain and _is_plain(urlsplit(url).netloc, allowed=allowed)

    def _log_in(self, challenge: Challenge) -> bool:
        """Get an authorization for a challenge; False when there is nothing to try."""
        credentials = self._own_credentials()
        if challenge.scheme == "basic":
            found = credentials.basic() if credentials else None
        elif credentials is not None and credentials.bearer:
            found = f"Bearer {credentials.bearer}"
        else:
            found = self._token(challenge, credentials)
        with self._lock:
            self._authorization = found
        return found is not None

    def _own_credentials(self) -> Credentials | None:
        with self._lock:
            if self._credentials is None:
                self._credentials = (credentials_for(self._key, self._environ),)
            return self._credentials[0]

    def _token(self, challenge: Challenge, credentials: Credentials | None) -> str | None:
        try:
            scheme = _origin(challenge.realm)[0]
        except ValueError:
            scheme = ""
        if scheme not in _PORTS or (scheme == "http" and not self._may_be_plain(challenge.realm)):
            raise AccessDeniedError(
                f"{self.host} wants a log-in at {redact(challenge.realm)!r}",
                why="credentials do not go over plain http",
            )
        method, url, headers, body = token_request(challenge, credentials)
        with self._lock:
            self.requests += 1
        try:
            answer = self._connections().manager(url).request(
                method, url, headers=headers, body=body, preload_content=False, redirect=False,
                retries=False, timeout=Timeout(self._settings.read_timeout),
            )  # fmt: skip
        except HTTPError as error:
            raise self.broken(error) from error
        with answer:
            if answer.status in TRANSIENT:
                raise TransientError(
                    f"the token service of {self.host} answered {answer.status}",
                    retry_after=wait_asked(answer), throttled=answer.status == 429,
                )  # fmt: skip
            if answer.status != 200:
                raise AccessDeniedError(
                    f"the token service of {self.host} refuses: it answered {answer.status}",
                    hint=f"log in again: docker login {self.host}",
                )
            return token_from(self.whole(answer, MAX_TOKEN), self.host)


class _Pool:
    """Connections to whatever hosts, through the proxies that the environment names."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()
        self._managers: dict[tuple[str, str | None], urllib3.PoolManager] = {}

    def manager(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme)
        if proxy is None or urllib.request.proxy_bypass(parts.hostname or ""):
            proxy = None
        with self._lock:
            found = self._managers.get((parts.scheme, proxy))
            if found is not None:
                return found
            # Loading the certificates takes longer than most answers of a registry at home.
            tls = _tls() if parts.scheme == "https" else None
            if proxy is None:
                found = urllib3.PoolManager(maxsize=self._jobs, ssl_context=tls)
            else:
                found = urllib3.ProxyManager(proxy, maxsize=self._jobs, ssl_context=tls)
            self._managers[parts.scheme, proxy] = found
            return found

    def close(self) -> None:
        for manager in self._managers.values():
            manager.clear()


def _given_up(error: TransientError, tries: int) -> RateLimitedError | UnreachableError:
    kind = RateLimitedError if error.throttled else UnreachableError
    return kind(error.what, why=error.why, hint=error.hint, facts=error.facts | {"tries": tries})


def _let_go(answer: Answer) -> None:
    """Be done with an answer whose body nobody reads; a short one keeps its connection."""
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and len(length) < 6:
        answer.drain_conn()
    answer.close()


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _is_plain(host: str, *, allowed: bool) -> bool:
    """Whether to speak http: to this machine itself, and elsewhere only when allowed."""
    parts = urlsplit(f"//{host}")
    if allowed:
        return True
    if parts.port == 443:
        return False
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"
