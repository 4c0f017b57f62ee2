"""What the Hub says of a repository at a revision, and what of it a snapshot keeps."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from manifestd.model.snapshot import SourceFacts

MAX_SIBLINGS: Final = 1000
"""Above this many files the Hub's own list of names has been known to be short."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}\Z")
_MAX_TEXT: Final = 300
_MAX_LICENSES: Final = 20


class Sibling(msgspec.Struct, frozen=True):
    """A file's name in the repository's info."""

    rfilename: str


class HubInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The document of ``/api/<type>s/<id>``: only ``id`` and ``sha`` have to fit.

    Attributes:
        id: The repository's name now.
        sha: The commit that the revision asked for stands for.
        siblings: Names of the files.
    """

    id: str
    sha: str | None = None
    siblings: list[Sibling] | None = None
    private: Any = None
    gated: Any = None
    disabled: Any = None
    last_modified: Any = None
    card_data: Any = None
    tags: Any = None
    library: Any = msgspec.field(name="library_name", default=None)
    pipeline: Any = msgspec.field(name="pipeline_tag", default=None)


def is_commit(text: str | None) -> bool:
    """Whether ``text`` is a whole commit id."""
    return bool(text and _COMMIT.match(text))


def names_of(info: HubInfo) -> frozenset[str] | None:
    """The files' names where the info can be relied on, else None."""
    if info.siblings is None or len(info.siblings) > MAX_SIBLINGS:
        return None
    return frozenset(sibling.rfilename for sibling in info.siblings)


def facts_of(info: HubInfo) -> SourceFacts:
    """The facts a snapshot keeps: small, bounded, and nothing that moves by itself.

    The licence is what the author wrote into the model card at this revision; the
    Hub checks nothing of it.
    """
    card = info.card_data if isinstance(info.card_data, dict) else {}
    found: SourceFacts = {
        "license": _license(card, info.tags),
        "licenseName": _text(card.get("license_name")),
        "licenseLink": _text(card.get("license_link")),
        "gated": info.gated if info.gated is False else _text(info.gated),
        "private": info.private if isinstance(info.private, bool) else None,
        "disabled": info.disabled if isinstance(info.disabled, bool) else None,
        "lastModified": _text(info.last_modified),
        "libraryName": _text(info.library),
        "pipelineTag": _text(info.pipeline),
    }
    return {name: value for name, value in found.items() if value is not None}


def _license(card: dict[str, Any], tags: Any) -> str | list[str] | None:
    stated = card.get("license")
    if isinstance(stated, list):
        names = [name for name in map(_text, stated[:_MAX_LICENSES]) if name]
        return names or None
    if _text(stated):
        return _text(stated)
    tagged = [
        tag.removeprefix("license:")[:_MAX_TEXT]
        for tag in (tags if isinstance(tags, list) else [])
        if isinstance(tag, str) and tag.startswith("license:")
    ][:_MAX_LICENSES]
    return tagged[0] if len(tagged) == 1 else (tagged or None)


def _text(value: Any) -> str | None:
    return value[:_MAX_TEXT] if isinstance(value, str) and value else None
