"""How a publisher's OpenSSF model signature meets the digests of a stored snapshot."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from manifestd.model import media_types

Answer = Literal["verified", "mismatch", "cannot check", "bad signature"]

EXIT_CODES: Final[dict[Answer, int]] = {
    "verified": 0,
    "mismatch": 4,
    "cannot check": 3,
    "bad signature": 4,
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a claim meets the files of a snapshot.

    Attributes:
        answer: One of the four answers.
        why: The reason, unless everything is verified.
        files: Files whose digests agree.
        changed: Files with another digest.
        missing: Signed files that are not there.
        extra: Files that are there, not signed and not ignored.
        not_covered: Files that are there and that the signature ignores: free to change.
        unknown: Files that stored digests cannot decide, each with the reason.
    """

    answer: Answer
    why: str | None = None
    files: int = 0
    changed: list[str] = []
    missing: list[str] = []
    extra: list[str] = []
    not_covered: list[str] = []
    unknown: list[str] = []


class OmsResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``oms verify --format json`` prints (``manifestd.oms/v1``)."""

    schema: Literal["manifestd.oms/v1"] = media_types.SCHEMA_OMS
    snapshot: str
    manifest: str | None
    source: str
    model: str | None
    key: str | None
    answer: Answer
    outcome: Outcome
