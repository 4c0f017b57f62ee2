"""For a pull request: what GitHub and GitLab render, within the size of one comment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from manifestd.model.change import Diff, FileDiff, Side
from manifestd.model.run_view import RunView
from manifestd.reports.base import Report, ReportOptions, listed
from manifestd.reports.escape import markdown, markdown_name, visible
from manifestd.reports.markdown_run import MARKS, length, run_text
from manifestd.reports.telling import (
    RESULTS,
    WORDS,
    based,
    headline,
    highlights,
    hints,
    notes,
    placed,
    signed,
    story,
    title,
    told,
    warnings,
)

MAX_BYTES: Final = 60_000
"""GitHub takes 65,536 characters in a comment; the rest is left to whoever posts it."""

_NOTES: Final = 10


class MarkdownReport(Report):
    """GitHub-flavoured Markdown: verdict, what matters, and the files in a folded table."""

    name: ClassVar[str] = "markdown"
    media_type: ClassVar[str] = "text/markdown"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The comment, at most :data:`MAX_BYTES` long; what is left out is counted."""
        head = _head(diff)
        files = listed(diff, options)
        if not files:
            return "\n".join(head) + "\n"
        opened = [
            "",
            f"<details><summary>Files ({len(files)})</summary>",
            "",
            "| verdict | impact | known by (left/right) | file | what |",
            "|---|---|---|---|---|",
        ]
        closed = ["", "</details>"]
        budget = MAX_BYTES - length([*head, *opened, *closed]) - 200
        rows, left_out = _fitting(files, budget)
        if left_out:
            closed.insert(
                1, f"{left_out} more files are not shown; the JSON report lists them all."
            )
            closed.insert(2, "")
        return "\n".join([*head, *opened, *rows, *closed]) + "\n"

    def run(self, run: RunView, options: ReportOptions) -> Iterator[str]:
        """The table of models and the details of each, at most :data:`MAX_BYTES` long."""
        yield run_text(run, options, MAX_BYTES)


def _head(diff: Diff) -> list[str]:
    lines = [
        f"### {MARKS[diff.result]} {RESULTS[diff.result]}: {markdown(title(diff))}",
        "",
        f"**{markdown(headline(diff))}**",
        "",
        "| | source | snapshot | taken | signature |",
        "|---|---|---|---|---|",
        _side("left", diff.left),
        _side("right", diff.right),
    ]
    first = highlights(diff)
    if first:
        lines += ["", "What matters first:", ""]
        for number, (path, sentence) in enumerate(first, 1):
            name = f"{markdown_name(path)}: " if path is not None else ""
            lines.append(f"{number}. {name}{markdown(sentence)}")
    said = [f"- {_warning(*item)}" for item in warnings(diff)[:_NOTES]]
    said += [f"- Note: {markdown(note)}" for note in notes(diff)[:_NOTES]]
    said += [f"- Next: {markdown(hint, 1000)}" for hint in hints(diff.files)]
    if said:
        lines += ["", *said]
    return lines


def _warning(path: str | None, sentence: str) -> str:
    name = f"{markdown_name(path)}: " if path is not None else ""
    return f"Warning: {name}{markdown(sentence)}"


def _side(label: str, side: Side) -> str:
    incomplete = "" if side.complete else " (incomplete)"
    return (
        f"| {label} | {markdown_name(placed(side))} | `{visible(side.snapshot[:19])}` "
        f"| {markdown(side.captured_at[:19])}Z{incomplete} | {markdown(signed(side))} |"
    )


def _fitting(files: list[FileDiff], budget: int) -> tuple[list[str], int]:
    """Rows within the budget, those that are not identical first chosen, in path order."""
    order = sorted(range(len(files)), key=lambda index: files[index].verdict == "identical")
    chosen: dict[int, str] = {}
    for index in order:
        row = _row(files[index])
        budget -= len(row.encode()) + 1
        if budget < 0:
            break
        chosen[index] = row
    return [chosen[index] for index in sorted(chosen)], len(files) - len(chosen)


def _row(file: FileDiff) -> str:
    lines = [] if file.verdict == "identical" else [told(file)]
    if len(file.changes) > 2:
        lines = story(file, 5)
    what = "<br>".join(markdown(line) for line in lines if line)
    return (
        f"| {WORDS[file.verdict]} | {file.impact} | {markdown(based(file))} "
        f"| {markdown_name(file.path)} | {what} |"
    )
