"""The diff itself, as one JSON document: what other programs read."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from manifestd.model.change import Diff
from manifestd.reports.base import Report, ReportOptions, listed
from manifestd.reports.escape import json_text


class JsonReport(Report):
    """``manifestd.diff/v1`` on indented lines, checked against ``schemas/v1/diff.schema.json``."""

    name: ClassVar[str] = "json"
    media_type: ClassVar[str] = "application/json"

    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The document; ``changes_only`` leaves identical files out, counts stay."""
        document = msgspec.structs.replace(diff, files=listed(diff, options))
        data = msgspec.json.format(msgspec.json.encode(document), indent=1)
        return json_text(data.decode()) + "\n"
