"""Whose signatures count, for what, and when. Made from the configuration, never from what is verified."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from manifestd.errors import ConfigError, MalformedError, UntrustedError
from manifestd.signing.base import Action
from manifestd.signing.entry import TrustSource
from manifestd.signing.public import MAX_PEM, PublicKey, read_public_key


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

    def counts(self, action: Action, at: datetime) -> bool:
        """Whether a signature for ``action`` counts by this entry at that moment."""
        return _objection(self, action, at) is None


class Trust(msgspec.Struct, frozen=True):
    """All trust entries; a key may stand in several (roles with different ends)."""

    entries: list[TrustedKey] = []

    def public_keys(self) -> Iterator[PublicKey]:
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
        hint = f'only if it should count: give it a [[trust]] entry with "{action}" in `may`'
        for entry in self.entries_of(key):
            objection = _objection(entry, action, at)
            if objection is None:
                return entry
            objections.append(objection)
            if action in entry.may:
                hint = "only if it should count: correct `from` and `until` of its [[trust]] entry"
        person = self.person(key)
        raise UntrustedError(
            f"the key {key.key_id[:12]} of {person} does not count for {action} here"
            if person
            else f"the key {key.key_id[:12]} is not trusted",
            why="; ".join(objections) or "it stands in no [[trust]] entry of the configuration",
            hint=hint,
            facts={"keyId": key.key_id, "person": person, "action": action},
        )


def load_trust(source: TrustSource) -> Trust:
    """Read the keys that the configuration trusts.

    Raises:
        ConfigError: A key cannot be read, is not a public key, or is said to be
            that of two persons; the message names the entry.
    """
    entries: list[TrustedKey] = []
    for number, entry in enumerate(source.trust):
        where = f"trust[{number}].key"
        key = _read_key(source, entry.key, where)
        twin = next((known for known in entries if known.key.pem == key.pem), None)
        if twin is not None and twin.person != entry.person:
            raise ConfigError(
                f"{source.label}: {where}: the key of {twin.person!r} stands here for"
                f" {entry.person!r} too",
                why="a key speaks for one person",
                facts={"key": where},
            )
        entries.append(
            TrustedKey(
                key=key,
                person=entry.person,
                groups=entry.groups,
                may=entry.may,
                from_=entry.from_,
                until=entry.until,
            )
        )
    return Trust(entries)


def _read_key(source: TrustSource, text: str, where: str) -> PublicKey:
    path = source.resolve(text)
    facts = {"key": where, "path": str(path)}
    try:
        with path.open("rb") as file:
            return read_public_key(file.read(MAX_PEM + 1))
    except OSError as error:
        raise ConfigError(
            f"{source.label}: {where}: {path} cannot be read: {error.strerror}", facts=facts
        ) from error
    except MalformedError as error:
        raise ConfigError(
            f"{source.label}: {where}: {path}: {error.what}", hint=error.hint, facts=facts
        ) from error


def _objection(entry: TrustedKey, action: Action, at: datetime) -> str | None:
    if action not in entry.may:
        return f"it may {', '.join(entry.may) or 'nothing'}, not {action}"
    if entry.from_ is not None and at < entry.from_:
        return "it counts from {}, this is of {}".format(*_told(entry.from_, at))
    if entry.until is not None and at > entry.until:
        return "it counted until {}, this is of {}".format(*_told(entry.until, at))
    return None


def _told(*moments: datetime) -> list[str]:
    """Days, or also the times of day where the days do not tell the moments apart."""
    utc = [moment.astimezone(UTC) for moment in moments]
    form = "%Y-%m-%d" if len({moment.date() for moment in utc}) > 1 else "%Y-%m-%dT%H:%M:%SZ"
    return [moment.strftime(form) for moment in utc]
