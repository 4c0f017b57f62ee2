"""What is known of a place before a byte of it is read, and what better evidence would cost."""

from __future__ import annotations

from typing import Literal

import msgspec

from manifestd.model import media_types
from manifestd.model.entry import Problem
from manifestd.model.evidence import Grade
from manifestd.model.manifest import Size


class Advice(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One object's standing.

    Attributes:
        path: The object below the prefix.
        size: Bytes.
        best: The strongest checksum known now; ``versionId``, ``etag`` or ``size`` if there is none.
        grade: ``stored`` where the store vouches for it, else ``none``.
        says: What that is good for.
        requests: Requests that a sha256 would take without a batch job.
        bytes: Content bytes that a sha256 would take without a batch job.
        how: What to do for better evidence, empty if there is nothing better.
    """

    path: str
    size: Size
    best: str
    grade: Grade
    says: str
    requests: Size
    bytes: Size
    how: str


class Standing(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Objects that stand alike.

    Attributes:
        best: As in :class:`Advice`.
        grade: As in :class:`Advice`.
        says: What that is good for.
        how: What to do for better evidence, empty if there is nothing better.
        objects: How many.
        size: Sum of their sizes in bytes.
        requests: What a sha256 of all of them would take.
        bytes: Content bytes that it would take.
    """

    best: str
    grade: Grade
    says: str
    how: str
    objects: Size
    size: Size
    requests: Size
    bytes: Size


class Explanation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``snapshot s3 --explain`` prints; nothing was read for it.

    Attributes:
        schema: Always ``manifestd.explanation/v1``.
        source: The place.
        objects: How many there are.
        size: Sum of their sizes in bytes.
        standings: Objects by what is known of them, the largest sum of sizes first.
        requests: Requests that a sha256 of every object would take without a batch job.
        bytes: Content bytes that it would take.
        command: The batch job that gives every object a sha256 without reading any here;
            words in capitals are to be filled in. None if nothing is to be gained.
        advice: The single objects in the order they were listed, at most some thousands.
        more_advice: Objects not listed singly.
        problems: What the listing said besides, at most some hundreds.
        asked: Requests that this explanation took.
    """

    schema: Literal["manifestd.explanation/v1"] = media_types.SCHEMA_EXPLANATION
    source: str
    objects: Size
    size: Size
    standings: list[Standing]
    requests: Size
    bytes: Size
    command: str | None
    advice: list[Advice]
    more_advice: Size = 0
    problems: list[Problem] = []
    asked: Size = 0
