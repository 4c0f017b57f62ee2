"""The one function that removes secrets from text before it is shown, logged or stored.

It goes by how secrets look and by what stands before them, and hides too much rather than too
little. Every pattern is bounded, so that no text makes it slow.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?x)
    (?<![A-Za-z0-9])hf_(?:oauth_|jwt_|app_)?[A-Za-z0-9]{8,}  # Hugging Face tokens
  | \bapi_org_[A-Za-z0-9]{8,}           # and its organisations'
  | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b       # AWS access key ids
  | \bgh[pousr]_[A-Za-z0-9]{20,}        # GitHub tokens
  | \bgithub_pat_[A-Za-z0-9_]{20,}
  | \bgl[a-z]{2,4}-[A-Za-z0-9_-]{16,}   # GitLab tokens
  | \bxox[abeprs]-[A-Za-z0-9-]{10,}     # Slack tokens
  | \bdckr_(?:pat|oat)_[A-Za-z0-9_-]{8,}  # Docker Hub tokens
  | \beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?  # JSON web tokens
    """
)
# A value may be of several words: a scheme before it, further parameters after it.
_HEADER = re.compile(
    r"""(?xi)
    \b(authorization|x-amz-security-token|(?:set-)?cookie|private-token|x-api-key|x-auth-token)
    ( ["']?\s{0,8}[:=]\s{0,8}(?:b(?=["']))?["']? | ["']\s{0,8},\s{0,8}b?["'] )
    (?: [A-Za-z0-9-]{1,40}\s{1,8} )?+
    [^\s"',;]+ (?: [,;]\s{0,8}[\w-]{1,80}=[^\s"',;]* )*
    """
)
# What HTTP libraries say of a token with a line break, and quote.
_REFUSED = re.compile(r"(?i)\b((?:invalid|illegal) header value)[^\r\n]+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)(\s{1,8})[A-Za-z0-9._~+/=-]{12,}")
_NAMED = re.compile(
    r"""(?xi)
    ( \b(?:aws_)?(?:secret_access_key|session_token) | \b(?:access|refresh|id)_token
    | \bclient_secret | \bpassw(?:or)?d | \bx-amz-(?:signature|credential) )
    ( ["']?\s{0,8}[:=]\s{0,8}(?:b(?=["']))?["']? ) (?!\[hidden\]) [^\s&"',;]+
    """
)
# Whole addresses, with a host or without, each looked at once.
_ADDRESS = re.compile(r"(?i)(?:\b[a-z][a-z0-9+.-]{0,30}:/|(?<![^\s\"'(=]))/[^\s\"<>]+")
# Up to the last @ before the path: a password may hold one. What stands before the one @ of a Hub
# reference is no user: hf://gpt2@main.
_USER = re.compile(
    r"""(?xi)
    ( \bhf(?:-cache)?://[^:@/?#]*(?=@[^@/?#]*(?:[/?#]|\Z)) )
  | (?<=://)[^/?#]*@
    """
)
_QUERY = re.compile(r"(?s)([^?#]*)([?#])(.*)")
# Addresses whose path is the secret.
_HOOK = re.compile(
    r"(?i)\b(hooks\.slack\.com/[a-z]{1,20}/|discord(?:app)?\.com/api/webhooks/"
    r"|api\.telegram\.org/bot)[^\s\"'<>]+"
)

HIDDEN = "[hidden]"


def redact(text: str) -> str:
    """Return ``text`` without tokens, authorization values, URL queries and user info.

    Example:
        >>> redact("GET https://u:p@cdn.example/a?X-Sig=1 with hf_abcdefghij")
        'GET https://[hidden]@cdn.example/a?[hidden] with [hidden]'
    """
    text = _ADDRESS.sub(_without_secrets, text)
    text = _HOOK.sub(rf"\1{HIDDEN}", text)
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    text = _REFUSED.sub(rf"\1 {HIDDEN}", text)
    text = _BEARER.sub(rf"\1\2{HIDDEN}", text)
    text = _NAMED.sub(rf"\1\2{HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text)


def _without_secrets(found: re.Match[str]) -> str:
    """An address without user and query; the path stays."""
    text = _USER.sub(_without_user, found[0])
    # A quotation mark may be part of a password, or the end of an address in a list of them.
    return "'".join(map(_without_query, text.split("'")))


def _without_user(found: re.Match[str]) -> str:
    return found[1] or f"{HIDDEN}@"


def _without_query(address: str) -> str:
    """The query of a signed URL is a credential, so all of it goes.

    Of an address without a host, and of what stands after a #, only what has names and values.
    """
    address = _USER.sub(_without_user, address)
    parts = _QUERY.fullmatch(address)
    if parts is None or not parts[3]:
        return address
    secret = "=" in parts[3] or (parts[2] == "?" and "://" in parts[1])
    return parts[1] + parts[2] + HIDDEN if secret else address
