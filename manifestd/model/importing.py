"""What ``import`` did (``manifestd.import/v1``)."""

from __future__ import annotations

from typing import Literal

import msgspec

from manifestd.model import media_types
from manifestd.model.bundlefile import SuggestedKey
from manifestd.model.snapshot import HexDigest

ImportKind = Literal["bundle", "sha256sum", "oms", "s3-inventory", "s3-checksums"]
StatementKind = Literal["approval", "revocation", "tag"]


class Brought(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A signed statement that came in a bundle, and what became of it.

    Attributes:
        kind: What it is.
        statement: Digest of its bundle.
        tag: ``NAME:TAG`` that it is about.
        by: Who it says it is by.
        state: ``taken`` now, ``known`` before, or ``refused``: it does not count here.
        why: Why it was refused.
    """

    kind: StatementKind
    statement: HexDigest
    tag: str
    by: str
    state: Literal["taken", "known", "refused"]
    why: str | None = None


class ImportResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came in, by ``import --format json``.

    Attributes:
        schema: Always ``manifestd.import/v1``.
        kind: What the file was found to be.
        file: Its name.
        digest: Its sha256.
        snapshots: Digests of the snapshots it gave, in its order.
        new: How many of them were not there before.
        statements: Approvals, revocations and tag moves that came along.
        suggested_keys: Keys its maker trusted. None of them is trusted by this.
        notes: What to know about the evidence, for people.
    """

    schema: Literal["manifestd.import/v1"] = media_types.SCHEMA_IMPORT
    kind: ImportKind
    file: str
    digest: HexDigest
    snapshots: list[HexDigest]
    new: int
    statements: list[Brought] = []
    suggested_keys: list[SuggestedKey] = []
    notes: list[str] = []
