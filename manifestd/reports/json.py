"""The diff or run itself, as one JSON document: what other programs read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec

from manifestd.model.change import Diff
from manifestd.model.run_view import RunView
from manifestd.reports.base import Report, ReportOptions, listed
from manifestd.reports.json_lines import json_pieces


class JsonReport(Report):
    """``manifestd.diff/v1`` or ``manifestd.run/v1`` on indented lines, as ``schemas/v1`` has them."""

    name: ClassVar[str] = "json"
    media_type: ClassVar[str] = "application/json"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The document; ``changes_only`` leaves identical files out, counts stay."""
        document = msgspec.structs.replace(diff, files=listed(diff, options))
        return "".join(json_pieces(document, []))

    def run(self, run: RunView, options: ReportOptions) -> Iterator[str]:
        """The document; ``changes_only`` leaves models out that pass, counts stay."""
        models = run.models(failing_only=options.changes_only)
        yield from json_pieces(run.head, [("models", models)])
