"""Check the tables of runs: what they say of a finished run is what the history log holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from manifestd import canonical
from manifestd.errors import ManifestdError, TamperedError
from manifestd.store.blobs import Blobs
from manifestd.store.database import Database
from manifestd.store.rows import microseconds

T = TypeVar("T")


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    """What the index repeats of a run."""

    run_id: str
    started_at: str


class _Run(msgspec.Struct, frozen=True):
    """A run's document: its head, and the digests of its models' documents in order."""

    run: _Head
    models: list[str]


class _Model(msgspec.Struct, frozen=True, rename="camel"):
    """What the index repeats of one model's part of a run, and what that names."""

    name: str
    result: str
    exit_code: int
    attestations: list[str] = []


class RunCheck:
    """One pass over the runs.

    Args:
        database: Of the store.
        report: Takes code and text of each problem.
    """

    def __init__(self, database: Database, report: Callable[[str, str], None]) -> None:
        self._database = database
        self._blobs = Blobs(database)
        self._report = report

    def run(self, logged: Mapping[str, str]) -> None:
        """Check everything.

        Args:
            logged: Name of every run in the log -> digest of its document.
        """
        left = dict(logged)
        for number, name, started, raw in self._database.all(
            "SELECT id, run_id, started, document FROM run ORDER BY id"
        ):
            self._safely(self._finished, number, name, started, raw, left)
        for name in left:
            self._wrong(f"the run {name} of the history log is missing")

    def _finished(
        self, number: int, name: Any, started: Any, raw: Any, left: dict[str, str]
    ) -> None:
        """One run; one that did not finish is in no log, and what it has must agree with itself."""
        models = self._models(number)
        if raw is None:
            return
        document = _name(raw)
        if left.pop(str(name), None) != document:
            self._wrong(f"the run {name!r} is not the one that the history log holds")
        found = self._decoded(raw, _Run)
        if (found.run.run_id, microseconds(found.run.started_at)) != (name, started):
            self._wrong(f"the index of runs says something else of {found.run.run_id}")
        if models != found.models:
            self._wrong(f"the models of the run {found.run.run_id} are not those it ended with")

    def _models(self, number: int) -> list[str]:
        """Digests of the documents of a run's models, after a look at each."""
        found: list[str] = []
        for name, result, code, raw in self._database.all(
            "SELECT name, result, exit, document FROM run_model WHERE run = ? ORDER BY position",
            (number,),
        ):
            found.append(_name(raw))
            self._safely(self._model, name, result, code, raw)
        return found

    def _model(self, name: Any, result: Any, code: Any, raw: Any) -> None:
        model = self._decoded(raw, _Model)
        if (model.name, model.result, model.exit_code) != (name, result, code):
            self._wrong(f"the index of runs says something else of the model {model.name!r}")
        for digest in model.attestations:
            if not self._blobs.has(digest):
                self._wrong(f"the statement {digest} about {model.name!r} is gone")

    def _decoded(self, raw: Any, kind: type[T]) -> T:
        data = self._blobs.fetch(raw if isinstance(raw, bytes) else b"")
        try:
            return msgspec.json.decode(data, type=canonical.prepared(kind))
        except msgspec.DecodeError as error:
            raise TamperedError(f"{_name(raw)} is no document of a run: {error}") from error

    def _safely(self, step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except ManifestdError as error:
            self._report(error.code, f"the runs: {error.what}")

    def _wrong(self, what: str) -> None:
        self._report("store-tampered", f"the runs: {what}")


def _name(raw: Any) -> str:
    return f"sha256:{raw.hex()}" if isinstance(raw, bytes) else "nothing"
