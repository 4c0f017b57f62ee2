"""What GitHub Actions gets besides: a job summary and annotations."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from manifestd.cli.workflow_commands import command, inside
from manifestd.model.change import Diff
from manifestd.model.run_view import RunView
from manifestd.redact import redact
from manifestd.reports.base import ReportOptions
from manifestd.reports.escape import shorten, visible
from manifestd.reports.markdown import MarkdownReport
from manifestd.reports.run_telling import Item, items, run_errors
from manifestd.reports.telling import outcomes, title, told

log = logging.getLogger(__name__)

MOST: Final = 10
"""GitHub shows so many annotations of a kind and step; further ones are dropped unseen."""

_LIMIT: Final = 900_000
"""Bytes of a step's summary; GitHub refuses more than 1 MiB of them altogether."""

_LINE: Final = 500


def tell_github(found: RunView | Diff, environ: Mapping[str, str]) -> None:
    """Append the job summary and print annotations on stderr; outside of Actions do nothing.

    A summary that cannot be written is logged: the result is what counts.

    Args:
        found: What to tell of.
        environ: The environment's variables.
    """
    if not inside(environ):
        return
    file = environ.get("GITHUB_STEP_SUMMARY")
    if file:
        report, options = MarkdownReport(), ReportOptions()
        pieces = (
            [report.diff(found, options)] if isinstance(found, Diff) else report.run(found, options)
        )
        try:
            _append(Path(file), "".join(pieces))
        except OSError as error:
            log.warning("the job summary could not be written: %s", error.strerror)
    made: dict[str, list[str]] = {"error": [], "warning": []}
    for kind, line in _of_diff(found) if isinstance(found, Diff) else _of_run(found):
        if len(made[kind]) < MOST:
            made[kind].append(line)
        if all(len(lines) == MOST for lines in made.values()):
            break
    for line in (*made["error"], *made["warning"]):
        click.echo(line, err=True)


def _of_run(found: RunView) -> Iterator[tuple[str, str]]:
    """(error or warning, command) of what does not pass, in the order of the configuration.

    First one of each kind for each model, then the others: few are shown, and a model with many
    files must not hide the next one.
    """
    for item in run_errors(found.head):
        yield _of_item("run", item)
    for first in (True, False):
        for model in found.models(failing_only=True):
            kinds: set[str] = set()
            for item in items(model):
                if item.result != "pass":
                    kind, line = _of_item(model.name, item)
                    if first != (kind in kinds):
                        yield kind, line
                    kinds.add(kind)


def _of_item(name: str, item: Item) -> tuple[str, str]:
    where = f"{item.path}: " if item.path is not None else ""
    side = f"{item.side}: " if item.side else ""
    hint = f" ({item.hint})" if item.hint else ""
    return _annotation(item.result, name, side + where + item.what + hint)


def _of_diff(found: Diff) -> Iterator[tuple[str, str]]:
    """The same of one comparison, in the order of its paths."""
    results = outcomes(found)
    for finding in found.findings:
        if finding.get("path") is None and finding.get("result") in {"fail", "unknown"}:
            yield _annotation(str(finding["result"]), title(found), str(finding.get("what")))
    for file in found.files:
        if results[file.path] != "pass":
            hint = f" ({file.hint})" if file.hint else ""
            yield _annotation(results[file.path], title(found), f"{file.path}: {told(file)}{hint}")


def _annotation(result: str, name: str, text: str) -> tuple[str, str]:
    kind = "warning" if result == "unknown" else "error"
    message = shorten(visible(redact(text)), _LINE)
    return kind, command(kind, message, title=shorten(f"manifestd: {visible(name)}", 120))


def _append(path: Path, text: str) -> None:
    data = text.encode()
    with path.open("ab") as stream:
        if stream.tell() + len(data) <= _LIMIT:
            stream.write(data + b"\n")
