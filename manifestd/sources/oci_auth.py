"""Docker's token authentication: the challenge of a 401, the request it asks for, its answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from manifestd import canonical
from manifestd.errors import AccessDeniedError, MalformedError
from manifestd.sources.oci_credentials import Credentials

_SCHEME: Final = re.compile(r"(?i)\s*(bearer|basic)\b")
_PART: Final = re.compile(r'([A-Za-z_]{1,32})="([^"]{0,4096})"')
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,65536}\Z")


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """How a registry wants to be asked (RFC 6750, distribution's "token" specification).

    Attributes:
        scheme: ``bearer`` or ``basic``.
        realm: Address of the token service.
        service: Who the token is for.
        scope: What it shall allow (``repository:name:pull``).
    """

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def challenge_in(headers: Sequence[str]) -> Challenge | None:
    """The challenge among ``WWW-Authenticate`` headers; bearer before basic.

    Example:
        >>> challenge_in(['Bearer realm="https://a/t",service="s"']).service
        's'
    """
    found = []
    for text in headers:
        scheme = _SCHEME.match(text[:16_384])
        if scheme is not None:
            parts = {name.lower(): value for name, value in _PART.findall(text[:16_384])}
            known = {name: parts[name] for name in ("realm", "service", "scope") if name in parts}
            found.append(Challenge(scheme=scheme[1].lower(), **known))
    return min(found, key=lambda item: item.scheme != "bearer", default=None)


def token_request(
    challenge: Challenge, credentials: Credentials | None
) -> tuple[str, str, dict[str, str], str | None]:
    """Method, URL, headers and body that get a token; anonymous without credentials."""
    asked = {"service": challenge.service, "scope": challenge.scope}
    asked = {name: value for name, value in asked.items() if value}
    headers = {"Accept": "application/json"}
    if credentials is not None and credentials.refresh:
        form = {"grant_type": "refresh_token", "client_id": "manifestd", **asked}
        form["refresh_token"] = credentials.refresh
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return "POST", challenge.realm, headers, urlencode(form)
    basic = credentials.basic() if credentials is not None else None
    if basic is not None:
        headers["Authorization"] = basic
    sep = "&" if "?" in challenge.realm else "?"
    return "GET", challenge.realm + sep + urlencode(asked), headers, None


def token_from(data: bytes, host: str) -> str:
    """The ``Authorization`` value in a token service's answer.

    Raises:
        AccessDeniedError: There is no token in it.
    """
    try:
        answer: Any = canonical.decode_foreign(data, name="the token service's answer")
    except MalformedError as error:
        raise AccessDeniedError(f"the token service of {host} gives no token") from error
    token = None
    if isinstance(answer, dict):
        token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not _TOKEN.match(token):
        raise AccessDeniedError(f"the token service of {host} gives no token")
    return f"Bearer {token}"
