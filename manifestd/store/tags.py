"""Tags as the log has them: the last move of a ``NAME:TAG`` says what it names.

There is no table of tags that could say something else. A move is a signed
statement; this room keeps it and knows its place, signatures are not its matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from manifestd.errors import MalformedError, TamperedError, UndecidedError
from manifestd.model.envelope import digests_of
from manifestd.model.logentry import LogEntry
from manifestd.model.tag import TagPredicate, Target, check_tag, read_tag_statement
from manifestd.store.blobs import Blobs
from manifestd.store.database import Database
from manifestd.store.log import Log
from manifestd.store.rows import payload_of


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One move of a tag.

    Attributes:
        entry: Its entry in the log.
        claim: What the statement says.
        bundle: The signed statement; its signature is not verified here.
    """

    entry: LogEntry
    claim: TagPredicate
    bundle: bytes


class Tags:
    """The tags of a store."""

    def __init__(self, database: Database, blobs: Blobs, log: Log) -> None:
        self._database = database
        self._blobs = blobs
        self._log = log

    def move(self, bundle: bytes, at: datetime, *, adopt: bool = False) -> LogEntry:
        """Store and log a signed move, if the tag still names what the move says it does.

        Of two processes that move one tag at the same time the first wins.

        Args:
            bundle: The signed move.
            at: When it is logged.
            adopt: Take it as the first move of a tag that has no history here, although it
                had one elsewhere. Only for a store that is thrown away: `store check` finds it.

        Raises:
            UndecidedError: The tag was moved meanwhile; nothing is changed.
            MalformedError: Not a bundle with a statement about a tag, or made before.
            StoreLockedError: Another process writes.
        """
        claim = claim_of(bundle)
        with self._database.transaction():
            last = self.last_move(claim.tag)
            names = None if last is None else last.claim.to
            if names != claim.from_ and not (adopt and last is None):
                raise _moved(claim.tag, last)
            documents = digests_of(bundle)
            if self._log.is_logged(documents):
                raise MalformedError(f"this move of {claim.tag} has been made before")
            self._blobs.put_as(bundle, "statement")
            return self._log.append(
                "tag",
                documents[0],
                at,
                {
                    "tag": claim.tag,
                    "snapshot": claim.to.snapshot if claim.to else None,
                    "manifest": claim.to.manifest if claim.to else None,
                    "from": claim.from_.snapshot if claim.from_ else None,
                    "by": claim.by,
                },
            )

    def target(self, tag: str, until: int | None = None) -> Target | None:
        """What a tag names, or named at a time; None: nothing.

        Args:
            tag: ``NAME:TAG``.
            until: Microseconds since 1970; moves logged later are left out.

        Raises:
            UsageError: Not a tag.
            TamperedError: The log or a statement is damaged.
        """
        last = self.last_move(check_tag(tag), until)
        return None if last is None else last.claim.to

    def last_move(self, tag: str, until: int | None = None) -> Move | None:
        """The last move of a tag (a deletion is one too); errors as :meth:`target`."""
        found = self._log.entries(kinds=["tag"], tag=tag, until=until, newest_first=True, limit=1)
        return next(map(self._move, found), None)

    def history(self, tag: str) -> Iterator[Move]:
        """All moves of a tag, oldest first; errors as :meth:`target`."""
        for entry in self._log.entries(kinds=["tag"], tag=check_tag(tag)):
            yield self._move(entry)

    def moves(self) -> Iterator[Move]:
        """All moves of all tags, oldest first."""
        for entry in self._log.entries(kinds=["tag"]):
            yield self._move(entry)

    def current(self, *, name: str | None = None, until: int | None = None) -> list[Move]:
        """The last move of each tag that names something, in the order of the tags.

        Args:
            name: Only tags ``name:…``, or this one ``NAME:TAG``.
            until: As of this time, in microseconds since 1970.
        """
        found: list[Move] = []
        for tag in self._log.tags():
            if name is None or name in {tag, tag.rpartition(":")[0]}:
                move = self.last_move(tag, until)
                if move is not None and move.claim.to is not None:
                    found.append(move)
        return found

    def names(self) -> list[str]:
        """Every ``NAME:TAG`` there is or was, for hints."""
        return self._log.tags()

    def _move(self, entry: LogEntry) -> Move:
        bundle = self._blobs.get(entry.document)
        # A signed statement is true once. Logged again it would move the tag back unasked.
        if self._log.is_logged(digests_of(bundle), times=2):
            raise TamperedError(f"the move of {entry.tag} in entry {entry.index} was logged twice")
        claim = claim_of(bundle)
        check_move(entry, claim)
        return Move(entry=entry, claim=claim, bundle=bundle)


def claim_of(bundle: bytes) -> TagPredicate:
    """The claim in a bundle about a tag. Nothing is verified.

    Raises:
        MalformedError: Not a bundle with such a statement.
        NotCanonicalError: Not canonical bytes.
    """
    return read_tag_statement(payload_of(bundle))


def check_move(entry: LogEntry, claim: TagPredicate) -> None:
    """Check that an entry of the log says what its statement says.

    Raises:
        TamperedError: It does not.
    """
    said = (entry.tag, entry.fact("snapshot"), entry.fact("from"))
    is_so = (
        claim.tag,
        claim.to.snapshot if claim.to else None,
        claim.from_.snapshot if claim.from_ else None,
    )
    if said != is_so:
        raise TamperedError(
            f"entry {entry.index} of the log is not what its statement says of {claim.tag}"
        )


def _moved(tag: str, last: Move | None) -> UndecidedError:
    names = None if last is None else last.claim.to
    by = "" if last is None else f" by {last.claim.by} at {last.entry.at}"
    return UndecidedError(
        f"{tag} was moved meanwhile{by}",
        why=f"it names {names.snapshot if names else 'nothing'} now; nothing was changed",
        hint=f"look at `manifestd tag --history {tag}`, then decide again",
        facts={"tag": tag, "snapshot": names.snapshot if names else None},
    )
