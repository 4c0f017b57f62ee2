"""Secrets in small text files: where they stand and what kind they are, never what they are.

Forms of tokens are those their issuers document (GitHub, GitLab, AWS, Hugging Face, Slack,
Google …). Whatever has no form of its own is found by what it is called and by how random it
looks. Every search begins at a fixed word: finding words is a hundred times faster than finding
forms, and the files are mostly vocabularies.
"""

from __future__ import annotations

import codecs
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

MAX_FOUND: Final = 50
"""Secrets reported for one file."""
_MAX_HIDDEN: Final = 1000
_MIN_BEGINNING: Final = 4
"""Characters of a value before a cut, from which on the beginning is hidden, too."""

_EDGE: Final = rb"(?<![A-Za-z0-9_])"
_END: Final = rb"(?![A-Za-z0-9_])"
_ADDRESS: Final = "password in an address"
_PRIVATE: Final = "private key"
_PEM_REACH: Final = 16384
_PEM_LINE: Final = re.compile(rb"[A-Za-z0-9+/=]{16,}")

_FORMS: Final[tuple[tuple[str, tuple[bytes, ...], re.Pattern[bytes]], ...]] = tuple(
    (kind, words, re.compile(pattern))
    for kind, words, pattern in (
        (
            "Hugging Face token",
            (b"hf_", b"api_org_"),
            _EDGE + rb"(?:hf|api_org)_([A-Za-z0-9]{20,200})" + _END,
        ),
        ("AWS access key id", (b"AKIA", b"ASIA"), _EDGE + rb"A[KS]IA[A-Z0-9]{16}" + _END),
        (
            _PRIVATE,
            (b"-----BEGIN ",),
            rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
        ),
        (
            "GitHub token",
            (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"),
            _EDGE + rb"gh[pousr]_[A-Za-z0-9]{30,255}" + _END,
        ),
        ("GitHub token", (b"github_pat_",), _EDGE + rb"github_pat_[A-Za-z0-9_]{30,255}"),
        ("GitLab token", (b"glpat-",), _EDGE + rb"glpat-[A-Za-z0-9_-]{18,255}"),
        ("Slack token", (b"xox",), _EDGE + rb"xox[abeoprs]-[A-Za-z0-9-]{10,255}"),
        (
            "Slack webhook",
            (b"hooks.slack.com/",),
            rb"hooks\.slack\.com/services/T\w{5,20}/B\w{5,20}/[A-Za-z0-9]{20,40}",
        ),
        ("Google API key", (b"AIza",), _EDGE + rb"AIza[A-Za-z0-9_-]{35}"),
        ("API key", (b"sk-",), _EDGE + rb"sk-(?:[a-z]{2,10}-){0,2}([A-Za-z0-9_-]{32,255})"),
        ("Stripe key", (b"sk_live_", b"rk_live_"), rb"[rs]k_live_[A-Za-z0-9]{20,255}"),
        ("npm token", (b"npm_",), _EDGE + rb"npm_[A-Za-z0-9]{36}" + _END),
        ("package index token", (b"pypi-",), _EDGE + rb"pypi-AgE[A-Za-z0-9_-]{40,400}"),
        ("storage account key", (b"AccountKey=",), rb"AccountKey=[A-Za-z0-9+/]{80,100}={0,2}"),
        (_ADDRESS, (b"://",), rb"://[^\s/@:\"'<>{}$]{1,100}:([^\s/@\"'<>{}$]{3,200})@"),
    )
)
"""Kind, words one of which a form begins with, and the form; group 1, if any, must look random."""

_NAMES: Final = (b"key", b"secret", b"passw", b"token", b"bearer")
_BEFORE: Final = re.compile(
    rb".*(?:api|access|private|secret|auth|client|hf|hub|account|encryption|signing)[_-]?\Z",
    re.DOTALL,
)
"""What must stand before ``key`` and ``token``, which by themselves are words of every tokenizer."""

# From the name on: the rest of the name, an assignment, the value (group 1).
_VALUE: Final = rb"[\"']?([A-Za-z0-9+/_.~=-]{16,200}+)(?![(\[])"
_ASSIGNED: Final = re.compile(
    rb"[A-Za-z0-9_-]{0,24}+[\"']?\s{0,4}+(?::=|={1,2}|:)\s{0,4}+(?:[Bb]earer\s)?" + _VALUE
)
_BORNE: Final = re.compile(rb"\s{1,4}+" + _VALUE)
_PLACEHOLDER: Final = re.compile(
    rb"(?i)example|your|placeholder|changeme|dummy|xxxx|environ|config|settings|\.\."
)
_PARTS: Final = re.compile(rb"[._/+~=-]+")
_MIN_BITS: Final = 3.4
"""Bits of entropy in a character; names of things have about 3, random base 62 over 4."""


class Secret(NamedTuple):
    """A secret's kind and line. Its value is nowhere in here, so that nothing can print it."""

    kind: str
    line: int


def find_secrets(data: bytes) -> list[Secret]:
    r"""Secrets in a text, in the order of their lines, at most :data:`MAX_FOUND`.

    Args:
        data: The file's bytes; UTF-16 with a byte order mark is read, too.

    Example:
        >>> find_secrets(b'{\n "token": "hf_' + b'aB3dEf6hIjK9' * 3 + b'"}')
        [Secret(kind='Hugging Face token', line=2)]
    """
    data = _utf8(data)
    spans: list[tuple[int, int, str]] = []
    for start, end, kind in _places(data):
        # A named value that has a form of its own is one secret, not two.
        if not any(begin < end and start < stop for begin, stop, _ in spans):
            spans.append((start, end, kind))
        if len(spans) >= MAX_FOUND:
            break
    found, line, at = [], 1, 0
    for start, _, kind in sorted(spans):
        line, at = line + data.count(b"\n", at, start), start
        found.append(Secret(kind, line))
    return found


def secret_values(data: bytes) -> dict[str, str]:
    """The secrets themselves with their kinds, for :func:`hide` and for nothing else.

    Of a private key these are the lines of its body, which a comparison may show one by one.
    """
    data = _utf8(data)
    found: dict[str, str] = {}
    for start, end, kind in islice(_places(data), _MAX_HIDDEN):
        parts = [data[start:end]]
        if kind == _PRIVATE:
            parts = _PEM_LINE.findall(data[start : _pem_end(data, start)].replace(b"\\n", b"\n"))
        for part in parts:
            found.setdefault(part.decode("utf-8", "replace"), kind)
    return found


def hide(text: str, values: Mapping[str, str], name: str = "") -> str:
    """A text without secrets: neither these values, nor their beginnings before a cut, nor others.

    Args:
        text: What would be shown.
        values: Of :func:`secret_values`, from the files that the text was taken from.
        name: What the text is called there; some secrets are told by their names only.

    Example:
        >>> hide("hf_" + "aB3dEf6hIjK9" * 3, {})
        '[Hugging Face token, not shown]'
    """
    for value, kind in values.items():
        text = text.replace(value, f"[{kind}, not shown]")
    head, cut, rest = text.partition("…")
    if cut:
        for value, kind in values.items():
            for length in range(len(value) - 1, _MIN_BEGINNING - 1, -1):
                if head.endswith(value[:length]):
                    head = f"{head[:-length]}[{kind}, not shown]"
                    break
        text = head + cut + rest
    before = f'{name}": "'.encode("utf-8", "surrogatepass")
    data = before + text.encode("utf-8", "surrogatepass")
    for start, end, kind in sorted(islice(_places(data), _MAX_HIDDEN), reverse=True):
        if len(before) <= start:
            stop = _pem_end(data, start) if kind == _PRIVATE else end
            data = data[:start] + f"[{kind}, not shown]".encode() + data[stop:]
    return data[len(before) :].decode("utf-8", "surrogatepass")


def _pem_end(data: bytes, start: int) -> int:
    """Where a private key ends, or may end when its last line is not there."""
    end = data.find(b"-----END", start, start + _PEM_REACH)
    return end if end >= 0 else min(len(data), start + _PEM_REACH)


def _utf8(data: bytes) -> bytes:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace").encode("utf-8", "replace")
    return data


def _places(data: bytes) -> Iterator[tuple[int, int, str]]:
    for kind, words, form in _FORMS:
        for word in words:
            for at in _every(data, word):
                match = form.match(data, at)
                if match is not None and (form.groups == 0 or _fits(kind, match[1])):
                    yield *match.span(), kind
    lower = data.lower()
    for word in _NAMES:
        for at in _every(lower, word):
            if word in {b"key", b"token"} and not _BEFORE.match(lower, max(0, at - 12), at):
                continue
            match = (_BORNE if word == b"bearer" else _ASSIGNED).match(data, at + len(word))
            if match is not None and _looks_random(match[1]):
                yield *match.span(1), "secret by its name"


def _every(data: bytes, word: bytes) -> Iterator[int]:
    at = data.find(word)
    while at >= 0:
        yield at
        at = data.find(word, at + 1)


def _fits(kind: str, value: bytes) -> bool:
    if kind == _ADDRESS:
        return not _PLACEHOLDER.search(value) and value.lower() not in {b"password", b"pass"}
    return value.lower() != value and value.upper() != value and _bits(value) >= 2.5


def _looks_random(value: bytes) -> bool:
    if _PLACEHOLDER.search(value) or _bits(value) < _MIN_BITS:
        return False
    # `self.attention_keys_layer1` is made of words; a secret is not.
    words = sum(len(part) for part in _PARTS.split(value) if len(part) > 2 and part.isalpha())
    letters = any(65 <= byte <= 122 for byte in value)
    digits = any(48 <= byte <= 57 for byte in value)
    return letters and digits and words * 2 < len(value)


def _bits(value: bytes) -> float:
    """Shannon entropy of the characters, in bits."""
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values())
