"""The diff or run itself, as one JSON document: what other programs read."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from manifestd.model.change import Diff
from manifestd.model.run import Run
from manifestd.reports.base import Report, ReportOptions, listed
from manifestd.reports.escape import json_text


class JsonReport(Report):
    """``manifestd.diff/v1`` or ``manifestd.run/v1`` on indented lines, as ``schemas/v1`` has them."""

    name: ClassVar[str] = "json"
    media_type: ClassVar[str] = "application/json"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The document; ``changes_only`` leaves identical files out, counts stay."""
        document = msgspec.structs.replace(diff, files=listed(diff, options))
        return _lines(document)

    def run(self, run: Run, options: ReportOptions) -> str:
        """The document; ``changes_only`` leaves models out that pass, counts stay."""
        models = [model for model in run.models if model.result != "pass"]
        return _lines(msgspec.structs.replace(run, models=models) if options.changes_only else run)


def _lines(document: Diff | Run) -> str:
    data = msgspec.json.format(msgspec.json.encode(document), indent=1)
    return json_text(data.decode()) + "\n"
