"""What every report promises: one result document in, text out, names escaped for the medium."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import msgspec

from manifestd.model.change import Diff, FileDiff


class ReportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to render.

    Attributes:
        changes_only: Leave identical files out.
        color: ANSI colours may be used (text only).
        width: Columns of the terminal (text only).
    """

    changes_only: bool = False
    color: bool = False
    width: int = 100


class Report(ABC):
    """Renders a diff.

    Attributes:
        name: The ``--format`` word.
        media_type: Of the text it makes.
    """

    name: ClassVar[str]
    media_type: ClassVar[str]

    @abstractmethod
    def diff(self, diff: Diff, options: ReportOptions) -> str:
        """The diff as text ending in one newline. Paths in it are hostile input."""


def listed(diff: Diff, options: ReportOptions) -> list[FileDiff]:
    """The files to show, in path order."""
    if not options.changes_only:
        return diff.files
    return [file for file in diff.files if file.verdict != "identical"]
