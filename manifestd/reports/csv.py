"""One line a file, for spreadsheets and warehouses."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final

from manifestd.model.change import Diff, FileDiff
from manifestd.model.run import RunModel
from manifestd.model.run_view import RunView
from manifestd.reports.base import Report, ReportOptions, listed
from manifestd.reports.escape import csv_cell
from manifestd.reports.run_telling import Item, items, model_line, run_errors
from manifestd.reports.telling import outcomes, title, told

_HEADER: Final = (
    "model", "path", "verdict", "result", "role", "impact", "left_size", "right_size",
    "left_sha256", "right_sha256", "algorithm", "left_evidence", "right_evidence", "moved_from",
    "what",
)  # fmt: skip
_RUN_HEADER: Final = ("model", "model_result", "side", "kind", *_HEADER[1:], "hint")


class CsvReport(Report):
    """RFC 4180 with a header, lines ended by a line feed; no cell starts a formula."""

    name: ClassVar[str] = "csv"
    media_type: ClassVar[str] = "text/csv"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The table of files."""
        results = outcomes(diff)
        name = title(diff)
        rows = ((name, *_cells(file, results[file.path])) for file in listed(diff, options))
        return _lines([_HEADER, *rows])

    def run(self, run: RunView, options: ReportOptions) -> Iterator[str]:
        """A row for each model (``kind`` is ``model``), then one for each thing it has to say.

        Before them one of no model for each error of the run itself (``kind`` is ``run``).
        """
        yield _lines([_RUN_HEADER, *(_error(item) for item in run_errors(run.head))])
        for model in run.models(failing_only=options.changes_only):
            yield _lines(_rows(model))


def _lines(rows: Iterable[tuple[object, ...]]) -> str:
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    for row in rows:
        writer.writerow([csv_cell(str(cell)) for cell in row])
    return target.getvalue()


def _error(item: Item) -> tuple[object, ...]:
    empty = ("",) * (len(_HEADER) - 5)
    return ("", "", "", item.kind, "", item.rule, item.result, *empty, item.what, item.hint or "")


def _rows(model: RunModel) -> Iterator[tuple[object, ...]]:
    empty = ("",) * (len(_HEADER) - 5)
    verdict = model.verdict or ""
    line = model_line(model)
    yield (
        model.name, model.result, "", "model", "", verdict, model.result, *empty, line, ""
    )  # fmt: skip
    for item in items(model):
        cells = (
            (*_cells(item.file, item.result)[:-1], item.what)
            if item.file is not None
            else (item.path or "", item.rule, item.result, *empty, item.what)
        )
        yield (model.name, model.result, item.side, item.kind, *cells, item.hint or "")


def _cells(file: FileDiff, result: str) -> tuple[object, ...]:
    left, right, basis = file.left, file.right, file.basis
    return (
        file.path,
        file.verdict,
        result,
        file.role,
        file.impact,
        left.size if left else "",
        right.size if right else "",
        left.digests.get("sha256", "") if left else "",
        right.digests.get("sha256", "") if right else "",
        basis.algorithm if basis else "",
        basis.left if basis else (left.evidence if left else ""),
        basis.right if basis else (right.evidence if right else ""),
        file.moved_from or "",
        told(file) if file.verdict != "identical" else "",
    )
