"""``run --report``: looked at before the run, written after it; one that fails hides no other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manifestd.cli.context import Context
from manifestd.cli.output import refuse_own, show_error, write_lines
from manifestd.cli.streams import is_device
from manifestd.errors import ManifestdError, UsageError

if TYPE_CHECKING:
    from manifestd.model.run_view import RunView
    from manifestd.reports.base import Report, ReportOptions

Wanted = Sequence[tuple["Report", Path]]


def renderer(form: str) -> Report:
    """The report of a name.

    Raises:
        UsageError: There is none.
    """
    from manifestd.reports import REPORTS

    if form not in REPORTS.names():
        raise UsageError(
            f"there is no report format {form!r}", hint="known are " + ", ".join(REPORTS.names())
        )
    return REPORTS.load(form)()


def wanted_reports(context: Context, texts: Sequence[str]) -> Wanted:
    """What each ``--report`` names, refused before the run if it could not be written after it.

    Raises:
        UsageError: One is no format with a file, has no place or one of ours, or two have one.
    """
    found: list[tuple[Report, Path]] = []
    places: dict[str, str] = {}
    for text in texts:
        report, path = _report(text)
        refuse_own(context, path)
        place = os.path.realpath(path)
        if place in places and not is_device(path):
            raise UsageError(
                f"--report {text}: --report {places[place]} is written to that file",
                hint="give each report a file of its own",
            )
        places[place] = text
        found.append((report, path))
    return found


def _report(text: str) -> tuple[Report, Path]:
    form, colon, name = text.partition(":")
    if not colon or not name:
        raise UsageError(
            f"--report {text}: no file", hint="write FORMAT:FILE, for instance junit:report.xml"
        )
    if name == "-":
        raise UsageError(
            f"--report {text}: a report is a file", hint=f"--format {form} prints the result"
        )
    path = Path(name)
    if not path.parent.is_dir():
        raise UsageError(f"--report {text}: there is no directory {path.parent}")
    if path.is_dir():
        raise UsageError(f"--report {text}: {path} is a directory", hint="name a file in it")
    if not is_device(path) and not os.access(path.parent, os.W_OK):
        raise UsageError(f"--report {text}: nothing can be written in {path.parent}")
    return renderer(form), path


def write_reports(wanted: Wanted, view: RunView, options: ReportOptions) -> set[int]:
    """Write all of them; tell of each that cannot be written, and go on.

    Returns:
        Exit codes of what failed.
    """
    codes: set[int] = set()
    for report, path in wanted:
        try:
            write_lines(path, map(str.encode, report.run(view, options)))
        except ManifestdError as error:
            # Not as a document: standard output has that of the run.
            show_error(error)
            codes.add(error.exit_code)
    return codes
