"""A run as one self-contained page: a table of models, then a section for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from manifestd.model.change import FileDiff
from manifestd.model.run import Run, RunModel
from manifestd.model.run_view import RunView
from manifestd.reports.base import ReportOptions
from manifestd.reports.escape import html
from manifestd.reports.html_page import file_table, pieces, tag
from manifestd.reports.run_sides import brief_items, model_notes, problem_lines, side_line
from manifestd.reports.run_telling import (
    Item,
    model_line,
    next_steps,
    result_of,
    run_errors,
    run_facts,
    run_headline,
    unverified,
)
from manifestd.reports.telling import RESULTS

_PROBLEMS: Final = 20


def run_page(run: RunView, options: ReportOptions) -> Iterator[str]:
    """The page in pieces; every model, file and reason stands in it."""
    title = f"{RESULTS[result_of(run.head)]}: {run_headline(run.head)}"
    yield from pieces(title, (_lined(lines) for lines in _body(run, options)))


def _lined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _body(run: RunView, options: ReportOptions) -> Iterator[Iterable[str]]:
    """First all models in a table, then each: two passes, a model at a time."""
    wanted = partial(run.models, failing_only=options.changes_only, worst_first=True)
    yield _head(run.head)
    yield from ([_row(model)] for model in wanted())
    yield ["</tbody></table>"]
    yield from map(section, wanted())


def _head(run: Run) -> Iterator[str]:
    result = result_of(run)
    yield f"<h1>{tag(result, RESULTS[result])} {html(run_headline(run))}</h1>"
    yield f'<p class="quiet">{html(run_facts(run))}</p>'
    wrong = run_errors(run)
    lines = [(tag(item.result, "Error"), item.what) for item in wrong]
    lines += [("Next", item.hint) for item in wrong if item.hint]
    lines += [("Note", note) for note in run.notes]
    if lines:
        yield "<ul>" + "".join(f"<li>{label}: {html(text)}</li>" for label, text in lines) + "</ul>"
    yield '<table><thead><tr><th>Result</th><th>Model</th><th class="what">What</th><th>First thing to do</th>'
    yield "</tr></thead><tbody>"


def _row(model: RunModel) -> str:
    first = next(iter(next_steps(model)), "")
    return (
        f"<tr><td>{tag(model.result, RESULTS[model.result])}</td>"
        f'<td class="path">{html(model.name)}</td><td>{html(model_line(model))}</td>'
        f"<td>{html(first)}</td></tr>"
    )


def section(model: RunModel) -> Iterator[str]:
    """One model: its sides, what to do, what was not verified, findings and files."""
    yield f"<h2>{tag(model.result, RESULTS[model.result])} {html(model.name)}</h2>"
    yield f"<p>{html(model_line(model))}</p>"
    yield from _sides(model)
    lines = [("Next", step) for step in next_steps(model)]
    lines += [("Not verified", text) for text in unverified(model)]
    lines += [("Note", note) for note in model_notes(model)]
    if lines:
        yield "<ul>" + "".join(f"<li>{label}: {html(text)}</li>" for label, text in lines) + "</ul>"
    found = brief_items(model)
    yield from _findings([item for item in found if item.file is None])
    for side, diff in zip(model.compared, model.diffs, strict=False):
        files: list[FileDiff] = []
        results: dict[str, str] = {}
        for item in found:
            if item.file is not None and item.side == side:
                files.append(item.file)
                results[item.file.path] = item.result
        for file in diff.files:
            if file.verdict == "identical":
                files.append(file)
                results[file.path] = "pass"
        same = diff.counts.identical - sum(file.verdict == "identical" for file in files)
        left, right = html(model.reference), html(side)
        if files and not same:
            yield f"<p>{left} (left) against {right} (right):</p>"
            yield from file_table(files, results)
        elif files:
            yield f"<p>{left} (left) against {right} (right); {same} more files are identical:</p>"
            yield from file_table(files, results)
        else:
            yield f"<p>{left} against {right}: all {same} files are identical.</p>"


def _sides(model: RunModel) -> Iterator[str]:
    yield "<table><thead><tr><th>Side</th><th>Where</th><th>Snapshot</th><th>Taken</th>"
    yield "<th>Known by</th></tr></thead><tbody>"
    for name, side in model.sides.items():
        problems = "".join(
            f'<p class="quiet">{html(line)}</p>' for line in problem_lines(side, _PROBLEMS)
        )
        taken = f"{html(side.captured_at[:19])}Z" if side.captured_at else ""
        if side.snapshot is not None and not side.complete:
            taken += " (incomplete)"
        yield (
            f"<tr><th>{html(name)}</th><td><code>{html(side_line(side))}</code>{problems}</td>"
            f"<td><code>{html(side.snapshot or 'none')}</code></td><td>{taken}</td>"
            f"<td>{html(_evidence(side.evidence))}</td></tr>"
        )
    yield "</tbody></table>"


def _evidence(counts: object) -> str:
    names = ("measured", "reused", "stored", "declared", "none")
    found = [(name, getattr(counts, name, 0)) for name in names]
    return ", ".join(f"{count} {name}" for name, count in found if count)


def _findings(found: list[Item]) -> Iterator[str]:
    if not found:
        return
    yield "<table><thead><tr><th>Result</th><th>Rule</th><th>Side</th><th>File</th><th>What</th>"
    yield "</tr></thead><tbody>"
    for item in found:
        hint = f'<p class="quiet">{html(item.hint)}</p>' if item.hint else ""
        path = html(item.path) if item.path is not None else ""
        kind = "unknown" if item.mark else item.result
        yield (
            f"<tr><td>{tag(kind, item.mark or item.result)}</td><td>{html(item.rule)}</td>"
            f'<td>{html(item.side)}</td><td class="path">{path}</td>'
            f"<td>{html(item.what)}{hint}</td></tr>"
        )
    yield "</tbody></table>"
