"""Models that were found rather than listed, and how they compare with the configuration."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

SCHEMA_DISCOVERY: Final = "manifestd.discovery/v1"


class FoundModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One place that is a model repository, or looks like one.

    Attributes:
        name: The model's name: ``org/name`` on the Hub, by the folder elsewhere.
        reference: What a snapshot of it takes: ``hf://org/name``, ``s3://bucket/folder/``.
        revision: Commit of the main branch, if the source says so.
        modified: When it last changed, as the source writes it.
        bytes: Bytes it takes, None where unknown. On the Hub that is its whole history.
        files: Number of files, None where unknown.
        licenses: Licences by the source's own word.
        gated: Its bytes are for those whom the owners let in.
        private: It is not public.
        formats: Kinds of weights seen (S3).
    """

    name: str
    reference: str
    revision: str | None = None
    modified: str | None = None
    bytes: int | None = None
    files: int | None = None
    licenses: list[str] = []
    gated: bool = False
    private: bool = False
    formats: list[str] = []


class Gap(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that stands on one list and not on another, or differently.

    Attributes:
        name: The model, or the place where nothing names one.
        what: One line for people.
        hint: One action, if there is one.
        facts: The values as data.
    """

    name: str
    what: str
    hint: str | None = None
    facts: dict[str, Any] = {}


class Discovery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``discover --format json`` prints.

    Attributes:
        source: Where was looked: the Hub's address, or ``s3://bucket/prefix/``.
        query: The conditions.
        found: Every model there.
        proposals: ``[[model]]`` entries, as TOML, for those that the configuration lacks.
        not_mirrored: At the source, and not mirrored as configured.
        not_listed: Mirrored or stored, and not in the configuration.
        gone: Configured, and not at the source.
        disagree: Models whose sides do not hold the same, by their latest snapshots.
        notes: What a reader must know besides.
    """

    schema: Literal["manifestd.discovery/v1"] = SCHEMA_DISCOVERY
    source: str
    query: dict[str, Any]
    found: list[FoundModel]
    proposals: str
    not_mirrored: list[Gap]
    not_listed: list[Gap]
    gone: list[Gap]
    disagree: list[Gap]
    notes: list[str] = []

    @property
    def covered(self) -> bool:
        """Whether list, source and mirrors agree."""
        return not (self.not_mirrored or self.not_listed or self.gone or self.disagree)
