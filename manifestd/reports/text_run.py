"""A run for a terminal: the headline, then each model, those that need somebody first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from manifestd.model.run import Run, RunModel
from manifestd.model.run_view import RunView
from manifestd.reports.base import ReportOptions
from manifestd.reports.escape import shorten, visible
from manifestd.reports.run_sides import brief_items, model_notes, problem_lines, side_line
from manifestd.reports.run_telling import (
    Item,
    model_line,
    next_steps,
    result_of,
    run_errors,
    run_facts,
    run_headline,
    sentence,
    unverified,
)
from manifestd.reports.telling import RESULTS, based

COLORS: Final = {"pass": "32", "fail": "31", "unknown": "33", "error": "31"}
_ITEMS: Final = 20
_PROBLEMS: Final = 3
_LINE: Final = 400


def run_lines(run: RunView, options: ReportOptions) -> Iterator[list[str]]:
    """The lines of the report, without ends: its head, then each model."""
    yield list(_head(run.head, options))
    passing = False
    for model in run.models(failing_only=options.changes_only, worst_first=True):
        if model.result != "pass":
            yield ["", *_model(model, options)]
        else:
            yield [*([] if passing else [""]), *_passing(model, options)]
            passing = True


def _head(run: Run, options: ReportOptions) -> Iterator[str]:
    result = result_of(run)
    yield paint(f"{RESULTS[result]}  {run_headline(run)}", f"1;{COLORS[result]}", options)
    yield f"  {_plain(run_facts(run))}"
    for item in run_errors(run):
        yield f"{paint('Error', COLORS['error'], options)}: {_plain(item.what)}"
        if item.hint:
            yield f"  next: {_plain(item.hint)}"
    for note in run.notes:
        yield f"Note: {_plain(note)}"


def paint(text: str, code: str, options: ReportOptions) -> str:
    """The text in a colour, where colours are wanted."""
    return f"\x1b[{code}m{text}\x1b[0m" if options.color else text


def _model(model: RunModel, options: ReportOptions) -> Iterator[str]:
    word = paint(f"{RESULTS[model.result]:<7}", f"1;{COLORS[model.result]}", options)
    yield f"{word} {visible(model.name)}"
    yield f"  {_plain(model_line(model))}"
    for name, side in model.sides.items():
        yield f"  {visible(name)}: {_plain(side_line(side))}"
        yield from (f"    problem: {_plain(line)}" for line in problem_lines(side, _PROBLEMS))
    rows = [item for item in brief_items(model) if item.kind != "side"]
    yield from (f"  {_item(item, model)}" for item in rows[:_ITEMS])
    if len(rows) > _ITEMS:
        yield f"  and {len(rows) - _ITEMS} more; --format json has them all"
    yield from (f"  next: {_plain(step)}" for step in next_steps(model))
    yield from (f"  not verified: {_plain(text)}" for text in unverified(model))
    yield from (f"  note: {_plain(note)}" for note in model_notes(model))


def _passing(model: RunModel, options: ReportOptions) -> Iterator[str]:
    """One line, so that a thousand of them can be read; what it rests on stands at its end."""
    word = paint(f"{RESULTS['pass']:<7}", COLORS["pass"], options)
    rest = f" [not verified: {'; '.join(unverified(model))}]" if unverified(model) else ""
    yield f"{word} {visible(model.name)}  {_plain(model_line(model) + rest)}"
    yield from (f"        {_item(item, model)}" for item in brief_items(model)[:_ITEMS])
    yield from (f"        note: {_plain(note)}" for note in model_notes(model))


def _item(item: Item, model: RunModel) -> str:
    """One line: side, file, verdict, why, and what that is known by."""
    where = f"{item.side} " if item.side and len(model.compared) > 1 else ""
    if item.file is not None:
        known = f" [{based(item.file)}]" if based(item.file) else ""
        return f"{visible(where)}{visible(item.path or '')}: {_plain(sentence(item) + known)}"
    kind = {"policy": f"policy {item.rule}", "warning": "warning"}.get(item.kind, item.rule)
    if item.kind in {"policy", "demand"} and item.side:
        where = f"{item.side} "
    mark = f" ({item.mark})" if item.kind == "policy" and item.mark else ""
    name = f"{visible(item.path)}: " if item.path is not None else ""
    return f"{visible(where)}{visible(kind)}{mark}: {name}{_plain(item.what)}"


def _plain(text: str) -> str:
    return shorten(visible(text), _LINE)
