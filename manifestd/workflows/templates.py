"""Chat templates that stand in another file than before, and are the same text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from manifestd.formats.templates import Moved, holds_templates, moved_templates
from manifestd.model.change import Change, FileDiff
from manifestd.model.entry import File
from manifestd.workflows.listing import Listing

_NAMES: Final = ("tokenizer_config.json", "chat_template.json", "chat_template.jinja")
_MAX_NOTES: Final = 10
_WHY: Final = "the template itself is unchanged; loaders find it in another file"


def with_moved_templates(
    sides: tuple[Listing, Listing],
    files: Sequence[FileDiff],
    body: Callable[[File], bytes | None],
) -> tuple[list[FileDiff], list[str]]:
    """The files, told so where a template only moved (specs 5.4), and a sentence for each of those.

    Args:
        sides: The two file lists.
        files: At least every file that is not identical.
        body: A file's bytes, where the store keeps them.
    """
    changed = {f.path for f in files if f.verdict != "identical" and holds_templates(f.path)}
    if not changed:
        return [*files], []
    # A template may go on standing in a file that did not change.
    folders = {path.removesuffix(path.rpartition("/")[2]) for path in changed}
    folders |= {folder.removesuffix("additional_chat_templates/") for folder in folders}
    paths = changed | {folder + name for folder in folders for name in _NAMES}
    left, right = (
        {path: data for path, file in side.some(paths).items() if (data := body(file)) is not None}
        for side in sides
    )
    moved = moved_templates(left, right)
    if moved:
        files = [_told(file, moved) for file in files]
    return [*files], [one.told() for one in moved[:_MAX_NOTES]]


def _told(file: FileDiff, moved: Sequence[Moved]) -> FileDiff:
    """A file without the claim that a template in it is gone or new, where it only moved."""
    here = [one for one in moved if file.path in {*one.left, *one.right}]
    if not here:
        return file
    if file.verdict in {"leftOnly", "rightOnly"} and not file.path.endswith(_NAMES[0]):
        return msgspec.structs.replace(file, summary=_WHY)
    changes = [
        msgspec.structs.replace(one, reason=_WHY) if _moving(one) else one for one in file.changes
    ]
    return msgspec.structs.replace(file, changes=changes)


def _moving(change: Change) -> bool:
    """Whether the file's one template came or went; of several, only the note tells which."""
    gone = change.left is msgspec.UNSET or change.right is msgspec.UNSET
    return gone and change.at == "/chat_template"
