"""One ``[[trust]]`` entry as the configuration spells it (light: no cryptography is imported)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Protocol

import msgspec

from manifestd.signing.base import Action

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class TrustEntry(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"from_": "from"},
):
    """Whose signatures count, for what, and when.

    Attributes:
        key: Path of a public key in PEM, relative to the configuration file.
        person: Who holds it; one person with two keys counts once.
        groups: Groups the person speaks for.
        may: What its signatures count for.
        from_: First moment; a bare date is the start of that day, UTC.
        until: Last moment; a bare date is the end of that day, UTC.
    """

    key: str
    person: Annotated[str, msgspec.Meta(min_length=1)]
    groups: list[str] = []
    may: list[Action] = msgspec.field(default_factory=lambda: ["snapshot"])
    from_: Moment | None = None
    until: Moment | None = None


class TrustSource(Protocol):
    """Where trust entries come from: the configuration."""

    @property
    def trust(self) -> list[TrustEntry]:
        """The entries, in their order."""

    @property
    def label(self) -> str:
        """The file's name, for errors."""

    def resolve(self, path: str) -> Path:
        """A path in an entry, relative to the file, as one that can be opened."""
