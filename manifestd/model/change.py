"""Diffs: what two snapshots have in common and what not (contract, section 5, ``manifestd.diff/v1``)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from manifestd.model import media_types
from manifestd.model.entry import Role
from manifestd.model.evidence import Grade

Verdict = Literal[
    "identical", "equivalent", "different", "leftOnly", "rightOnly", "moved", "unverifiable"
]
ModelVerdict = Literal["identical", "moved", "equivalent", "unverifiable", "different"]
Result = Literal["pass", "fail", "unknown", "error"]
Impact = Literal["none", "cosmetic", "metadata", "behaviour", "security"]
SignatureState = Literal["verified", "untrusted", "unsigned", "invalid"]

IMPACTS: Final[tuple[Impact, ...]] = ("none", "cosmetic", "metadata", "behaviour", "security")
"""Weakest first."""


class Side(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One of the two snapshots, as the diff names it."""

    snapshot: str
    manifest: str | None
    source: str
    revision: str | None
    captured_at: str
    signature: SignatureState
    name: str = ""
    signed_by: list[str] = []
    complete: bool = True


class FileSide(msgspec.Struct, frozen=True, kw_only=True):
    """One side's knowledge of a file; ``evidence`` is the grade of its strongest digest."""

    size: int
    digests: dict[str, str]
    evidence: Grade


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """Why a file's verdict holds: the common algorithm and how each side knows its value."""

    algorithm: str
    left: Grade
    right: Grade


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One explained difference inside a file.

    Attributes:
        at: JSON pointer, tensor name, ``line 12`` or ``bytes 67108864-134217727``.
        left: Old value, bounded; absent where there was none.
        right: New value, bounded; absent where there is none.
        what: A sentence, where values alone do not say it.
        impact: Class by the rules table, where one applies.
        reason: The rule's reason for that class.
    """

    at: str
    left: Any = msgspec.UNSET
    right: Any = msgspec.UNSET
    what: str | None = None
    impact: Impact | None = None
    reason: str | None = None


class TensorDiff(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tensors of one weight file: how many are the same, and which are not."""

    same: int = 0
    unknown: int = 0
    changed: list[str] = []
    left_only: list[str] = []
    right_only: list[str] = []
    metadata: Literal["same", "changed", "unknown"] = "same"


class FileDiff(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One file's verdict with its basis, both sides and what explains it.

    ``rightPath`` is the right side's own name, where a path rule says that it stands for ``path``.
    """

    path: str
    verdict: Verdict
    # From factories: readers want to find `other` and `none` written out, and a plain default
    # would be left out.
    role: Role = msgspec.field(default_factory=lambda: "other")
    impact: Impact = msgspec.field(default_factory=lambda: "none")
    left: FileSide | None = None
    right: FileSide | None = None
    basis: Basis | None = None
    reason: str | None = None
    hint: str | None = None
    moved_from: str | None = None
    right_path: str | None = None
    changes: list[Change] = []
    more_changes: int = 0
    tensors: TensorDiff | None = None
    summary: str | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Files by verdict."""

    identical: int = 0
    equivalent: int = 0
    different: int = 0
    left_only: int = 0
    right_only: int = 0
    moved: int = 0
    unverifiable: int = 0


class WeightsDiff(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Digest of the set of (tensor, dtype, shape, tensor digest) over all weight files.

    Attributes:
        left: The left side's, where every tensor's digest is known.
        right: The right side's.
        equal: Whether the same tensors stand on both sides; None when that is unknown, or when
            neither side has weights (large or equal lists that need not be read count as equal).
        summary: One line for people, where tensors stand in other files than they did, or where
            neither side has weights.
        tensors: Then: the tensors of those files by name, whatever file they stand in.
        changes: Then: those that are not the same; bounded.
    """

    left: str | None
    right: str | None
    equal: bool | None
    summary: str | None = None
    tensors: TensorDiff | None = None
    changes: list[Change] = []


class Diff(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The whole comparison. ``files`` is in path order; identical ones may be left out on request."""

    schema: Literal["manifestd.diff/v1"] = media_types.SCHEMA_DIFF
    left: Side
    right: Side
    verdict: ModelVerdict
    result: Result
    counts: Counts
    files: list[FileDiff]
    weights: WeightsDiff
    notes: list[str] = []
    findings: list[dict[str, Any]] = []
