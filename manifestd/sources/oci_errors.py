"""A registry's refusals, each as its own error with a next step (distribution-spec, "Error codes")."""

from __future__ import annotations

from typing import Any, Final, Protocol

from manifestd import canonical
from manifestd.display import printable
from manifestd.errors import (
    AccessDeniedError,
    MalformedError,
    ManifestdError,
    SourceNotFoundError,
    TransientError,
    UnreachableError,
)
from manifestd.redact import redact
from manifestd.sources.patience import TRANSIENT, wait_of

_MAX_ERROR: Final = 16 * 1024


class Refused(Protocol):
    """What is looked at of an answer."""

    status: int
    headers: Any

    def read(self, amt: int | None = None) -> bytes:
        """Bytes of its body."""


def refusal(answer: Refused, subject: str) -> ManifestdError:
    """The error for an answer with a status that was not hoped for."""
    status = answer.status
    code, said = _told(answer)
    why = ": ".join(part for part in (code, said) if part) or None
    facts = {"status": status, "code": code or None}
    if status in TRANSIENT:
        return TransientError(
            f"{subject}: the registry answered {status}", why=why, facts=facts,
            retry_after=wait_asked(answer), throttled=status == 429,
        )  # fmt: skip
    host = subject.removeprefix("oci://").partition("/")[0]
    if status == 401:
        return AccessDeniedError(
            f"{subject} is missing, or hidden from these credentials", why=why, facts=facts,
            hint=f"log in: docker login {host}",
        )  # fmt: skip
    if status == 403:
        return AccessDeniedError(f"{subject}: access is forbidden", why=why, facts=facts)
    if status == 404:
        return SourceNotFoundError(
            f"{subject} is not in the registry", why=why, facts=facts,
            hint="check the repository and the tag; registries hide private ones this way too",
        )  # fmt: skip
    return UnreachableError(f"{subject}: the registry answered {status}", why=why, facts=facts)


def wait_asked(answer: Refused) -> float | None:
    """Seconds that ``Retry-After`` asks for; None when it does not."""
    return wait_of(answer.headers.get("Retry-After", ""), answer.headers.get("Date", ""))


def _told(answer: Refused) -> tuple[str, str]:
    """Code and message of the first error in the body."""
    try:
        data = answer.read(_MAX_ERROR)
        document = canonical.decode_foreign(data, name="error", max_size=_MAX_ERROR)
        first = document["errors"][0]
        parts = first.get("code"), first.get("message")
    except (MalformedError, OSError, LookupError, TypeError, AttributeError):
        return "", ""
    except Exception:  # the HTTP library's own; the status says enough
        return "", ""
    code, said = (printable(redact(part))[:200] if isinstance(part, str) else "" for part in parts)
    return code, said
