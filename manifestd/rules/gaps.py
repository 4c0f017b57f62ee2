"""How to close a gap in the evidence: the cheapest command that would decide."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from manifestd.model.entry import File
from manifestd.model.evidence import Grade, at_least
from manifestd.rules.layouts import layout_of
from manifestd.rules.pointers import is_pointer

_COMMANDS: Final = {
    "hf://": "hf",
    "s3://": "s3",
    "file://": "dir",
    "hf-cache://": "cache",
    "oci://": "oci",
}
_COMPOSITE: Final = "sha256-composite"
_ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes that S3 reads only after a restore."""


def closing(
    left: File, right: File, places: tuple[str, str], min_evidence: Grade = "none"
) -> str | None:
    """The cheapest command that makes the two sides comparable by a strong digest.

    Usually it gives the side without a sha256 one. Where that side has a composite of
    sha256 over parts of one size, reading the *other* side decides as well: taken where
    that costs less, because the other is a directory or must be read anyway.

    Args:
        left: The left side's knowledge.
        right: The right side's.
        places: References of the two sides, with their revision where they have one.
        min_evidence: The grade asked for; weaker digests are re-read.

    Returns:
        A sentence with the command; None where no place is known or nothing is missing.
    """
    files = (left, right)
    for index in (1, 0):
        command = _across(files[1 - index], places[1 - index], files[index], places[index])
        if command is not None:
            return f"run `{command}`, which reads nothing of {places[index]}, then compare again"
    if any(map(_archived, files)):
        return (
            "let S3 compute the checksum of the archived object at rest (snapshot s3 --explain "
            "prints the job): reading it takes a restore, which manifestd never asks for"
        )
    commands = [
        command
        for file, place in zip(files, places, strict=True)
        if (command := _command(file, place, min_evidence)) is not None
    ]
    if not commands:
        return None
    free = any(
        file.sha256 is None and place.startswith("s3://")
        for file, place in zip(files, places, strict=True)
    )
    without = " (or let S3 compute it, without reading: --explain)" if free else ""
    return "run `" + " && ".join(dict.fromkeys(commands)) + f"`{without}, then compare again"


def _across(read: File, place: str, other: File, other_place: str) -> str | None:
    """Reading one side by the other's algorithm, where that is cheaper than reading the other."""
    if other.sha256 is not None or not _comparable(other):
        return None
    if not place.startswith("file://") and read.sha256 is not None:
        return None
    command = snapshot_command(place, "missing")
    return f"{command} --evidence-for {shlex.quote(other_place)}" if command else None


def _comparable(file: File) -> bool:
    """Whether a side without a sha256 has what proves equality once the other side has it, too."""
    known = file.seen.digests
    return "sha512" in known or (
        _COMPOSITE in known and isinstance(layout_of(file, _COMPOSITE), int)
    )


def _archived(file: File) -> bool:
    return file.sha256 is None and file.seen.hints.get("storageClass") in _ARCHIVES


def snapshot_command(place: str, read: str) -> str | None:
    """The command that reads a place again, quoted for a shell; None for unknown kinds."""
    for scheme, name in _COMMANDS.items():
        if place.startswith(scheme):
            return f"manifestd snapshot {name} {shlex.quote(place)} --read {read}"
    return None


def _command(file: File, place: str, min_evidence: Grade) -> str | None:
    if file.sha256 is None:
        # Reading a pointer gives no content, however often it is read.
        return None if is_pointer(file) else snapshot_command(place, "missing")
    if not at_least(file.grade(), min_evidence):
        return snapshot_command(place, "all")
    return None


def naming(digested: Sequence[bool], places: tuple[str, str]) -> str | None:
    """What lets a comparison name changed tensors, where some were only listed.

    Args:
        digested: Whether each side's tensors have digests.
        places: References of the two sides, with their revision where they have one.

    Returns:
        A sentence with the command; None where no place is known or nothing is missing.
    """
    commands = [
        command
        for known, place in zip(digested, places, strict=True)
        if not known and (command := snapshot_command(place, "all")) is not None
    ]
    if not commands:
        return None
    return "to name the changed tensors, run `" + " && ".join(dict.fromkeys(commands)) + "`"
