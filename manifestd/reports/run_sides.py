"""What the sides of a model are, and what their snapshots could not do, in words.

Texts from here are not escaped yet: each report escapes them for its medium.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from manifestd.display import size_text
from manifestd.model.run import RunModel, RunSide
from manifestd.reports.run_telling import Item, count_of_files, few_names, items
from manifestd.reports.telling import told

_SECURITY: Final = frozenset({"renamed"})
"""Codes of notes that matter for security: whoever takes the old name decides what is loaded."""
_SAID: Final = 3
"""Sentences of a side that every report with sides shows."""


def side_line(side: RunSide) -> str:
    """Where a side is and what its snapshot holds, in one line."""
    if side.snapshot is None:
        return side.reference
    parts = [side.reference]
    if side.revision and not side.reference.endswith(f"@{side.revision}"):
        algorithm, colon, digits = side.revision.rpartition(":")
        parts.append(f"revision {algorithm}{colon}{digits[:12]}")
    return ", ".join([*parts, count_of_files(side.files), size_text(side.bytes)])


def problem_lines(side: RunSide, limit: int) -> list[str]:
    """What a side's snapshot could not do, at most ``limit`` lines: what holds of most files first."""
    found = _alike(side)
    lines = [_problem(text, paths) for text, paths in found[:limit]]
    if len(found) > limit:
        lines.append(f"and {len(found) - limit} more problems")
    return lines + [problem.what for problem in side.problems if problem.code == "more-problems"]


def model_notes(model: RunModel) -> list[str]:
    """What must be known besides: the model's notes, then those of its sides about security."""
    notes = list(model.notes)
    for name, side in model.sides.items():
        for problem in side.problems:
            if problem.severity == "note" and problem.code in _SECURITY:
                action = f"; {problem.hint}" if problem.hint else ""
                notes.append(f"{name}: {problem.what}{action}")
    return notes


def brief_items(model: RunModel) -> list[Item]:
    """As :func:`items`, for reports that show the sides' problems above them.

    What a side says for several files (that its model is gated, that it is out of reach) is
    not said again for each.
    """
    said: dict[str, str] = {}
    for name, side in model.sides.items():
        for text, paths in _alike(side)[:_SAID]:
            if len(paths) > 1:
                said |= {f"{label}: {text}": name for label in _labels(model, name)}
    return [_brief(item, said) for item in items(model)] if said else list(items(model))


def _problem(text: str, paths: list[str | None]) -> str:
    names = list(dict.fromkeys(path for path in paths if path is not None))
    if not names:
        return text + (f" ({len(paths)} times)" if len(paths) > 1 else "")
    if len(names) == 1:
        return f"{names[0]}: {text}" + (f" ({len(paths)} times)" if len(paths) > 1 else "")
    return f"{len(names)} files ({few_names(names)}): {text}"


def _alike(side: RunSide) -> list[tuple[str, list[str | None]]]:
    """The sentences of a side's errors, each with the paths it holds of, most paths first."""
    found: dict[str, list[str | None]] = {}
    for problem in side.problems:
        if problem.severity == "error":
            found.setdefault(problem.what, []).append(problem.path)
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _labels(model: RunModel, side: str) -> Iterator[str]:
    """What the diffs of a model call a side."""
    if side == model.reference:
        yield "left"
    if side in model.compared:
        yield "right"


def _brief(item: Item, said: Mapping[str, str]) -> Item:
    file = item.file
    if file is None or file.verdict != "unverifiable" or not file.reason:
        return item
    for text, name in said.items():
        if file.reason == text:
            reason = f"it could not be read on {name}"
        elif file.reason.endswith(f"; {text}"):
            reason = file.reason.removesuffix(f"; {text}")
        else:
            continue
        shorter = msgspec.structs.replace(file, reason=reason)
        return item._replace(file=shorter, what=told(shorter))
    return item
