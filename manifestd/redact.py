"""The one function that removes secrets from text before it is shown, logged or stored."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?x)
    \bhf_[A-Za-z0-9]{8,}            # Hugging Face tokens
  | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b   # AWS access key ids
  | \bgh[pousr]_[A-Za-z0-9]{20,}    # GitHub tokens
  | \bglpat-[A-Za-z0-9_-]{16,}      # GitLab tokens
  | \bxox[abprs]-[A-Za-z0-9-]{10,}  # Slack tokens
    """
)
_HEADER = re.compile(
    r"(?i)\b(authorization|x-amz-security-token|cookie)(\"?'?\s*[:=]\s*\"?'?)"
    r"((?:bearer|basic)\s+)?[^\s\"',;]+"
)
# A query of a signed URL is a credential; the whole query goes, the path stays.
_QUERY = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s?\"'<>]+)\?[^\s\"'<>]+")
_USERINFO = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^\s/@\"']+@")

HIDDEN = "[hidden]"


def redact(text: str) -> str:
    """Return ``text`` without tokens, authorization values, URL queries and user info.

    Example:
        >>> redact("GET https://u:p@cdn.example/a?X-Sig=1 with hf_abcdefghij")
        'GET https://[hidden]@cdn.example/a?[hidden] with [hidden]'
    """
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    text = _QUERY.sub(rf"\1?{HIDDEN}", text)
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text)
