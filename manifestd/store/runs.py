"""Runs in the store: what came of every model, kept as it comes, and found again by name.

The documents are blobs; the tables say which are of which run. A run that was
stopped has its finished models and no document of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final, TypeVar, cast

import msgspec

from manifestd import canonical
from manifestd.errors import AmbiguousError, NotStoredError, TamperedError
from manifestd.model.change import Result
from manifestd.model.run import RESULTS, Run, RunModel
from manifestd.model.run_view import RunView
from manifestd.store.blobs import Blobs
from manifestd.store.database import Database
from manifestd.store.rows import microseconds

T = TypeVar("T")

_SHOWN: Final = 10
_PAGE: Final = 256
# Not sorted: the order of a model's sides and of values is part of what reports show.
_encoder = msgspec.json.Encoder()


class RunRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One run in a list.

    Attributes:
        run_id: Its name.
        number: Its row; grows with time.
        finished: It came to its end; otherwise it runs, or was killed.
    """

    run_id: str
    number: int
    finished: bool


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the index says of a model in a run; its document says more.

    Attributes:
        run: Row of the run.
        result: Result of the model there.
        document: Digest of its :class:`~manifestd.model.run.RunModel`.
    """

    run: int
    result: Result
    document: str


class Runs:
    """The runs of a store."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def start(self, run_id: str, started_at: str) -> int:
        """Begin a run; returns its row.

        Raises:
            StoreLockedError: Another process writes.
        """
        with self._database.transaction(durable=False):
            self._database.run(
                "INSERT INTO run(run_id, started) VALUES (?, ?)",
                (run_id, microseconds(started_at)),
            )
            row = self._database.one("SELECT id FROM run WHERE run_id = ?", (run_id,))
        assert row is not None
        return int(row[0])

    def add(
        self, run: int, position: int, model: RunModel, statements: Sequence[bytes] = ()
    ) -> None:
        """Keep what came of one model, with the signed statements about its comparisons.

        Not waited for on the disk: a power cut may lose it, the next run makes it again.
        """
        with self._database.transaction(durable=False):
            for statement in statements:
                self._blobs.put(statement, "statement")
            document = self._blobs.put(_encoder.encode(model), "document")
            self._database.run(
                "INSERT OR REPLACE INTO run_model(run, position, name, result, exit, document)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (run, position, model.name, model.result, model.exit_code, _raw(document)),
            )

    def finish(self, number: int, run: Run) -> str:
        """End a run: keep its document (the models stand beside it); returns its digest."""
        head = msgspec.structs.replace(run, models=[])
        documents = [_hex(document) for document, _ in self._documents(number, RESULTS)]
        with self._database.transaction():
            digest = self._blobs.put(
                _encoder.encode({"run": head, "models": documents}), "document"
            )
            self._database.run(
                "UPDATE run SET document = ? WHERE id = ?", (_raw(digest), number)
            )  # fmt: skip
        return digest

    def list(self, limit: int | None = None) -> list[RunRow]:
        """Runs, newest first."""
        return [
            RunRow(run_id=str(run_id), number=int(number), finished=document is not None)
            for number, run_id, document in self._database.all(
                "SELECT id, run_id, document FROM run ORDER BY id DESC LIMIT ?",
                (-1 if limit is None else limit,),
            )
        ]

    def view(self, run_id: str | None = None) -> RunView:
        """A finished run, whose models are read one at a time.

        Reading them raises :class:`TamperedError` where one is damaged, or is not what the
        index says of it. The view is good for as long as the store is open.

        Args:
            run_id: Its name or the beginning of it; None: the last one that finished.

        Raises:
            NotStoredError: There is none.
            AmbiguousError: Several begin so.
            TamperedError: Its document is damaged, or its models are not those of the index.
        """
        number, raw = self._finished(run_id)
        stored = self._decoded(raw, _StoredRun)
        found = (_hex(document) for document, _ in self._documents(number, RESULTS))
        if any(here != there for here, there in zip_longest(found, stored.models)):
            raise _damaged(f"the models of run {stored.run.run_id} are not those it ended with")
        counted = msgspec.to_builtins(stored.run.counts)
        if any(self._count(number, result) != counted[result] for result in RESULTS):
            # With the right numbers, whatever is filed under another result is found when
            # that is read: nothing that fails can hide among what passes.
            raise _damaged(f"the index has other results for run {stored.run.run_id}")
        return _StoredView(self, number, stored.run)

    def head(self, number: int) -> Run | None:
        """The document of the run of a row, without its models; None: it has not come to its end.

        Raises:
            TamperedError: It is damaged.
        """
        row = self._database.one("SELECT document FROM run WHERE id = ?", (number,))
        if row is None or row[0] is None:
            return None
        return self._decoded(bytes(row[0]), _StoredRun).run

    def models(self, number: int, results: Sequence[Result]) -> Iterator[RunModel]:
        """What came of the models of a run that have one of these results, in their order.

        Raises:
            TamperedError: One is damaged, or has another result.
        """
        for document, result in self._documents(number, results):
            yield self.document(Told(run=number, result=result, document=_hex(document)))

    def latest(self) -> dict[str, Told]:
        """For every model that was ever run: what came of it last, in order of names."""
        return {
            str(name): self._told(run, result, document)
            for name, run, result, document in self._database.rows(
                "SELECT name, max(run), result, document FROM run_model GROUP BY name ORDER BY name"
            )
        }

    def history(self, name: str, limit: int) -> Sequence[Told]:
        """What came of one model in its last runs, newest first."""
        return [
            self._told(*row)
            for row in self._database.all(
                "SELECT run, result, document FROM run_model WHERE name = ?"
                " ORDER BY run DESC LIMIT ?",
                (name, limit),
            )
        ]

    def last_pass(self, name: str) -> Told | None:
        """The last time a model passed."""
        row = self._database.one(
            "SELECT run, result, document FROM run_model"
            " WHERE name = ? AND result = 'pass' ORDER BY run DESC LIMIT 1",
            (name,),
        )
        return None if row is None else self._told(*row)

    def document(self, told: Told) -> RunModel:
        """The whole of what the index tells.

        Raises:
            TamperedError: It is damaged, or says something else.
        """
        model = self._decoded(bytes.fromhex(told.document[7:]), RunModel)
        if model.result != told.result:
            raise _damaged(f"the index of runs has another result for {model.name!r}")
        return model

    def started(self, number: int) -> tuple[str, int]:
        """Name and start (microseconds since 1970) of the run of a row."""
        row = self._database.one("SELECT run_id, started FROM run WHERE id = ?", (number,))
        if row is None:
            raise _damaged(f"run {number} is missing")
        return str(row[0]), int(row[1])

    def _finished(self, run_id: str | None) -> tuple[int, bytes]:
        low, high = run_id or "", (run_id or "") + "\U0010ffff"
        rows = self._database.all(
            "SELECT id, run_id, document FROM run WHERE document IS NOT NULL"
            " AND run_id >= ? AND run_id < ? ORDER BY id DESC LIMIT ?",
            (low, high, 1 if run_id is None else _SHOWN),
        )
        exact = [row for row in rows if row[1] == run_id]
        if len(rows) > 1 and not exact:
            raise AmbiguousError(
                f"{run_id!r} means {len(rows)} runs",
                hint="give more of its name",
                facts={"candidates": [row[1] for row in rows]},
            )
        if not rows:
            what = "no run is finished" if run_id is None else f"there is no run {run_id!r}"
            raise NotStoredError(what, hint="run `manifestd run`")
        number, _, raw = (exact or rows)[0]
        return int(number), bytes(raw)

    def _documents(self, number: int, results: Sequence[Result]) -> Iterator[tuple[bytes, Result]]:
        """Digest and result, a page at a time: no query is open while others write."""
        marks = ", ".join("?" * len(results))
        position = -1
        while True:
            rows = self._database.all(
                "SELECT position, document, result FROM run_model"
                f" WHERE run = ? AND position > ? AND result IN ({marks})"
                " ORDER BY position LIMIT ?",
                (number, position, *results, _PAGE),
            )
            for position, document, result in rows:
                if not isinstance(position, int) or not isinstance(document, bytes):
                    raise _damaged("the index of runs has a row that is none of ours")
                yield document, result
            if len(rows) < _PAGE:
                return

    def _count(self, number: int, result: Result) -> int | None:
        return self._database.number(
            "SELECT count(*) FROM run_model WHERE run = ? AND result = ?", (number, result)
        )

    def _told(self, run: Any, result: Any, document: Any) -> Told:
        if not isinstance(document, bytes) or not isinstance(run, int):
            raise _damaged("the index of runs has a row that is none of ours")
        return Told(run=run, result=cast("Result", result), document=_hex(document))

    def _decoded(self, raw: bytes, kind: type[T]) -> T:
        data = self._blobs.fetch(raw)
        try:
            return msgspec.json.decode(data, type=canonical.prepared(kind))
        except msgspec.DecodeError as error:
            raise _damaged(f"{_hex(raw)} is no document of a run: {error}") from error


class _StoredView(RunView):
    """A run in an open store."""

    def __init__(self, runs: Runs, number: int, head: Run) -> None:
        super().__init__(head)
        self._runs = runs
        self._number = number

    def models(
        self, *, failing_only: bool = False, worst_first: bool = False
    ) -> Iterator[RunModel]:
        """As promised; each is decoded when it is asked for."""
        wanted = [result for result in RESULTS if result != "pass" or not failing_only]
        for results in [[result] for result in wanted] if worst_first else [wanted]:
            yield from self._runs.models(self._number, results)

    def count(self, *, failing_only: bool = False) -> int:
        """As promised; the index was compared with the document when the view was made."""
        counts = self.head.counts
        failing = counts.fail + counts.error + counts.unknown
        return failing if failing_only else failing + counts.passed


class _StoredRun(msgspec.Struct, frozen=True):
    """A finished run as stored: its head, and the digests of its models' documents in order."""

    run: Run
    models: list[str]


def _raw(digest: str) -> bytes:
    return bytes.fromhex(digest[7:])


def _hex(raw: bytes) -> str:
    return "sha256:" + raw.hex()


def _damaged(what: str) -> TamperedError:
    return TamperedError(f"the store is damaged: {what}", hint="run `manifestd store check`")
