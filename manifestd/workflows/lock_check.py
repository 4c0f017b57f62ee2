"""Checking a directory, or another place, against a lock file: by the consumer, without a store."""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import Any, Final

from manifestd.errors import (
    AmbiguousError,
    EmptySourceError,
    MismatchError,
    NotStoredError,
    UsageError,
)
from manifestd.model.entry import Entry, Measurement, Problem
from manifestd.model.lockfile import (
    LockCheck,
    LockedFile,
    LockedModel,
    LockFile,
)
from manifestd.model.reference import parse_reference
from manifestd.reading.measure import RetryBudget, measure
from manifestd.reading.pool import run_tasks
from manifestd.reading.wants import Wants
from manifestd.rules.globs import matches_any
from manifestd.sources.base import Resolved, Source
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.taking import Progress, ProgressFor, Silent, open_source

MAX_LISTED: Final = 100

_PLAIN: Final = Wants(chunks=())
"""The sha256 and nothing else."""


def choose_model(lock: LockFile, name: str | None) -> LockedModel:
    """The model of a lock file that is meant.

    Args:
        lock: The lock file.
        name: Its name or source; None: the only one there is.

    Raises:
        UsageError: There are several and none is named.
        NotStoredError: None is called so.
        AmbiguousError: Several are called so.
    """
    names = [f"{model.name} ({model.source})" for model in lock.models]
    if name is None:
        if len(lock.models) == 1:
            return lock.models[0]
        raise UsageError(
            f"the lock file pins {len(lock.models)} models: {', '.join(names[:10])}",
            hint="name the one that the directory holds: --name NAME",
        )
    found = [model for model in lock.models if name in {model.name, model.source}]
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousError(
            f"the lock file pins {len(found)} models called {name}",
            hint="name its source instead: --name hf://…",
            facts={"candidates": [model.source for model in found]},
        )
    raise NotStoredError(
        f"the lock file pins no model called {name}", hint=f"it pins {', '.join(names[:10])}"
    )


def check_lock(
    model: LockedModel,
    path: str,
    *,
    allow_subset: bool = False,
    jobs: int | None = None,
    own_outputs: tuple[str, ...] = (),
    progress: ProgressFor | None = None,
) -> LockCheck:
    """Read a directory, or another place, and compare it with what is locked. Needs no store.

    Args:
        model: What it shall hold.
        path: The place; without a scheme, a path.
        allow_subset: Missing files are fine.
        jobs: Files read at the same time.
        own_outputs: Absolute paths of our own files there.
        progress: Who is told how far it is.

    Raises:
        SourceNotFoundError, UsageError, AccessDeniedError: Not a place that can be read.
        EmptySourceError: Not one locked file is there: nothing was checked.
    """
    request = SnapshotRequest(reference=parse_reference(path), jobs=jobs, own_outputs=own_outputs)
    with closing(open_source(request)) as source:
        resolved = source.resolve()
        check = _Check(model, source, resolved)
        check.list()
        check.read(progress)
        return check.finish(allow_subset=allow_subset)


class _Check:
    """One directory held against one locked model; its methods are its steps."""

    def __init__(self, model: LockedModel, source: Source[Any], resolved: Resolved) -> None:
        self.model = model
        self.source = source
        self.resolved = resolved
        self.wanted = {file.path: file for file in model.files}
        self.present: dict[str, Entry] = {}
        self.seen = 0
        self.matching = 0
        self.more = 0
        self.problems: list[Problem] = []
        self.unknown = self.different = False

    def list(self) -> None:
        """Hold the listing against the lock: what is extra, and what has another size."""
        for item in self.source.list(self.resolved):
            if isinstance(item, Problem):
                if item.severity != "note" and not self._ignored(item.path or ""):
                    self._add(item, known=not self._may_hold(item.path))
            elif not self._ignored(item.path):
                self._listed(item)

    def read(self, progress: ProgressFor | None) -> None:
        """Hash what has the right name and size."""
        if not self.present:
            return
        size = sum(entry.size for entry in self.present.values())
        shown = nullcontext(Silent()) if progress is None else progress(size, len(self.present))
        with shown as told:
            self._hash(told)

    def finish(self, *, allow_subset: bool) -> LockCheck:
        """The answer."""
        if not self.seen:
            raise EmptySourceError(
                f"{self.resolved.place} has not one of the {len(self.wanted)} locked files",
                hint="name the directory that holds them",
            )
        absent = [path for path in self.wanted if path not in self.present]
        named = {problem.path for problem in self.problems}
        missing = [path for path in absent if path not in named]
        whole = self.matching == len(self.wanted)
        result: Any = "whole" if whole else "subset"
        if self.different:
            result = "different"
        elif self.unknown:
            result = "unknown"
        verified = result == "whole" or (result == "subset" and allow_subset)
        codes = {"different": 4, "unknown": 3, "subset": 1, "whole": 0}
        return LockCheck(
            result=result,
            verified=verified,
            exit_code=0 if verified else codes[result],
            name=self.model.name,
            source=self.model.source,
            revision=self.model.revision,
            manifest=self.model.manifest,
            place=self.resolved.place,
            locked=len(self.wanted),
            matching=self.matching,
            missing=missing[:MAX_LISTED],
            problems=sorted(self.problems, key=lambda problem: problem.path or ""),
            more=self.more + max(0, len(missing) - MAX_LISTED),
        )

    def _listed(self, entry: Entry) -> None:
        wanted = self.wanted.get(entry.path)
        self.seen += wanted is not None
        if entry.problem is not None:
            self._add(entry.problem, known=wanted is None)
        elif wanted is None:
            self._differs(entry.path, "not-locked", "is not in the lock file")
        elif wanted.size != entry.size:
            what = f"has {entry.size} bytes, the lock file says {wanted.size}"
            self._differs(entry.path, MismatchError.code, what)
        else:
            self.present[entry.path] = entry

    def _hash(self, told: Progress) -> None:
        def work(entry: Entry) -> Measurement:
            return measure(
                lambda offset: self.source.open(self.resolved, entry, offset),
                entry.path,
                entry.size,
                _PLAIN,
                budget=RetryBudget(),
                on_bytes=told.bytes,
            )

        jobs = self.source.settings.jobs
        with closing(run_tasks(self.present.values(), work, jobs=jobs)) as results:
            for measured in results:
                told.done(measured)
                self._judge(measured, self.wanted[measured.path])

    def _judge(self, measured: Measurement, wanted: LockedFile) -> None:
        if measured.problem is not None:
            self._add(measured.problem, known=False)
        elif measured.digests.get("sha256") == wanted.sha256:
            self.matching += 1
        else:
            what = f"its sha256 is {measured.digests.get('sha256')}, the lock file says {wanted.sha256}"
            self._differs(measured.path, MismatchError.code, what)

    def _may_hold(self, path: str | None) -> bool:
        """Whether what cannot be looked at there is, or has below it, a locked file."""
        if path is None or path in self.wanted:
            return True
        return any(wanted.startswith(f"{path.rstrip('/')}/") for wanted in self.wanted)

    def _ignored(self, path: str) -> bool:
        return bool(self.model.ignore) and matches_any(path, self.model.ignore)

    def _differs(self, path: str, code: str, what: str) -> None:
        self._add(Problem(path=path, code=code, what=what, severity="mismatch"), known=True)

    def _add(self, problem: Problem, *, known: bool) -> None:
        """Note a problem; ``known``: whatever it holds, it is not what is locked."""
        if known:
            self.different = True
        else:
            self.unknown = True
        if len(self.problems) < MAX_LISTED:
            self.problems.append(problem)
        else:
            self.more += 1
