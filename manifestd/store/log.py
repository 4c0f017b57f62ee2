"""The history log: an append-only Merkle tree over what happened in this store.

Entries are blobs; the tables here are an index of them, and the nodes of the
tree, so that a proof reads a few rows. Whoever can write the file can rewrite
all of it: what makes that visible is a checkpoint kept elsewhere (docs/security.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from manifestd.errors import MalformedError, NotStoredError, TamperedError
from manifestd.model.logentry import Fact, LogEntry, LogKind, decode_entry, encode_entry, time_text
from manifestd.rules import merkle
from manifestd.store.blobs import Blobs, raw_digest
from manifestd.store.database import Database
from manifestd.store.rows import microseconds

INSERT_ENTRY: Final = "INSERT INTO log(id, blob, kind, tag, document, at) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_NODE: Final = "INSERT INTO log_node(level, position, hash) VALUES (?, ?, ?)"
COLUMNS: Final = "log.id, log.kind, log.tag, log.document, log.at, blob.digest"

_PAGE: Final = 500

IndexRow = tuple[int, str, str | None, bytes, int]


class Log:
    """The history of a store."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs
        self._grown: tuple[int, merkle.Frontier] | None = None

    @property
    def size(self) -> int:
        """Number of entries."""
        last = self._database.number("SELECT id FROM log ORDER BY id DESC LIMIT 1")
        return 0 if last is None else last + 1

    def append(
        self,
        kind: LogKind,
        document: str,
        at: datetime,
        facts: dict[str, Fact] | None = None,
    ) -> LogEntry:
        """Append one entry. Call it in the transaction that stores what it is about.

        Args:
            kind: What happened.
            document: Digest of the document about it, which must be stored already.
            at: Now.
            facts: A few short values to find the entry by; ``tag`` is the ``NAME:TAG``
                it concerns, ``snapshot`` and ``manifest`` are digests.

        Raises:
            MalformedError: Too large, no such digest, or the document is not stored.
            TamperedError: The tree's nodes are damaged.
        """
        if not self._blobs.has(document):
            raise MalformedError(f"the log cannot name a document that is not stored: {document}")
        with self._database.transaction():
            frontier = self._frontier()
            entry = LogEntry(
                index=frontier.size,
                kind=kind,
                at=time_text(at),
                document=document,
                facts=facts or {},
            )
            data = encode_entry(entry)
            blob = self._blobs.put_as(data, "entry")
            self._database.run(INSERT_ENTRY, (entry.index, blob, *index_row(entry)[1:]))
            grown, nodes = merkle.grow(frontier, merkle.leaf_hash(data))
            self._database.many(INSERT_NODE, node_rows(nodes))
            self._grown = (self._database.begun, grown)
        return entry

    def _frontier(self) -> merkle.Frontier:
        """Where the tree grows on: known if it grew in this transaction, read otherwise."""
        if self._grown is not None and self._grown[0] == self._database.begun:
            return self._grown[1]
        return merkle.frontier_of(self.size, self.node)

    def node(self, level: int, position: int) -> bytes:
        """Hash of a perfect node of the tree.

        Raises:
            TamperedError: There is none, or it is no hash.
        """
        row = self._database.one(
            "SELECT hash FROM log_node WHERE level = ? AND position = ?", (level, position)
        )
        if row is None or not isinstance(row[0], bytes) or len(row[0]) != merkle.HASH_SIZE:
            raise _damaged(f"node {position} of level {level} is missing or no hash")
        return bytes(row[0])

    def root(self, size: int | None = None) -> bytes:
        """Root hash over the first ``size`` entries (None: all), from the kept nodes.

        Raises:
            MalformedError: The log is shorter.
            TamperedError: The tree's nodes are damaged.
        """
        whole = self.size
        wanted = whole if size is None else size
        if not 0 <= wanted <= whole:
            raise MalformedError(f"a log of {whole} entries has no root over {wanted}")
        return merkle.frontier_of(wanted, self.node).root()

    def raw(self, index: int) -> bytes:
        """The bytes of an entry, which are its leaf.

        Raises:
            NotStoredError: The log has no such entry.
            TamperedError: They are not those the tree was made of.
        """
        row = self._database.one(
            f"SELECT {COLUMNS} FROM log JOIN blob ON blob.id = log.blob WHERE log.id = ?", (index,)
        )
        if row is None:
            if index < self.size:
                raise _damaged(f"entry {index} is missing")
            raise NotStoredError(
                f"the log has no entry {index}", hint=f"it has {self.size}: see `manifestd log`"
            )
        return self._checked(row)[1]

    def entry(self, index: int) -> LogEntry:
        """One entry; errors as :meth:`raw`."""
        return decode_entry(self.raw(index))

    def entries(
        self,
        *,
        kinds: Sequence[str] = (),
        tag: str | None = None,
        document: str | None = None,
        until: int | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[LogEntry]:
        """Entries in the order they were logged, or the newest first.

        Args:
            kinds: Only of these kinds.
            tag: Only about this ``NAME:TAG``.
            document: Only about this document.
            until: Only what was logged until then, in microseconds since 1970.
            newest_first: The other way round.
            limit: At most so many.

        Raises:
            TamperedError: A row is not what its entry says, or not what the tree was made of.
        """
        found = self._found(
            kinds=kinds,
            tag=tag,
            document=document,
            until=until,
            newest_first=newest_first,
            limit=limit,
        )
        return (entry for entry, _ in found)

    def leaves(self, size: int) -> Iterator[bytes]:
        """The bytes of the first ``size`` entries, in order; errors as :meth:`entries`."""
        return (data for _, data in self._found(limit=size))

    def _found(
        self,
        *,
        kinds: Sequence[str] = (),
        tag: str | None = None,
        document: str | None = None,
        until: int | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[LogEntry, bytes]]:
        conditions: list[str] = []
        values: list[Any] = []
        if kinds:
            conditions.append(f"log.kind IN ({', '.join('?' * len(kinds))})")
            values += kinds
        if tag is not None:
            conditions.append("log.tag = ?")
            values.append(tag)
        if document is not None:
            conditions.append("log.document = ?")
            values.append(raw_digest(document))
        if until is not None:
            conditions.append("log.at <= ?")
            values.append(until)
        # Page by page, so that no query stays open while the caller writes or stops listening.
        conditions.append(f"log.id {'<' if newest_first else '>'} ?")
        sql = (
            f"SELECT {COLUMNS} FROM log JOIN blob ON blob.id = log.blob"
            f" WHERE {' AND '.join(conditions)}"
            f" ORDER BY log.id {'DESC' if newest_first else 'ASC'} LIMIT ?"
        )
        position = self.size if newest_first else -1
        left = self.size if limit is None else limit
        while left > 0:
            page = self._database.all(sql, (*values, position, min(left, _PAGE)))
            for row in page:
                yield self._checked(row)
            if len(page) < _PAGE:
                return
            left -= len(page)
            position = page[-1][0]

    def last(self, kind: LogKind) -> int | None:
        """Index of the newest entry of a kind, None without one; as the index says."""
        return self._database.number(
            "SELECT id FROM log WHERE kind = ? ORDER BY id DESC LIMIT 1", (kind,)
        )

    def is_logged(self, documents: Sequence[str], *, times: int = 1) -> bool:
        """Whether entries name any of these documents, so many times or more; as the index says.

        Raises:
            MalformedError: Not digests.
        """
        marks = ", ".join("?" * len(documents))
        found = self._database.number(
            f"SELECT count(*) FROM log WHERE document IN ({marks})", [*map(raw_digest, documents)]
        )
        return (found or 0) >= times

    def count(self, until: int) -> int:
        """Number of entries logged until a time, in microseconds since 1970, by the index."""
        return self._database.number("SELECT count(*) FROM log WHERE at <= ?", (until,)) or 0

    def tags(self) -> list[str]:
        """Every ``NAME:TAG`` that was ever set, in order."""
        return [
            str(tag)
            for (tag,) in self._database.all(
                "SELECT DISTINCT tag FROM log WHERE kind = 'tag' ORDER BY tag"
            )
        ]

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Proof that entry ``index`` is among the first ``size`` (RFC 6962, section 2.1.1).

        Raises:
            MalformedError: It is not.
            TamperedError: The tree's nodes are damaged.
        """
        return merkle.inclusion_proof(index, size, self.node)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Proof that the first ``new`` entries begin with the first ``old`` (section 2.1.2).

        Raises:
            MalformedError: ``old`` is larger.
            TamperedError: The tree's nodes are damaged.
        """
        return merkle.consistency_proof(old, new, self.node)

    def _checked(self, row: tuple[Any, ...]) -> tuple[LogEntry, bytes]:
        """The entry of a row of the index, which must be what the tree has in its place."""
        *found, raw = row
        index = found[0]
        if not isinstance(index, int) or not isinstance(raw, bytes):
            raise _damaged("a row of it is not one of ours")
        data = self._blobs.fetch(raw)
        entry = decode_entry(data)
        if tuple(found) != index_row(entry):
            raise _damaged(f"row {index} is not what its entry says")
        if merkle.leaf_hash(data) != self.node(0, index):
            raise _damaged(f"entry {index} is not the one that was logged")
        return entry, data


def index_row(entry: LogEntry) -> IndexRow:
    """What the index says of an entry besides its blob: id, kind, tag, document, at."""
    return (
        entry.index,
        entry.kind,
        entry.tag,
        raw_digest(entry.document),
        microseconds(entry.at),
    )


def node_rows(nodes: Sequence[merkle.Node]) -> list[tuple[int, int, bytes]]:
    """Rows of the table of nodes."""
    return [(node.level, node.index, node.hash) for node in nodes]


def _damaged(what: str) -> TamperedError:
    return TamperedError(
        f"the history log is damaged: {what}",
        hint="run `manifestd log verify` with a checkpoint that was kept elsewhere",
    )
