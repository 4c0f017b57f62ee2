"""One line a file, for spreadsheets and warehouses."""

from __future__ import annotations

import csv
import io
from typing import ClassVar, Final

from manifestd.model.change import Diff, FileDiff
from manifestd.reports.base import Report, ReportOptions, listed
from manifestd.reports.escape import csv_cell
from manifestd.reports.telling import outcomes, title, told

_HEADER: Final = (
    "model", "path", "verdict", "result", "role", "impact", "left_size", "right_size",
    "left_sha256", "right_sha256", "algorithm", "left_evidence", "right_evidence", "moved_from",
    "what",
)  # fmt: skip


class CsvReport(Report):
    """RFC 4180 with a header, lines ended by a line feed; no cell starts a formula."""

    name: ClassVar[str] = "csv"
    media_type: ClassVar[str] = "text/csv"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The table of files."""
        results = outcomes(diff)
        target = io.StringIO()
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(_HEADER)
        for file in listed(diff, options):
            cells = (title(diff), *_cells(file, results[file.path]))
            writer.writerow([csv_cell(str(cell)) for cell in cells])
        return target.getvalue()


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
