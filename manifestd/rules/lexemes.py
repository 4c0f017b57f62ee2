"""Leaves of parsed documents that are compared by more than their Python value."""

from __future__ import annotations

from typing import Final, final

from manifestd.errors import MalformedError

MAX_NUMBER: Final = 1024
"""Characters a number may have; no reader agrees with another beyond (specs: 4,300 in Python)."""
_MAX_EXPONENT: Final = 6


@final
class Leaf:
    """A scalar with a comparison key and the text it was written as.

    Attributes:
        key: What equality means. Never equal to a plain Python value.
        text: How the document spells it.
    """

    __slots__ = ("key", "text")

    def __init__(self, key: tuple[object, ...], text: str) -> None:
        self.key = key
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Leaf) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Leaf({self.text!r})"


def integer(lexeme: str) -> int:
    """A JSON integer by its exact value.

    Raises:
        MalformedError: Longer than :data:`MAX_NUMBER`, or ``-0``, which is the integer 0
            for some readers and the real -0.0 for others.
    """
    if len(lexeme) > MAX_NUMBER:
        raise MalformedError(f"a number has {len(lexeme)} digits; at most {MAX_NUMBER} are read")
    if lexeme == "-0":
        raise MalformedError("the integer -0 means different values to different readers")
    return int(lexeme)


def real(lexeme: str) -> Leaf:
    """A JSON real by its exact decimal value, the sign of zero kept; nothing is rounded.

    Example:
        >>> real("1e-05") == real("0.00001"), real("0.0") == real("-0.0"), real("1.0") == 1
        (True, False, False)

    Raises:
        MalformedError: Too long, or an exponent of more than six digits.
    """
    if len(lexeme) > MAX_NUMBER:
        raise MalformedError(f"a number has {len(lexeme)} digits; at most {MAX_NUMBER} are read")
    body, _, power = lexeme.lower().partition("e")
    if len(power.lstrip("+-0")) > _MAX_EXPONENT:
        raise MalformedError(f"the exponent of {lexeme[:40]} is out of all bounds")
    sign = "-" if body.startswith("-") else ""
    whole, _, fraction = body.removeprefix("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or "0") - len(fraction)
    stripped = digits.rstrip("0")
    exponent = exponent + len(digits) - len(stripped) if stripped else 0
    return Leaf(("real", sign, stripped, exponent), lexeme)


def is_real(value: object) -> bool:
    """Whether a leaf came from :func:`real`."""
    return isinstance(value, Leaf) and value.key[0] == "real"
