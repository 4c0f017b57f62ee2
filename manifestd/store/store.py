"""The store as others see it: one SQLite file, opened to read or to write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from manifestd import canonical
from manifestd.model.entry import File
from manifestd.store.blobs import Blobs, raw_digest
from manifestd.store.database import Database, connect
from manifestd.store.journal import Journal
from manifestd.store.log import Log
from manifestd.store.notified import Notified
from manifestd.store.rows import Place
from manifestd.store.runs import Runs
from manifestd.store.snapshots import Snapshots
from manifestd.store.spool import Spool
from manifestd.store.tags import Tags
from manifestd.store.trees import Trees

if TYPE_CHECKING:
    from manifestd.store.needs import Needs
    from manifestd.store.prune import Removal


class Store:
    """One open store. Use it in the thread that opened it (see :func:`open_store`), and close it.

    Attributes:
        path: Of the file.
        blobs: Bytes by digest: the truth.
        trees: File lists.
        log: What happened, as a Merkle tree.
        tags: What ``NAME:TAG`` names, from the log.
        snapshots: Records and signatures, found by reference.
        runs: What came of every model in every run.
        notified: What each notification channel was told.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.path = database.path
        self.blobs = Blobs(database)
        self.trees = Trees(self.blobs)
        self.log = Log(database, self.blobs)
        self.tags = Tags(database, self.blobs, self.log)
        self.snapshots = Snapshots(database, self.blobs, self.log, self.tags)
        self.runs = Runs(database, self.blobs)
        self.notified = Notified(database)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Everything inside happens, or nothing; a nested one is part of the outermost.

        Waits for the disk at the end, unless told not to: then a power cut (no crash and no
        kill) may undo it whole. Other processes cannot write meanwhile.

        Raises:
            StoreLockedError: Another process has been writing for 10 seconds.
        """
        with self._database.transaction(durable=durable):
            yield

    def journal(self, key: str) -> Journal:
        """The journal of one unfinished run."""
        return Journal(self._database, key)

    def spool(self) -> Spool:
        """A new, empty spool; it is no part of the store's file."""
        return Spool()

    def needs(self, snapshots: Iterable[str]) -> Needs:
        """What some snapshots need in the store, followed from their records.

        Raises:
            NotStoredError, TamperedError: One is not there, or something it needs is damaged.
        """
        from manifestd.store.needs import Needs

        found = Needs(self.blobs)
        for digest in snapshots:
            found.see(bytes.fromhex(digest.removeprefix("sha256:")), self.snapshots.load(digest))
        return found

    def removal(self) -> Removal:
        """What removes snapshots; use it in one transaction."""
        from manifestd.store.prune import Removal

        return Removal(self._database, self.blobs, self.log)

    def facts(self, file: File) -> dict[str, Any] | None:
        """What a reader learned of a file when it was snapshotted; None where nothing is stored.

        Raises:
            TamperedError, MalformedError, NotCanonicalError: It is damaged.
        """
        data = None if file.seen.facts is None else self.blobs.find(raw_digest(file.seen.facts))
        if data is None:
            return None
        return canonical.decode(data, dict[str, Any], name=f"facts of {file.path!r}")

    def body(self, file: File) -> bytes | None:
        """A file's bytes, where they are kept.

        Raises:
            TamperedError: They do not have the file's digest.
        """
        if not file.seen.body or file.sha256 is None:
            return None
        return self.blobs.find(bytes.fromhex(file.sha256))

    def where(self, digest: str) -> Iterator[Place]:
        """Every file in the store with this digest, newest snapshot first.

        Args:
            digest: ``sha256:<hex>``, ``sha1-git:<hex>``, ``md5:<hex>`` …

        Raises:
            UsageError, MalformedError: Not a digest.
            TamperedError: Something that had to be read is damaged.
        """
        from manifestd.store.whereis import Search

        return Search(self.snapshots, self.trees, self.blobs, digest).places()


def open_store(
    path: Path,
    *,
    write: bool = False,
    seconds: float = 10.0,
    cache: int | None = None,
    threads: bool = False,
) -> Store:
    """Open a store.

    Args:
        path: Of the file. Writing creates it, with its directory.
        write: Whether it may be changed; its schema is then brought up to date.
        seconds: How long to wait for another process that writes.
        cache: KiB of pages to keep in memory; None: 32 MiB, which is much for many stores.
        threads: Several threads use it, one at a time: they see to that themselves.

    Raises:
        NotStoredError: There is none (reading only).
        MalformedError: Not a manifestd store, or of another version.
        TamperedError: Damaged.
        ConfigError: On a network file system (writing only).
        AccessDeniedError, UnreadableError: The file system refuses.
        StoreLockedError: Another process is making it.
    """
    database = connect(path, write=write, seconds=seconds, threads=threads)
    if cache is not None:
        database.run(f"PRAGMA cache_size=-{int(cache)}")
    return Store(database)
