"""A run for a pull request or a job summary: a table of models, then what each needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from manifestd.model.run import Run, RunModel
from manifestd.model.run_view import RunView
from manifestd.reports.base import ReportOptions
from manifestd.reports.escape import markdown, markdown_name
from manifestd.reports.run_sides import brief_items, model_notes, problem_lines, side_line
from manifestd.reports.run_telling import (
    Item,
    items,
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

MARKS: Final = {"pass": "✅", "fail": "❌", "unknown": "❔", "error": "❌"}
_ITEMS: Final = 50
_STEP: Final = 1000


def run_text(run: RunView, options: ReportOptions, budget: int) -> str:
    """The text, at most ``budget`` bytes; models that pass are left out first, all are counted."""
    head = _head(run.head)
    table = ["| result | model | what |", "|---|---|---|"]
    wanted = partial(run.models, failing_only=options.changes_only, worst_first=True)
    budget -= length([*head, *table]) + 300
    rows, more_rows = _fitting(wanted(), _row, budget // 2)
    budget -= length(rows)
    worth = (model for model in wanted() if _worth(model))
    parts, more_parts = _fitting(worth, lambda model: "\n".join(_details(model)), budget)
    tail = []
    if more_rows:
        tail.append(f"{more_rows} more models are not in the table.")
    if more_parts:
        tail.append(f"The details of {more_parts} more models are left out.")
    if tail:
        tail.append("The JSON report has everything.")
    if not rows and not more_rows:
        table = []
    lines = [*head, *table, *rows, *parts, *([""] if tail else []), *tail]
    return "\n".join(lines).rstrip("\n") + "\n"


def _head(run: Run) -> list[str]:
    result = result_of(run)
    return [
        f"### {MARKS[result]} {RESULTS[result]}: {markdown(run_headline(run))}",
        "",
        markdown(run_facts(run)),
        *(f"\n{MARKS['error']} {_error(item)}" for item in run_errors(run)),
        *(f"\nNote: {markdown(note)}" for note in run.notes),
        "",
    ]


def _error(item: Item) -> str:
    return markdown(item.what) + (f"; **next:** {markdown(item.hint, _STEP)}" if item.hint else "")


def length(lines: list[str]) -> int:
    """Bytes of these lines with their ends."""
    return sum(len(line.encode()) + 1 for line in lines)


def _fitting(
    models: Iterator[RunModel], shown: Callable[[RunModel], str], budget: int
) -> tuple[list[str], int]:
    """The first models as they are shown in so many bytes, and how many come after them."""
    found: list[str] = []
    for model in models:
        text = shown(model)
        budget -= len(text.encode()) + 1
        if budget < 0:
            return found, 1 + sum(1 for _ in models)
        found.append(text)
    return found, 0


def _worth(model: RunModel) -> bool:
    if model.result != "pass" or unverified(model) or model_notes(model):
        return True
    return any(True for _ in items(model))


def _row(model: RunModel) -> str:
    mark = f"{MARKS[model.result]} {model.result}"
    return f"| {mark} | {markdown_name(model.name)} | {markdown(model_line(model))} |"


def _details(model: RunModel) -> Iterator[str]:
    yield ""
    yield f"<details><summary>{MARKS[model.result]} {markdown(model.name)}</summary>"
    yield ""
    for name, side in model.sides.items():
        taken = f", taken {markdown(side.captured_at[:19])}Z" if side.captured_at else ""
        yield f"- {markdown(name)}: {markdown_name(side_line(side))}{taken}"
        yield from (f"  - problem: {markdown(line)}" for line in problem_lines(side, 3))
    yield from (f"- **next:** {markdown(step, _STEP)}" for step in next_steps(model))
    yield from (f"- not verified: {markdown(text)}" for text in unverified(model))
    yield from (f"- note: {markdown(note)}" for note in model_notes(model))
    found = brief_items(model)
    if found:
        yield ""
        yield "| result | side | file | what | known by |"
        yield "|---|---|---|---|---|"
        yield from map(_item, found[:_ITEMS])
        if len(found) > _ITEMS:
            yield ""
            yield f"and {len(found) - _ITEMS} more"
    yield ""
    yield "</details>"


def _item(item: Item) -> str:
    path = markdown_name(item.path) if item.path is not None else ""
    known = markdown(based(item.file)) if item.file is not None else ""
    what = sentence(item) if item.file is not None else f"{item.rule}: {item.what}"
    return (
        f"| {item.mark or item.result} | {markdown(item.side)} | {path} "
        f"| {markdown(what)} | {known} |"
    )
