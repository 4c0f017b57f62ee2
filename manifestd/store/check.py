"""Check a whole store: every byte against its digest, every claim against what it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from manifestd.errors import EmptySourceError, ManifestdError, NotVerifiedError, TamperedError
from manifestd.model import media_types
from manifestd.model.digest import of_hex
from manifestd.model.entry import File, Problem
from manifestd.model.manifest import Item, manifest_digest
from manifestd.model.snapshot import EvidenceCounts, Snapshot
from manifestd.model.tree import ContentBuilder, ObservationBuilder
from manifestd.store.blobs import KINDS, Blobs, unpacked
from manifestd.store.database import Database, connect
from manifestd.store.logcheck import LogCheck
from manifestd.store.rows import COLUMNS, IndexRow, decode_record, index_row, subjects_of
from manifestd.store.runcheck import RunCheck
from manifestd.store.trees import Trees

MAX_PROBLEMS: Final = 1000
"""After so many the check stops: a store that damaged needs its backup."""

_RESTORE: Final = "restore a backup, or take the snapshots again into a new store"
"""The hint of what cannot even be opened; readers say to run this check."""


def check_store(path: Path, *, log_only: bool = False) -> list[Problem]:
    """Return everything in a store that does not verify; an empty list is a sound store.

    Reads all of it: blobs against their digests, records against canonical form,
    file lists against the counts, manifest digest and cutting rules, index rows
    against records, signatures against the snapshots they name (keys are not
    looked at), and SQLite's own structure.

    Args:
        path: Of the store.
        log_only: Check the history log only: its tree, and that what it names is there.

    Raises:
        NotStoredError: There is no store.
        AccessDeniedError, UnreadableError, StoreLockedError: It cannot be read.
    """
    try:
        database = connect(path, write=False)
    except NotVerifiedError as error:
        hint = _RESTORE if isinstance(error, TamperedError) else error.hint
        return [Problem(code=error.code, what=error.what, hint=hint)]
    check = _Check(database)
    try:
        # One view of the store, whatever is written meanwhile.
        database.run("BEGIN")
        check.run(check.log_steps() if log_only else check.all_steps())
    except _EnoughError:
        pass
    finally:
        database.close()
    return check.problems


class _EnoughError(Exception):
    """The limit of problems is reached."""


class _Summary(msgspec.Struct, frozen=True):
    """What a pair of file lists says, to be compared with the record."""

    files: int
    bytes: int
    manifest: str | None
    evidence: EvidenceCounts


class _Check:
    def __init__(self, database: Database) -> None:
        self.problems: list[Problem] = []
        self._database = database
        self._blobs = Blobs(database)
        self._trees = Trees(self._blobs)
        self._records: dict[str, tuple[int, Snapshot]] = {}
        self._bundles: list[tuple[int, str, list[str]]] = []
        self._summaries: dict[tuple[str, str], _Summary | None] = {}
        self._present: set[str] = set()
        self._logged_runs: dict[str, str] = {}

    def all_steps(self) -> Sequence[Callable[[], None]]:
        return (self._structure, self._all_blobs, self._all_records, self._index, self._history,
            self._runs,
        )  # fmt: skip

    def log_steps(self) -> Sequence[Callable[[], None]]:
        return (self._history,)

    def run(self, steps: Sequence[Callable[[], None]]) -> None:
        for step in steps:
            try:
                step()
            except ManifestdError as error:
                self._report(error.code, error.what)

    def _report(self, code: str, what: str) -> None:
        self.problems.append(Problem(code=code, what=what))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _EnoughError

    def _structure(self) -> None:
        for (line,) in self._database.all("PRAGMA integrity_check(100)"):
            if line != "ok":
                self._report("store-tampered", f"SQLite: {line}")
        for table, row, *_ in self._database.all("PRAGMA foreign_key_check"):
            self._report("store-tampered", f"row {row} of table {table} refers to nothing")
        for kind, name in self._database.all(
            "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')"
        ):
            self._report("store-tampered", f"the store has a foreign {kind}: {name}")

    def _all_blobs(self) -> None:
        """Digests of all blobs; keeps what is needed of records and signatures."""
        for number, raw, kind, encoding, size, packed in self._database.rows(
            "SELECT id, digest, kind, encoding, size, data FROM blob ORDER BY id"
        ):
            name = f"sha256:{raw.hex()}" if isinstance(raw, bytes) else f"row {number}"
            data = unpacked(encoding, size, packed)
            if kind not in KINDS:
                self._report("store-tampered", f"{name} has the unknown kind {kind!r}")
            if data is None or not _has_digest(data, raw):
                self._report("store-tampered", f"{name} ({kind}) does not have its digest")
            elif kind == "record":
                self._take_record(number, name, data)
            elif kind == "bundle":
                self._take_bundle(number, name, data)

    def _take_record(self, number: int, name: str, data: bytes) -> None:
        try:
            self._records[name] = (number, decode_record(data))
        except ManifestdError as error:
            self._report(error.code, f"{name}: {error.what}")

    def _take_bundle(self, number: int, name: str, data: bytes) -> None:
        try:
            predicate, subjects = subjects_of(data)
        except ManifestdError as error:
            self._report(error.code, f"{name}: {error.what}")
        else:
            self._bundles.append((number, predicate, list(subjects)))

    def _all_records(self) -> None:
        for name, (_, record) in self._records.items():
            key = (record.content, record.observation)
            if key not in self._summaries:
                try:
                    self._summaries[key] = self._summary(record)
                except ManifestdError as error:
                    self._summaries[key] = None
                    self._report(error.code, f"file list of {name}: {error.what}")
            summary = self._summaries[key]
            if summary is not None:
                self._compare(name, record, summary)

    def _summary(self, record: Snapshot) -> _Summary:
        """Read both lists; build them again, which shows that they were cut by the rules."""
        walk = _Walk(self._trees.files(record), self._has)
        try:
            manifest: str | None = manifest_digest(walk.items())
        except EmptySourceError:
            manifest = None
        for what in walk.missing[:10]:
            self._report("store-tampered", what)
        if not walk.is_built_as(record):
            self._report(
                "store-tampered",
                f"the file list {record.content} or {record.observation} is not cut by the rules",
            )
        return _Summary(
            files=walk.files,
            bytes=walk.bytes,
            manifest=manifest if walk.known == walk.files else None,
            evidence=EvidenceCounts(**walk.grades),
        )

    def _has(self, digest: str) -> bool:
        if digest in self._present:
            return True
        found = self._blobs.has(digest)
        if found:
            self._present.add(digest)
        return found

    def _compare(self, name: str, record: Snapshot, summary: _Summary) -> None:
        for field in ("files", "bytes", "manifest", "evidence"):
            said, found = getattr(record, field), getattr(summary, field)
            if said != found:
                self._report(
                    "store-tampered", f"{name} says {field} is {said}, its file list gives {found}"
                )
        if record.complete and summary.manifest is None:
            self._report("store-tampered", f"{name} says it is complete, and it is not")

    def _index(self) -> None:
        rows: dict[int, tuple[Any, ...]] = {
            row[0]: row[1:]
            for row in self._database.rows(f"SELECT id, {COLUMNS} FROM snapshot ORDER BY id")
        }
        for name, (number, record) in self._records.items():
            expected: IndexRow = index_row(bytes.fromhex(name[7:]), record)
            if rows.pop(number, None) != expected:
                self._report("store-tampered", f"the index row of {name} is missing or wrong")
        for number in rows:
            self._report("store-tampered", f"row {number} of the index is of no record")
        expected_pairs: set[tuple[int, int]] = set()
        for number, predicate, subjects in self._bundles:
            if predicate != media_types.SNAPSHOT_PREDICATE:
                continue
            signed = [self._records[name][0] for name in subjects if name in self._records]
            expected_pairs.update((snapshot, number) for snapshot in signed)
            if not signed:
                self._report(
                    "store-tampered", f"a signature is without its record: {', '.join(subjects)}"
                )
        pairs = set(self._database.rows("SELECT snapshot, bundle FROM signature"))
        for snapshot, bundle in sorted(expected_pairs ^ pairs):
            self._report(
                "store-tampered",
                f"the index of signatures is wrong for snapshot row {snapshot}, bundle row {bundle}",
            )

    def _history(self) -> None:
        records = [
            f"sha256:{raw.hex()}"
            for (raw,) in self._database.all("SELECT digest FROM snapshot")
            if isinstance(raw, bytes)
        ]
        pairs = {
            (f"sha256:{snapshot.hex()}", f"sha256:{bundle.hex()}")
            for snapshot, bundle in self._database.all(
                "SELECT snapshot.digest, blob.digest FROM signature"
                " JOIN snapshot ON snapshot.id = signature.snapshot"
                " JOIN blob ON blob.id = signature.bundle"
            )
            # What is no digest has been reported with the index and the blobs.
            if isinstance(snapshot, bytes) and isinstance(bundle, bytes)
        }
        history = LogCheck(self._database, self._report)
        history.run(records, pairs)
        self._logged_runs = history.runs

    def _runs(self) -> None:
        RunCheck(self._database, self._report).run(self._logged_runs)


class _Walk:
    """One pass over a snapshot's files that counts, rebuilds and looks for what they name."""

    def __init__(self, files: Iterator[File], has: Callable[[str], bool]) -> None:
        self._source = files
        self._has = has
        self._content = ContentBuilder(_nowhere)
        self._observation = ObservationBuilder(_nowhere)
        self.files = self.bytes = self.known = 0  # known: sha256 and size
        self.grades = dict.fromkeys(("measured", "reused", "stored", "declared", "none"), 0)
        self.missing: list[str] = []

    def items(self) -> Iterator[Item]:
        """The files of known sha256, as a manifest lists them."""
        for file in self._source:
            self.files += 1
            self.bytes += file.size
            self.grades[file.grade()] += 1
            self._content.add(file.path, file.size, file.sha256)
            self._observation.add(file.path, file.seen)
            self._look(file)
            if file.sha256 is not None:
                self.known += file.sized
                yield Item(file.path, file.size, file.sha256)

    def is_built_as(self, record: Snapshot) -> bool:
        """Whether building the lists again gave the roots that the record names."""
        return (
            of_hex(self._content.finish().hex()) == record.content
            and of_hex(self._observation.finish().hex()) == record.observation
        )

    def _look(self, file: File) -> None:
        named = {"facts": file.seen.facts, "chunks": file.seen.chunks}
        if file.seen.body:
            named["text"] = file.sha256 and of_hex(file.sha256)
        for kind, digest in named.items():
            if digest is not None and not self._has(digest):
                self.missing.append(f"no {kind} of {file.path!r} in the store: {digest}")


def _has_digest(data: bytes, raw: Any) -> bool:
    return isinstance(raw, bytes) and hashlib.sha256(data).digest() == raw


def _nowhere(kind: str, digest: bytes, data: bytes) -> None:
    """Takes a piece that is only built for its digest."""
