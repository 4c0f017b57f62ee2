"""The Hub's refusals and the network's failures, each as its own error with a next step.

The order of the tests on a refusal is that of huggingface_hub's own
``hf_raise_for_status``, with one difference: a 401 means "missing or hidden" over
plain http too, which matters for mirrors.
"""

from __future__ import annotations

import re
import ssl
from typing import Final

import httpx2
import msgspec

from manifestd.errors import (
    AccessDeniedError,
    ChangedError,
    ManifestdError,
    RateLimitedError,
    SourceNotFoundError,
    TransientError,
    UnreachableError,
    UnreadableError,
)
from manifestd.redact import redact
from manifestd.sources.patience import LONGEST_WAIT, TRANSIENT, NoConnectionError, wait_of

_LINK_REFUSED: Final = frozenset({400, 401, 403, 410})
_INVALID_TOKEN: Final = "invalid credentials in authorization header"  # noqa: S105  (a message)
_DISABLED: Final = "access to this resource is disabled."
_RATE_LIMIT = re.compile(r'"\w+"\s*;\s*r\s*=\s*(\d{1,9})\s*;\s*t\s*=\s*(\d{1,9})')


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a request was about, for messages.

    Attributes:
        endpoint: The Hub, without credentials.
        repo: ``org/name``.
        kind: ``model``, ``dataset`` or ``space``.
        revision: Branch, tag or commit.
        path: The file, when one was asked for.
        token: Whether a token was sent.
    """

    endpoint: str
    repo: str
    kind: str
    revision: str
    path: str | None = None
    token: bool = False

    def page(self) -> str:
        """Address of the repository's page for people."""
        prefix = "" if self.kind == "model" else f"{self.kind}s/"
        return f"{self.endpoint}/{prefix}{self.repo}"


def refusal(response: httpx2.Response, asked: Asked) -> ManifestdError:
    """The error for an answer of the Hub itself with a status of 300 or more."""
    status = response.status_code
    code = response.headers.get("x-error-code")
    said = redact(response.headers.get("x-error-message", ""))[:300]
    subject = f"the {asked.kind} {asked.repo}"
    facts = {"status": status, "repository": asked.repo, "endpoint": asked.endpoint}
    if status in TRANSIENT:
        return transient(response, asked.endpoint)
    if code == "RevisionNotFound":
        return SourceNotFoundError(
            f"{subject} has no revision {asked.revision!r}",
            hint=f"look for branches, tags and commits at {asked.page()}",
            facts=facts | {"revision": asked.revision},
        )
    if code == "EntryNotFound" and asked.path is not None:
        return SourceNotFoundError(
            f"{asked.path!r} is not in {subject} at {asked.revision}", facts=facts
        )
    if code == "GatedRepo":
        return _gated(asked, facts)
    if said.lower() == _DISABLED:
        return AccessDeniedError(f"{subject} has been disabled by the Hub", facts=facts)
    if status == 401 and said.lower() == _INVALID_TOKEN:
        return AccessDeniedError(
            f"{asked.endpoint} does not accept the token",
            why="it is invalid or has expired, which closes public repositories too",
            hint="set HF_TOKEN to a valid token, unset it, or run: hf auth login",
            facts=facts,
        )
    if code == "RepoNotFound" or status in {401, 404}:
        return _missing(asked, facts)
    if status == 403:
        return AccessDeniedError(
            f"access to {subject} is forbidden",
            why=said or None,
            hint="check what the token in use is allowed to read",
            facts=facts,
        )
    if status == 416:
        return ChangedError(f"{asked.path!r} is shorter than the listing says", facts=facts)
    return UnreachableError(
        f"{asked.endpoint} answered {status}",
        why=said or None,
        hint="check HF_ENDPOINT and the proxy settings",
        facts=facts,
    )


def _gated(asked: Asked, facts: dict[str, object]) -> ManifestdError:
    why = "the token in use is not on the list" if asked.token else "no token is in use"
    then = "" if asked.token else ", then set HF_TOKEN"
    return AccessDeniedError(
        f"the {asked.kind} {asked.repo} is gated",
        why=f"its files are for those whom its owners let in, and {why}",
        hint=f"ask for access at {asked.page()}{then}",
        facts=facts | {"gated": True},
    )


def _missing(asked: Asked, facts: dict[str, object]) -> ManifestdError:
    if asked.token:
        why = "it does not exist, or it is private and the token in use cannot see it"
        hint = "check the name, and whose token HF_TOKEN is"
    else:
        why = "it does not exist, or it is private: without a token the Hub does not tell"
        hint = "check the name; for a private repository set HF_TOKEN"
    what = f"{asked.endpoint} knows no {asked.kind} {asked.repo}"
    return SourceNotFoundError(what, why=why, hint=hint, facts=facts)


def store_refusal(response: httpx2.Response, asked: Asked) -> ManifestdError:
    """The error for an answer of the store that the Hub redirects to."""
    status = response.status_code
    host = response.url.host
    if status in _LINK_REFUSED:
        # Signed links run out. The next try starts from the Hub, which signs a new one.
        return TransientError(
            f"{host} refused the Hub's link to {asked.path!r} with {status}",
            why="the link ran out, or something in between blocks the Hub's store",
        )
    if status in TRANSIENT:
        return transient(response, host)
    if status == 404:
        return UnreadableError(
            f"{asked.path!r} is listed, but the Hub's store does not have it",
            hint=f"ask the owners at {asked.page()} to upload it again",
        )
    if status == 416:
        return ChangedError(f"{asked.path!r} is shorter than the listing says")
    return UnreadableError(f"{host} answered {status} for {asked.path!r}")


def transient(response: httpx2.Response, host: str) -> TransientError:
    """A TransientError with the wait that the server asked for."""
    status = response.status_code
    return TransientError(
        f"{host} answered {status}",
        retry_after=wait_asked(response.headers),
        throttled=status == 429,
        facts={"status": status},
    )


def wait_asked(headers: httpx2.Headers) -> float | None:
    """Seconds a server asks to wait: ``Retry-After``, else an exhausted ``RateLimit``."""
    asked = wait_of(headers.get("retry-after", ""), headers.get("date", ""))
    if asked is not None:
        return asked
    limit = _RATE_LIMIT.search(headers.get("ratelimit", "")[:200])
    if limit and int(limit[1]) == 0:
        return min(float(limit[2]), LONGEST_WAIT)
    return None


def broken(error: Exception, host: str) -> ManifestdError:
    """The error for a failure of the HTTP client: network, TLS, protocol, encoding."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(cause):
            return UnreachableError(
                f"the certificate of {host} cannot be verified",
                why=redact(str(error))[:300],
                hint="set SSL_CERT_FILE to the certificates of your network",
            )
        cause = cause.__cause__ or cause.__context__
    why = redact(str(error))[:300] or type(error).__name__
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.TooManyRedirects | httpx2.InvalidURL):
        return UnreachableError(f"{host} redirects to where nothing can be read", why=why)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return NoConnectionError(f"no connection to {host}", why=why)
    if isinstance(error, httpx2.TimeoutException):
        return TransientError(f"{host} has stopped sending", why=why)
    return TransientError(f"the connection to {host} broke", why=why)


def given_up(error: TransientError, tries: int) -> ManifestdError:
    """What a TransientError becomes once the retries are used up."""
    facts = error.facts | {"tries": tries}
    if error.throttled:
        asked = error.retry_after
        return RateLimitedError(
            f"{error.what}: too many requests",
            why=f"it asks to wait {asked:.0f} s, longer than the retry budget" if asked else None,
            hint="try again later; with HF_TOKEN set the limits are higher",
            facts=facts | {"retryAfter": asked},
        )
    times = "try" if tries == 1 else "tries"
    return UnreachableError(
        f"{error.what}, after {tries} {times}",
        why=error.why,
        hint="check the network, the proxy settings and HF_ENDPOINT",
        facts=facts,
    )
