"""Chat templates that stand in another file than before, and are the same text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from manifestd.formats.templates import holds_templates, moved_templates
from manifestd.model.change import FileDiff
from manifestd.model.entry import File
from manifestd.workflows.listing import Listing

_NAMES: Final = ("tokenizer_config.json", "chat_template.json", "chat_template.jinja")
_MAX_NOTES: Final = 10


def template_notes(
    sides: tuple[Listing, Listing],
    files: Iterable[FileDiff],
    body: Callable[[File], bytes | None],
) -> list[str]:
    """One sentence for each template that only moved (specs 5.4).

    Args:
        sides: The two file lists.
        files: At least every file that is not identical.
        body: A file's bytes, where the store keeps them.
    """
    changed = {f.path for f in files if f.verdict != "identical" and holds_templates(f.path)}
    if not changed:
        return []
    # A template may go on standing in a file that did not change.
    folders = {path.removesuffix(path.rpartition("/")[2]) for path in changed}
    folders |= {folder.removesuffix("additional_chat_templates/") for folder in folders}
    paths = changed | {folder + name for folder in folders for name in _NAMES}
    left, right = (
        {path: data for path, file in side.some(paths).items() if (data := body(file)) is not None}
        for side in sides
    )
    return moved_templates(left, right)[:_MAX_NOTES]
