"""Check the history log: its tree against its entries, its entries against the rest of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from manifestd.errors import ManifestdError
from manifestd.model.envelope import digests_of
from manifestd.model.logentry import LogEntry, decode_entry
from manifestd.model.tag import Target
from manifestd.model.tombstone import read_deletion_statement
from manifestd.rules import merkle
from manifestd.store.blobs import Blobs
from manifestd.store.database import Database
from manifestd.store.log import index_row
from manifestd.store.rows import payload_of
from manifestd.store.tags import check_move, claim_of

Report = Callable[[str, str], None]


class LogCheck:
    """One pass over the log.

    Args:
        database: Of the store.
        report: Takes code and text of each problem.
    """

    def __init__(self, database: Database, report: Report) -> None:
        self._database = database
        self._blobs = Blobs(database)
        self._report = report
        self._snapshots: set[str] = set()
        self._signatures: set[tuple[str, str]] = set()
        self._moves: set[str] = set()
        self._tags: dict[str, Target | None] = {}
        self._documents: list[tuple[LogEntry, str]] = []
        self.runs: dict[str, str] = {}
        """Name of every run that was logged -> digest of its document."""

    def run(self, records: Iterable[str], signatures: Iterable[tuple[str, str]]) -> None:
        """Check everything.

        Args:
            records: Digests of the snapshots the store holds.
            signatures: Pairs (snapshot, bundle) of digests that it holds.
        """
        self._tree()
        for entry, document in self._documents:
            if not self._blobs.has(document) and not self._was_removed(entry):
                self._wrong(f"entry {entry.index} ({entry.kind}) names {document}, which is gone")
        for snapshot in sorted(set(records) ^ self._snapshots):
            where = "the store" if snapshot in self._snapshots else "the history log"
            self._wrong(f"the snapshot {snapshot} is missing in {where}")
        for snapshot, bundle in sorted(set(signatures) ^ self._signatures):
            where = "the store" if (snapshot, bundle) in self._signatures else "the history log"
            self._wrong(f"the signature {bundle} of {snapshot} is missing in {where}")

    def _tree(self) -> None:
        """Grow the tree again from the entries and compare every node."""
        kept = {
            (level, position): value
            for level, position, value in self._database.rows(
                "SELECT level, position, hash FROM log_node"
            )
        }
        frontier = merkle.Frontier()
        seen: set[int] = set()
        for number, *row, raw in self._database.rows(
            "SELECT log.blob, log.id, log.kind, log.tag, log.document, log.at, blob.digest"
            " FROM log LEFT JOIN blob ON blob.id = log.blob ORDER BY log.id"
        ):
            seen.add(number)
            data = self._entry(frontier.size, row, raw)
            if data is None:
                return
            frontier, nodes = merkle.grow(frontier, merkle.leaf_hash(data))
            for node in nodes:
                if kept.pop((node.level, node.index), None) != node.hash:
                    self._wrong(f"node {node.index} of level {node.level} is not what it covers")
        for level, position in kept:
            self._wrong(f"node {position} of level {level} covers entries that are not there")
        for number, raw in self._blobs.of_kind("entry"):
            if number not in seen:
                self._wrong(f"an entry is not in its place: sha256:{raw.hex()}")

    def _entry(self, index: int, row: list[Any], raw: Any) -> bytes | None:
        """One entry's bytes; None where going on would only repeat one problem for each entry."""
        if row[0] != index:
            self._wrong(f"entry {index} is missing")
            return None
        try:
            data = self._blobs.fetch(raw if isinstance(raw, bytes) else b"")
            entry = decode_entry(data)
            if tuple(row) != index_row(entry):
                self._wrong(f"row {index} is not what its entry says")
        except ManifestdError as error:
            self._report(error.code, f"the history log: entry {index}: {error.what}")
            return None
        try:
            self._note(entry)
        except ManifestdError as error:
            self._report(error.code, f"the history log: entry {index}: {error.what}")
        return data

    def _note(self, entry: LogEntry) -> None:
        self._documents.append((entry, entry.document))
        if entry.kind == "snapshot":
            self._snapshots.add(entry.document)
        elif entry.kind == "signature":
            self._signatures.add((str(entry.facts.get("snapshot")), entry.document))
        elif entry.kind == "tag":
            self._note_move(entry)
        elif entry.kind == "approval" and (shown := entry.fact("request")) is not None:
            self._documents.append((entry, shown))
        elif entry.kind == "verdict" and (name := entry.fact("run")) is not None:
            self.runs[name] = entry.document
        elif entry.kind == "deletion":
            removed = read_deletion_statement(payload_of(self._blobs.get(entry.document))).removed
            gone = {item.snapshot for item in removed}
            self._snapshots -= gone
            self._signatures = {pair for pair in self._signatures if pair[0] not in gone}

    def _note_move(self, entry: LogEntry) -> None:
        bundle = self._blobs.get(entry.document)
        if entry.document in self._moves:
            self._wrong(f"entry {entry.index} logs a move of {entry.tag} a second time")
        self._moves.update(digests_of(bundle))
        claim = claim_of(bundle)
        check_move(entry, claim)
        if self._tags.get(claim.tag) != claim.from_:
            self._wrong(f"entry {entry.index} moves {claim.tag} from what it did not name")
        if claim.to is not None and claim.to.snapshot not in self._snapshots:
            self._wrong(f"entry {entry.index} moves {claim.tag} to a snapshot that was not there")
        self._tags[claim.tag] = claim.to

    def _was_removed(self, entry: LogEntry) -> bool:
        if entry.kind == "snapshot":
            return entry.document not in self._snapshots
        if entry.kind == "signature":
            return entry.facts.get("snapshot") not in self._snapshots
        return False

    def _wrong(self, what: str) -> None:
        self._report("store-tampered", f"the history log: {what}")
