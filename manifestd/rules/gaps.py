"""How to close a gap in the evidence: the cheapest command that would decide."""

from __future__ import annotations

import shlex
from typing import Final

from manifestd.model.entry import File
from manifestd.model.evidence import Grade, at_least

_COMMANDS: Final = {
    "hf://": "hf",
    "s3://": "s3",
    "file://": "dir",
    "hf-cache://": "cache",
    "oci://": "oci",
}


def closing(
    left: File, right: File, places: tuple[str, str], min_evidence: Grade = "none"
) -> str | None:
    """The command that gives both sides a sha256 of the wanted grade.

    Args:
        left: The left side's knowledge.
        right: The right side's.
        places: References of the two sides, with their revision where they have one.
        min_evidence: The grade asked for; weaker digests are re-read.

    Returns:
        ``manifestd snapshot s3 s3://b/p/ --read missing``, for both sides where both
        lack it; None where no place is known or nothing is missing.
    """
    commands = [
        command
        for file, place in zip((left, right), places, strict=True)
        if (command := _command(file, place, min_evidence)) is not None
    ]
    if not commands:
        return None
    return "run `" + " && ".join(dict.fromkeys(commands)) + "`, then compare again"


def snapshot_command(place: str, read: str) -> str | None:
    """The command that reads a place again, quoted for a shell; None for unknown kinds."""
    for scheme, name in _COMMANDS.items():
        if place.startswith(scheme):
            return f"manifestd snapshot {name} {shlex.quote(place)} --read {read}"
    return None


def _command(file: File, place: str, min_evidence: Grade) -> str | None:
    if file.sha256 is None:
        return snapshot_command(place, "missing")
    if not at_least(file.grade(), min_evidence):
        return snapshot_command(place, "all")
    return None
