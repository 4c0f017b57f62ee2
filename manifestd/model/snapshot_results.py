"""What ``snapshot cache --all --format json`` prints: many snapshots, and what failed, as one document."""

from __future__ import annotations

from typing import Literal

import msgspec

from manifestd.model.failure import Failure
from manifestd.model.snapshot import SnapshotResult


class NotTaken(msgspec.Struct, frozen=True, kw_only=True):
    """A place of which no snapshot could be taken, and why."""

    reference: str
    error: Failure


class SnapshotResults(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Results in the order of the places (``manifestd.snapshot-results/v1``).

    Attributes:
        schema: Always ``manifestd.snapshot-results/v1``.
        snapshots: What was stored.
        failures: What could not be taken; it never keeps the rest from being taken.
        exit_code: 4 before 3 before 0.
    """

    schema: Literal["manifestd.snapshot-results/v1"] = "manifestd.snapshot-results/v1"
    snapshots: list[SnapshotResult]
    failures: list[NotTaken]
    exit_code: int
