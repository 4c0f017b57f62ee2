"""Whose signatures count, for what, and when. Made from the configuration, never from what is verified."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from manifestd.errors import UntrustedError
from manifestd.signing.base import Action
from manifestd.signing.public import PublicKey


class TrustedKey(msgspec.Struct, frozen=True, kw_only=True):
    """One trust entry.

    Attributes:
        key: The public key and its names.
        person: Who holds it; one person with two keys counts once.
        groups: Groups the person speaks for.
        may: What its signatures count for.
        from_: First moment at which they count; None: always did.
        until: Last moment at which they count; None: no end.
    """

    key: PublicKey
    person: str
    groups: list[str] = []
    may: list[Action]
    from_: datetime | None = None
    until: datetime | None = None


class Trust(msgspec.Struct, frozen=True):
    """All trust entries; a key may stand in several (roles with different ends)."""

    entries: list[TrustedKey] = []

    def keys(self) -> Iterator[PublicKey]:
        """Each trusted key once, in the order of the configuration."""
        yield from {entry.key.key_id: entry.key for entry in self.entries}.values()

    def entries_of(self, key: PublicKey) -> list[TrustedKey]:
        """The entries of ``key``."""
        return [entry for entry in self.entries if entry.key.pem == key.pem]

    def person(self, key: PublicKey) -> str | None:
        """Who holds ``key``; None when it is not trusted at all."""
        return next((entry.person for entry in self.entries_of(key)), None)

    def allows(self, key: PublicKey, action: Action, at: datetime) -> bool:
        """Whether a signature of ``key`` for ``action`` counts at that moment."""
        return any(_objection(entry, action, at) is None for entry in self.entries_of(key))

    def require(self, key: PublicKey, action: Action, at: datetime) -> TrustedKey:
        """The entry by which a signature of ``key`` counts.

        Raises:
            UntrustedError: None does; ``why`` says for each what is in the way.
        """
        objections: list[str] = []
        for entry in self.entries_of(key):
            objection = _objection(entry, action, at)
            if objection is None:
                return entry
            objections.append(objection)
        person = self.person(key)
        raise UntrustedError(
            f"the key {key.key_id[:12]} of {person} does not count for {action} here"
            if person
            else f"the key {key.key_id[:12]} is not trusted",
            why="; ".join(objections) or "it stands in no [[trust]] entry of the configuration",
            facts={"keyId": key.key_id, "person": person, "action": action},
        )


def _objection(entry: TrustedKey, action: Action, at: datetime) -> str | None:
    if action not in entry.may:
        return f"it may {', '.join(entry.may) or 'nothing'}, not {action}"
    if entry.from_ is not None and at < entry.from_:
        return f"it counts from {entry.from_:%Y-%m-%d}, this is of {at:%Y-%m-%d}"
    if entry.until is not None and at > entry.until:
        return f"it counted until {entry.until:%Y-%m-%d}, this is of {at:%Y-%m-%d}"
    return None
