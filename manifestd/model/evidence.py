"""Evidence: how a digest is known (contract, section 1)."""

from __future__ import annotations

from typing import Final, Literal

Grade = Literal["measured", "reused", "stored", "declared", "none"]

MEASURED: Final = "measured"
"""manifestd read these bytes."""
REUSED: Final = "reused"
"""Measured earlier; the source proves the object unchanged since."""
STORED: Final = "stored"
"""A full-object checksum that the store verified on upload or computed at rest."""
DECLARED: Final = "declared"
"""A listing says so."""
NONE: Final = "none"
"""Nothing is known."""

GRADES: Final[tuple[Grade, ...]] = ("measured", "reused", "stored", "declared", "none")
"""Strongest first."""

_RANK: Final[dict[str, int]] = {grade: rank for rank, grade in enumerate(GRADES)}


def weaker(left: str, right: str) -> str:
    """The weaker of two grades.

    Example:
        >>> weaker("measured", "declared")
        'declared'
    """
    return left if _RANK[left] >= _RANK[right] else right


def at_least(grade: str, minimum: str) -> bool:
    """Whether ``grade`` is as strong as ``minimum``."""
    return _RANK[grade] <= _RANK[minimum]
