"""For a terminal: the verdict, what matters first, then the table of files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from manifestd.model.change import Diff, FileDiff, Side
from manifestd.model.run_view import RunView
from manifestd.reports.base import Report, ReportOptions
from manifestd.reports.escape import shorten, visible
from manifestd.reports.telling import (
    RESULTS,
    WORDS,
    based,
    headline,
    highlights,
    hints,
    notes,
    outcomes,
    placed,
    signed,
    story,
    warnings,
)
from manifestd.reports.text_run import COLORS, paint, run_lines

_DETAILS: Final = 5
_WARNINGS: Final = 20
_ROWS: Final = 5000
_LINE: Final = 400
_SENTENCE: Final = 240


class TextReport(Report):
    """What ``manifestd diff`` and ``run`` print when nothing else is asked for. Identical files are counted."""

    name: ClassVar[str] = "text"
    media_type: ClassVar[str] = "text/plain"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The diff for people; names are escaped, colours only where they are wanted."""
        return "\n".join(_lines(diff, options)) + "\n"

    def run(self, run: RunView, options: ReportOptions) -> Iterator[str]:
        """The run for people: what needs somebody first, passing models a line each."""
        for lines in run_lines(run, options):
            yield "\n".join(lines) + "\n"


def _lines(diff: Diff, options: ReportOptions) -> Iterator[str]:
    verdict = f"{RESULTS[diff.result]}  {visible(headline(diff))}"
    yield paint(verdict, f"1;{COLORS[diff.result]}", options)
    yield ""
    yield from _side("left ", diff.left)
    yield from _side("right", diff.right)
    first = highlights(diff)
    if first:
        yield ""
        yield "What matters first:"
        for number, (path, sentence) in enumerate(first, 1):
            name = f"{visible(path)}: " if path is not None else ""
            yield f"  {number}. {name}{shorten(visible(sentence), _SENTENCE)}"
    for path, sentence in warnings(diff)[:_WARNINGS]:
        name = f"{visible(path)}: " if path is not None else ""
        yield f"Warning: {name}{_plain(sentence)}"
    for note in notes(diff):
        yield f"Note: {_plain(note)}"
    files = [file for file in diff.files if file.verdict != "identical"]
    if files:
        yield ""
        yield from _table(files, diff, options)
    for hint in hints(files):
        yield f"hint: {_plain(hint)}"


def _side(label: str, side: Side) -> Iterator[str]:
    complete = "" if side.complete else "  INCOMPLETE"
    yield f"  {label}  {visible(placed(side))}"
    yield f"         {side.snapshot[:19]}  {side.captured_at[:19]}Z  {visible(signed(side))}{complete}"


def _table(files: list[FileDiff], diff: Diff, options: ReportOptions) -> Iterator[str]:
    results = outcomes(diff)
    rows = [(WORDS[file.verdict], file.impact, based(file)) for file in files]
    header = ("VERDICT", "IMPACT", "KNOWN BY (LEFT/RIGHT)")
    widths = [max(map(len, column)) for column in zip(header, *rows[:_ROWS], strict=True)]
    yield _row(header, widths) + "FILE"
    for file, row in zip(files[:_ROWS], rows, strict=False):
        yield paint(_row(row, widths), COLORS[results[file.path]], options) + visible(file.path)
        yield from (f"    {_plain(line)}" for line in story(file, _DETAILS))
    if len(files) > _ROWS:
        yield f"and {len(files) - _ROWS} more files; --format json lists them all"


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    return "".join(f"{visible(cell):<{width}}  " for cell, width in zip(cells, widths, strict=True))


def _plain(text: str) -> str:
    return shorten(visible(text), _LINE)
