"""What every report promises: one result in (a diff or a run), text out, names escaped for the medium."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import msgspec

from manifestd.errors import UsageError
from manifestd.model.change import Diff, FileDiff
from manifestd.model.run_view import RunView


class ReportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to render.

    Attributes:
        changes_only: Leave identical files out; of a run, models that pass.
        color: ANSI colours may be used (text only).
        width: Columns of the terminal (text only).
    """

    changes_only: bool = False
    color: bool = False
    width: int = 100


class Report(ABC):
    """Renders diffs and runs.

    Attributes:
        name: The ``--format`` word.
        media_type: Of the text it makes.
    """

    name: ClassVar[str]
    media_type: ClassVar[str]

    @abstractmethod
    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The diff as text ending in one newline. Paths in it are hostile input."""

    def run(self, run: RunView, options: ReportOptions) -> Iterator[str]:
        """The run of many models as text ending in one newline, in pieces of whole lines.

        A run may be larger than memory: a report holds a model at a time, and passes over
        them as often as it must.

        Raises:
            UsageError: This report shows single comparisons only.
            TamperedError: A stored model is damaged; it may be raised in the middle.
        """
        raise UsageError(
            f"the report {self.name!r} cannot show runs",
            hint="use --format json, or compare two snapshots with manifestd diff",
        )


def listed(diff: Diff, options: ReportOptions) -> list[FileDiff]:
    """The files to show, in path order."""
    if not options.changes_only:
        return diff.files
    return [file for file in diff.files if file.verdict != "identical"]
