"""One self-contained page: no scripts, no fetches, its own style, safe to open from anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from manifestd.model.change import Diff, Side
from manifestd.model.run_view import RunView
from manifestd.reports.base import Report, ReportOptions, listed
from manifestd.reports.escape import html
from manifestd.reports.html_page import file_table, page, tag
from manifestd.reports.html_run import run_page
from manifestd.reports.telling import (
    RESULTS,
    headline,
    highlights,
    hints,
    notes,
    outcomes,
    placed,
    signed,
    title,
    warnings,
)


class HtmlReport(Report):
    """For auditors: every file with its verdict, evidence on both sides, and what to do next."""

    name: ClassVar[str] = "html"
    media_type: ClassVar[str] = "text/html"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The page of one comparison."""
        return page(f"{RESULTS[diff.result]}: {title(diff)}", _body(diff, options))

    def run(self, run: RunView, options: ReportOptions) -> Iterator[str]:
        """The page of all models, those that need somebody first."""
        yield from run_page(run, options)


def _body(diff: Diff, options: ReportOptions) -> Iterator[str]:
    yield f"<h1>{tag(diff.result, RESULTS[diff.result])} {html(title(diff))}</h1>"
    yield f"<p>{html(headline(diff))}</p>"
    yield "<table><thead><tr><th></th><th>Source</th><th>Snapshot</th><th>Taken</th>"
    yield "<th>Signature</th></tr></thead><tbody>"
    yield from (_side("Left", diff.left), _side("Right", diff.right))
    yield "</tbody></table>"
    yield from _first(diff)
    files = listed(diff, options)
    if files:
        yield f"<h2>Files ({len(files)})</h2>"
        yield from file_table(files, outcomes(diff))


def _first(diff: Diff) -> Iterator[str]:
    first = highlights(diff)
    if first:
        yield "<h2>What matters first</h2><ol>"
        for path, sentence in first:
            name = f"<code>{html(path)}</code>: " if path is not None else ""
            yield f"<li>{name}{html(sentence)}</li>"
        yield "</ol>"
    said = [
        f"Warning: {path}: {sentence}" if path is not None else f"Warning: {sentence}"
        for path, sentence in warnings(diff)
    ]
    said += [f"Note: {note}" for note in notes(diff)]
    said += [f"Next: {hint}" for hint in hints(diff.files)]
    if said:
        yield "<ul>" + "".join(f"<li>{html(text)}</li>" for text in said) + "</ul>"


def _side(label: str, side: Side) -> str:
    incomplete = "" if side.complete else " (incomplete)"
    return (
        f"<tr><th>{label}</th><td><code>{html(placed(side))}</code></td>"
        f"<td><code>{html(side.snapshot)}</code></td>"
        f"<td>{html(side.captured_at[:19])}Z{incomplete}</td><td>{html(signed(side))}</td></tr>"
    )
