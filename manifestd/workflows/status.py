"""``status``: how every model stands that was ever run, from the stored runs alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from manifestd.config import Config
from manifestd.errors import NotStoredError
from manifestd.model.evidence import GRADES, Grade
from manifestd.model.failure import Failure
from manifestd.model.logentry import time_text
from manifestd.model.run import RunModel, RunSide, Status, StatusModel
from manifestd.model.run_view import RunView
from manifestd.store import Store
from manifestd.store.runs import Told
from manifestd.workflows.roster import Roster, whole
from manifestd.workflows.run_tally import Tally

TREND: Final = 10
"""Runs that the trend looks back."""

OFF_LIST: Final = "neither in [[model]] now nor found by the last whole run"
"""What keeps a model from the list, in words."""

_LOOK_BACK: Final = 100
"""Runs among which the last one of the configuration's models is looked for."""


def status_of(
    store: Store, now: datetime, *, config: Config | None = None, trend: int = TREND
) -> Status:
    """How every model stands.

    Args:
        store: Opened for reading.
        now: Ages are counted from here.
        config: Says which models are on the list; None: all are.
        trend: Runs to look back.

    Raises:
        TamperedError: A stored result is damaged.
    """
    tally = Tally()
    found: list[StatusModel] = []
    for model, document in statuses(store, now, config=config, trend=trend):
        found.append(model)
        if model.listed:
            tally.add(document)
    errors = unasked(store)
    return Status(
        at=time_text(now),
        counts=tally.counts(),
        models=found,
        last_run=last_run(store),
        exit_code=tally.exit_code(errors),
        errors=errors,
    )


def last_run(store: Store) -> str | None:
    """Name of the last run that came to its end."""
    return next((row.run_id for row in store.runs.list() if row.finished), None)


def unasked(store: Store) -> list[Failure]:
    """Why models may be missing: what the last run of the configuration's models said of it.

    A run of another list (``--models``) asked no ``[[select]]``, and mends none.
    """
    heads = (view.head for view in _views(store, _LOOK_BACK))
    return next((head.errors for head in heads if head.scope != "list"), [])


def last_whole_run(store: Store) -> RunView:
    """The last run that was to judge every model of the configuration, and came to its end.

    Raises:
        NotStoredError: There is none.
        TamperedError: A run's document is damaged.
    """
    for view in _views(store):
        if whole(view.head):
            return view
    raise NotStoredError(
        "no run of all models is finished, so nothing says what [[select]] finds",
        why="offline it is not asked; runs that were interrupted, or had --only or --models, "
        "do not have them all",
        hint="run `manifestd run`",
    )


def _views(store: Store, most: int | None = None) -> Iterator[RunView]:
    """The finished ones of the last runs, newest first."""
    for row in store.runs.list(most):
        if row.finished:
            yield store.runs.view(row.run_id)


def statuses(
    store: Store, now: datetime, *, config: Config | None = None, trend: int = TREND
) -> Iterator[tuple[StatusModel, RunModel]]:
    """As :func:`status_of`, a model at a time, each with what came of it last."""
    roster = Roster(store, config)
    names: dict[int, tuple[str, int]] = {}

    def looked_at(told: Told, model: RunModel) -> tuple[str, str]:
        """Name of the run, and as of when its result holds."""
        if told.run not in names:
            names[told.run] = store.runs.started(told.run)
        name, begun = names[told.run]
        taken = [side.captured_at for side in model.sides.values()]
        known = [moment for moment in taken if moment is not None]
        if len(known) == len(taken):
            return name, min(known)
        return name, time_text(datetime.fromtimestamp(begun / 1_000_000, UTC))

    for name, told in store.runs.latest().items():
        model = store.runs.document(told)
        run, at = looked_at(told, model)
        passed = told if told.result == "pass" else store.runs.last_pass(name)
        yield (
            StatusModel(
                name=name,
                result=model.result,
                verdict=model.verdict,
                run=run,
                at=at,
                age_seconds=max(0, int((now - datetime.fromisoformat(at)).total_seconds())),
                last_pass=None
                if passed is None
                else looked_at(passed, store.runs.document(passed))[1],
                evidence=weakest(list(model.sides.values())),
                trend=[item.result for item in reversed(store.runs.history(name, trend))],
                what=in_short(model),
                sides={side: value.snapshot for side, value in model.sides.items()},
                listed=roster.has(name),
            ),
            model,
        )


def weakest(sides: list[RunSide]) -> Grade | None:
    """The weakest grade by which any file's sha256 is known."""
    counts = [side.evidence for side in sides]
    found: Grade | None = None
    for evidence in counts:
        if evidence is None:
            return None
        here = next((grade for grade in reversed(GRADES) if getattr(evidence, grade)), None)
        if here is not None and (found is None or GRADES.index(here) > GRADES.index(found)):
            found = here
    return found


def in_short(model: RunModel) -> str | None:
    """One line on what is wrong with a model; None when nothing is."""
    if model.result == "pass":
        return None
    for side in model.sides.values():
        for problem in side.problems:
            if problem.severity == "mismatch":
                return f"{problem.path}: {problem.what}" if problem.path else problem.what
    if model.result == "fail":
        for diff in model.diffs:
            wrong = [f for f in diff.files if f.verdict not in {"identical", "equivalent"}]
            if wrong and diff.result == "fail":
                return f"{wrong[0].path} is {wrong[0].verdict}{_more(len(wrong))}"
        for finding in model.policy:
            if finding.severity == "error" and finding.waived is None:
                return f"policy {finding.rule}: {finding.what}"
    if model.error is not None:
        return model.error.what
    for name, side in model.sides.items():
        broken = [problem for problem in side.problems if problem.severity == "error"]
        if broken:
            where = broken[0].path or side.reference
            return f"{name}: {where}: {broken[0].what}{_more(len(broken))}"
    for diff in model.diffs:
        open_ = [file for file in diff.files if file.verdict == "unverifiable"]
        if open_:
            first = open_[0]
            return f"{first.path} is unverifiable{_more(len(open_))}: {first.reason}"
    return model.diffs[0].notes[0] if model.diffs and model.diffs[0].notes else None


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
