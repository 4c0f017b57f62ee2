"""What every reader may use at most, and how it says no."""

from __future__ import annotations

from typing import Any, Final

from manifestd import canonical
from manifestd.errors import NotCanonicalError
from manifestd.model.entry import RegionDigest
from manifestd.model.region import Region

MAX_FACTS: Final = 8 * 1024 * 1024
"""Bytes a facts document may have in canonical form."""
MAX_INTEGER: Final = canonical.MAX_INTEGER

_EMPTY: Final = {
    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "blake3": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
}


class RefusedError(Exception):
    """A file is outside what a reader is sure about; the text says why. Never leaves formats/."""


def refusal(version: str, why: str) -> dict[str, Any]:
    """Facts of a refused file: bytes only, with the reason."""
    return {"format": version, "refused": why[:500]}


def bounded(facts: dict[str, Any]) -> dict[str, Any]:
    """``facts``, or when they are too large their counts and one digest over what was left out.

    ``tensors`` and ``records`` are replaced by ``{"count", "sha256"}``: two such
    files can still be found equal, but not explained.
    """
    try:
        encoded = canonical.encode(facts)
    except NotCanonicalError:
        return refusal(facts["format"], "a name has a lone surrogate")
    if len(encoded) <= MAX_FACTS:
        return facts
    short = dict(facts)
    for name in ("tensors", "records", "kv", "metadata"):
        if name in short:
            items = short.pop(name)
            complete = all("digest" in item for item in items if isinstance(item, dict))
            short.setdefault("summarised", {})[name] = {
                "count": len(items),
                "sha256": canonical.sha256_hex(canonical.encode(_comparable(items))),
                "complete": complete,
            }
    return short


def _comparable(items: list[Any]) -> list[Any]:
    """Items without their position in the file, in an order that does not depend on it."""
    plain = [
        {key: value for key, value in item.items() if key not in {"begin", "end"}}
        if isinstance(item, dict)
        else item
        for item in items
    ]
    return sorted(plain, key=canonical.encode)


def digests_of(
    regions: list[RegionDigest] | None, wanted: list[Region]
) -> tuple[str | None, dict[tuple[str, int, int], str]]:
    """The algorithm and the digests by (name, begin, end); (None, {}) when nothing was streamed."""
    if not regions:
        # Nothing but empty ranges was wanted of a file that was streamed: any algorithm will do.
        return (None, {}) if regions is None or wanted else ("blake3", {})
    algorithms = {region.algorithm for region in regions}
    if len(algorithms) != 1:
        return None, {}
    found = {(one.name, one.begin, one.end): one.digest for one in regions}
    return algorithms.pop(), found


def empty_digest(algorithm: str | None) -> str | None:
    """Digest of no bytes under an algorithm of regions."""
    return _EMPTY.get(algorithm or "")
