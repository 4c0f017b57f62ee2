"""What reading gives, as it comes: blobs stored, results journaled for a restart, handed on once."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from manifestd import canonical
from manifestd.model.chunks import encode_chunks
from manifestd.model.digest import Digest
from manifestd.model.entry import Entry, Measurement, Problem
from manifestd.store import Store

_KEEP_SECONDS: Final = 0.02
_KEEP_BYTES: Final = 8 * 1024 * 1024
"""Results wait in memory for so long, or until they hold so much."""
_JOURNAL_SECONDS: Final = 0.05
_JOURNAL_LOCAL: Final = 1.0
"""A kill loses at most the results of this time; local files are read again sooner than noted."""
_SHORT: Final = 1024
_REMEMBERED: Final = 1024


class Journaled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a measurement: digests, and the addresses of its blobs."""

    digests: dict[str, str] = {}
    body: bool = False
    facts: str | None = None
    chunks: str | None = None
    problem: Problem | None = None


_journaled: Final = msgspec.msgpack.Decoder(Journaled)


class Results:
    """The results of one run's reading, and those that an interrupted one left.

    Args:
        store: Where blobs and the journal are.
        key: Place, revision and selection: only an equal run continues another's journal.
        local: The files are on this machine.
    """

    def __init__(self, store: Store, key: str, *, local: bool) -> None:
        self._store = store
        self._journal = store.journal(key)
        self._before = {
            path: (token, _journaled.decode(data))
            for path, (token, data) in self._journal.load().items()
        }
        self._pause = _JOURNAL_LOCAL if local else _JOURNAL_SECONDS
        self._expected: dict[str, Entry] = {}
        self._waiting: list[Measurement] = []
        self._held = 0
        self._unwritten: list[tuple[Entry, Journaled]] = []
        self._found: dict[str, Journaled] = {}
        # Thousands of small files have the same facts ("not a tensor archive"); ask the store once.
        self._facts: dict[bytes, Digest] = {}
        self._kept = self._written = time.monotonic()

    def had(self, entry: Entry, action: str) -> bool:
        """Whether an interrupted run has read this file, as it is listed now."""
        if not self._before:
            return False
        found = self._before.get(entry.path)
        if found is None or found[0] != _token(entry):
            return False
        return action == "headers" or "sha256" in found[1].digests

    def expect(self, entry: Entry) -> None:
        """A result of this file will come."""
        self._expected[entry.path] = entry

    def add(self, measured: Measurement) -> bool:
        """Take a result; whether it and those before it are kept now, or wait for others."""
        self._waiting.append(measured)
        self._held += len(measured.body or b"") + len(measured.facts or b"")
        now = time.monotonic()
        if now - self._kept < _KEEP_SECONDS and self._held < _KEEP_BYTES:
            return False
        self._keep()
        if now - self._written >= self._pause:
            self._write()
        return True

    def flush(self) -> None:
        """Keep and journal what there is: something may end the run, or hold it up."""
        self._keep()
        self._write()

    def end(self) -> None:
        """Keep what there is. The record follows at once: it need not be journaled first."""
        self._keep()
        self._unwritten.clear()

    def take(self, entry: Entry, action: str) -> tuple[Journaled | None, bool]:
        """What is known of a file now, and whether from the run before; asked for only once."""
        found = self._found.pop(entry.path, None)
        if found is None and self.had(entry, action):
            return self._before[entry.path][1], True
        return found, False

    def forget(self) -> None:
        """The record is stored, in this transaction: the journal has served."""
        self._journal.clear()

    def _keep(self) -> None:
        self._kept, self._held = time.monotonic(), 0
        if not self._waiting:
            return
        try:
            with self._store.transaction(durable=False):
                stored = [self._stored(measured) for measured in self._waiting]
        except BaseException:
            self._facts.clear()  # undone with the rest
            raise
        for measured, kept in zip(self._waiting, stored, strict=True):
            entry = self._expected.pop(measured.path)
            self._found[measured.path] = kept
            # A failure is not kept over a restart: it may be gone by then.
            if entry.identity and measured.problem is None:
                self._unwritten.append((entry, kept))
        self._waiting.clear()

    def _write(self) -> None:
        self._written = time.monotonic()
        encode = msgspec.msgpack.encode
        rows = [(entry.path, _token(entry), encode(kept)) for entry, kept in self._unwritten]
        self._unwritten.clear()
        if rows:
            self._journal.append(rows)

    def _stored(self, measured: Measurement) -> Journaled:
        """Store what one measurement carries besides digests, as blobs."""
        facts = chunks = None
        if measured.body is not None:
            self._store.blobs.put(measured.body, "body")
        if measured.facts is not None:
            facts = self._put_facts(measured.facts)
        if measured.chunks:
            chunks = self._store.blobs.put(encode_chunks(measured.chunks), "chunks")
        return Journaled(
            digests=measured.digests,
            body=measured.body is not None,
            facts=facts,
            chunks=chunks,
            problem=measured.problem,
        )

    def _put_facts(self, data: bytes) -> Digest:
        found = self._facts.get(data)
        if found is None:
            found = self._store.blobs.put(data, "facts")
            if len(data) < _SHORT and len(self._facts) < _REMEMBERED:
                self._facts[data] = found
        return found


def _token(entry: Entry) -> str:
    return canonical.encode([entry.size, entry.identity]).decode()
