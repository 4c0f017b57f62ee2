"""The result of ``verify --against`` as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from manifestd.display import printable, size_text
from manifestd.model.change import FileDiff, Verdict

if TYPE_CHECKING:
    from manifestd.model.verification import AgainstReport

_WORDS: Final[dict[Verdict, str]] = {
    "different": "different",
    "leftOnly": "missing",
    "rightOnly": "extra",
    "unverifiable": "undecided",
}
_SHOWN: Final = 10
"""Damaged ranges shown of one file."""


def against_lines(report: AgainstReport) -> list[str]:
    """What the place holds beside the snapshot; the first line says it all."""
    place = printable(report.place)
    if not report.read:
        return [f"NOT READ: {place}", "  what is stored does not verify, so it proves nothing"]
    counts = report.counts
    mismatch = any(one.severity == "mismatch" for one in report.problems)
    differs = counts.different or counts.left_only or counts.right_only
    word = "the same"
    if counts.unverifiable or any(one.severity == "error" for one in report.problems):
        word = "UNDECIDED"
    word = "CORRUPT" if mismatch else "DIFFERS" if differs else word
    at = f" at {report.revision}" if report.revision else ""
    found = f"{counts.identical} identical, {counts.different} different, "
    found += f"{counts.left_only} missing, {counts.right_only} extra, "
    lines = [
        f"{word}: {place}{at}",
        f"  files      {found}{counts.unverifiable} undecided",
        f"  read       {size_text(report.bytes_read)} in {report.requests} requests",
    ]
    for file in report.files:
        lines += _file_lines(file)
    if report.more_files:
        lines.append(f"  … and {report.more_files} more files")
    told = {file.path for file in report.files if file.verdict == "unverifiable"}
    for problem in report.problems:
        if problem.severity == "note" or problem.path in told:
            continue
        where = f"{printable(problem.path)}: " if problem.path is not None else ""
        lines.append(f"  {problem.severity:9}  {where}{printable(problem.what)}")
        if problem.hint:
            lines.append(f"    hint: {printable(problem.hint)}")
    return lines


def _file_lines(file: FileDiff) -> list[str]:
    reason = f": {printable(file.reason)}" if file.reason else ""
    lines = [f"  {_WORDS.get(file.verdict, file.verdict):9}  {printable(file.path)}{reason}"]
    for change in file.changes[:_SHOWN]:
        what = f": {printable(change.what)}" if change.what else ""
        lines.append(f"    {change.at}{what}")
    more = file.more_changes + max(0, len(file.changes) - _SHOWN)
    if more:
        lines.append(f"    … and {more} more ranges")
    if file.hint:
        lines.append(f"    hint: {printable(file.hint)}")
    return lines
