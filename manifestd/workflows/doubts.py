"""What a snapshot could not see, and what that takes from a comparison's certainty.

A file that one side lists and the other could not even look at is not missing
there: nobody knows. Such paths are ``unverifiable``, never ``leftOnly``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from manifestd.model.change import FileDiff
from manifestd.model.entry import File, Problem
from manifestd.model.snapshot import Snapshot
from manifestd.rules.compare import side_of
from manifestd.rules.gaps import snapshot_command

SideName = Literal["left", "right"]


class Doubts(msgspec.Struct, frozen=True, kw_only=True):
    """One side's blind spots.

    Attributes:
        name: ``left`` or ``right``.
        place: The side's reference, for hints.
        paths: Path -> why it could not be read.
        whole: Why the listing itself may lack files, or None.
    """

    name: SideName
    place: str
    paths: dict[str, Problem]
    whole: Problem | None

    def missing(self, file: File) -> FileDiff | None:
        """The verdict on a file that this side does not list, if its absence is in doubt."""
        problem = self.paths.get(file.path) or self.whole
        if problem is None:
            return None
        shown = side_of(file)
        other_is_left = self.name == "right"
        return FileDiff(
            path=file.path,
            verdict="unverifiable",
            role=file.seen.role,
            left=shown if other_is_left else None,
            right=None if other_is_left else shown,
            reason=f"{self.name}: {problem.what}",
            hint=self._hint(problem),
        )

    def unseen(self, listed: Iterable[str]) -> list[FileDiff]:
        """Paths that could not be looked at and that no file stands for."""
        gone = self.paths.keys() - set(listed)
        return [
            FileDiff(
                path=path,
                verdict="unverifiable",
                reason=f"{self.name}: {self.paths[path].what}",
                hint=self._hint(self.paths[path]),
            )
            for path in sorted(gone, key=str.encode)
        ]

    def finding(self) -> dict[str, Any] | None:
        """The finding for an incomplete listing: the result cannot be better than unknown."""
        if self.whole is None:
            return None
        what = f"the {self.name} snapshot may lack files: {self.whole.what}"
        return {"rule": "incomplete", "result": "unknown", "side": self.name, "what": what}

    def _hint(self, problem: Problem) -> str | None:
        if problem.hint is not None:
            return problem.hint
        command = snapshot_command(self.place, "missing")
        return f"run `{command}`, then compare again" if command else None


def doubts_of(
    record: Snapshot, name: SideName, place: str, shown: Callable[[str], str] = str
) -> Doubts:
    """The blind spots that a record states; ``shown`` gives its paths the names they go by."""
    errors = [problem for problem in record.problems if problem.severity == "error"]
    paths = {shown(problem.path): problem for problem in errors if problem.path is not None}
    whole = next((problem for problem in errors if problem.path is None), None)
    if whole is None and not record.complete:
        whole = next((p for p in record.problems if p.code == "more-problems"), None)
    return Doubts(name=name, place=place, paths=paths, whole=whole)


def notes_of(left: Snapshot, right: Snapshot) -> list[str]:
    """What a reader of the diff must know besides: selections, gaps, contradictions."""
    notes: list[str] = []
    if sorted(left.selection.ignore) != sorted(right.selection.ignore):
        notes.append(
            "the two snapshots left out different files: "
            f"left {_globs(left)}, right {_globs(right)}"
        )
    for name, record in (("left", left), ("right", right)):
        errors = [problem for problem in record.problems if problem.severity == "error"]
        wrong = [problem for problem in record.problems if problem.severity == "mismatch"]
        if not record.complete:
            notes.append(f"the {name} snapshot is incomplete{_first(errors)}")
        if wrong:
            notes.append(f"the {name} side contradicts itself{_first(wrong)}")
    return notes


def _globs(record: Snapshot) -> str:
    return ", ".join(record.selection.ignore) or "nothing"


def _first(problems: list[Problem]) -> str:
    if not problems:
        return ""
    first = problems[0]
    where = f"{first.path}: " if first.path is not None else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f": {where}{first.what}{more}"
