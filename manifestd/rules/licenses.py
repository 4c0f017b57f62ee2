"""Licences: what a card, the Hub and a licence's own text say, and whether they agree.

Identifiers are those of the Hub (lower case: ``apache-2.0``, ``llama3.1``), which are SPDX's in
lower case where SPDX has one. Texts are known by phrases that stand in them and in no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

MAX_TEXT: Final = 64 * 1024
"""Bytes of a licence file that are looked at; the phrases stand near the beginning of all texts."""

_ALIASES: Final[dict[str, str]] = {
    "apache2": "apache-2.0", "apache 2.0": "apache-2.0", "apache-2": "apache-2.0",
    "apache license 2.0": "apache-2.0", "mit license": "mit", "cc0": "cc0-1.0",
    "gpl-3.0-only": "gpl-3.0", "gpl-3.0-or-later": "gpl-3.0", "gplv3": "gpl-3.0",
    "gpl-2.0-only": "gpl-2.0", "gpl-2.0-or-later": "gpl-2.0", "gplv2": "gpl-2.0",
    "lgpl-3.0-only": "lgpl-3.0", "lgpl-3.0-or-later": "lgpl-3.0",
    "lgpl-2.1-only": "lgpl-2.1", "lgpl-2.1-or-later": "lgpl-2.1",
    "agpl-3.0-only": "agpl-3.0", "agpl-3.0-or-later": "agpl-3.0", "llama-2": "llama2",
    "llama-3": "llama3",
}  # fmt: skip

_PHRASES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("llama4", ("llama 4 community license",)),
    ("llama3.3", ("llama 3.3 community license",)),
    ("llama3.2", ("llama 3.2 community license",)),
    ("llama3.1", ("llama 3.1 community license",)),
    ("llama3", ("llama 3 community license",)),
    ("llama2", ("llama 2 community license",)),
    ("gemma", ("gemma terms of use",)),
    ("bigscience-bloom-rail-1.0", ("bigscience rail license v1.0",)),
    ("bigcode-openrail-m", ("bigcode openrail-m",)),
    ("creativeml-openrail-m", ("creativeml open rail-m",)),
    ("openrail++", ("creativeml open rail++-m",)),
    ("openmdw-1.1", ("openmdw license agreement, version 1.1",)),
    ("openmdw-1.0", ("openmdw license agreement, version 1.0",)),
    ("apache-2.0", ("apache license", "version 2.0, january 2004")),
    ("agpl-3.0", ("gnu affero general public license", "version 3, 19 november 2007")),
    ("lgpl-3.0", ("gnu lesser general public license", "version 3, 29 june 2007")),
    ("lgpl-2.1", ("gnu lesser general public license", "version 2.1, february 1999")),
    ("lgpl-2.0", ("gnu library general public license", "version 2, june 1991")),
    ("python-2.0", ("python software foundation license version 2",)),
    ("gpl-3.0", ("gnu general public license", "version 3, 29 june 2007")),
    ("gpl-2.0", ("gnu general public license", "version 2, june 1991")),
    ("mpl-2.0", ("mozilla public license", "version 2.0")),
    ("epl-2.0", ("eclipse public license", "v 2.0")),
    ("eupl-1.2", ("european union public licence", "v. 1.2")),
    ("cc-by-nc-nd-4.0", ("attribution-noncommercial-noderivatives 4.0 international",)),
    ("cc-by-nc-sa-4.0", ("attribution-noncommercial-sharealike 4.0 international",)),
    ("cc-by-nc-4.0", ("attribution-noncommercial 4.0 international",)),
    ("cc-by-nd-4.0", ("attribution-noderivatives 4.0 international",)),
    ("cc-by-sa-4.0", ("attribution-sharealike 4.0 international",)),
    ("cc-by-4.0", ("attribution 4.0 international",)),
    ("cc0-1.0", ("cc0 1.0 universal",)),
    ("unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("bsl-1.0", ("boost software license - version 1.0",)),
    ("isc", ("permission to use, copy, modify, and/or distribute this software for any purpose",)),
    ("bsd-3-clause", ("redistribution and use in source and binary forms", "neither the name")),
    ("bsd-2-clause", ("redistribution and use in source and binary forms",)),
    ("mit", ("permission is hereby granted, free of charge, to any person obtaining a copy",)),
)  # fmt: skip
"""Identifier and the phrases that all stand in its text; the one that begins first wins."""

_TITLES: Final[dict[str, str]] = {
    "mit license": "mit", "the mit license": "mit", "the mit license (mit)": "mit",
    "apache license": "apache-2.0", "apache license 2.0": "apache-2.0",
    "apache license, version 2.0": "apache-2.0", "apache-2.0": "apache-2.0", "mit": "mit",
    "bsd 3-clause license": "bsd-3-clause", "bsd 2-clause license": "bsd-2-clause",
    "isc license": "isc", "boost software license": "bsl-1.0",
}  # fmt: skip
"""First lines that say all, for files that hold little more than them."""

_SPDX: Final = re.compile(r"spdx-license-identifier:\s*([a-z0-9.+-]{2,60})")
_SPACE: Final = re.compile(r"[\s*#>=_`]+")
_ALTERED: Final = re.compile(r"modified|non-?commercial|for research (?:purposes )?only")
_RESTRICTED: Final = re.compile(r"cc-by-nc|rail|llama|gemma")
"""Licences of which a restriction is a part."""


class Stance(msgspec.Struct, frozen=True, kw_only=True):
    """What one place says of the licence.

    Attributes:
        known: Whether the place was looked at; otherwise nothing follows from ``ids``.
        ids: Identifiers, normal form, sorted; empty: it names none that is known.
    """

    known: bool = False
    ids: tuple[str, ...] = ()


class LicenceFile(msgspec.Struct, frozen=True, kw_only=True):
    """One licence file.

    Attributes:
        sha256: Of its bytes, None where that is unknown.
        name: Identifier of its text, None when it is none that is known.
        read: Whether its text was looked at.
    """

    sha256: str | None
    name: str | None = None
    read: bool = False


class Licences(msgspec.Struct, frozen=True, kw_only=True):
    """The three stances on one snapshot.

    Attributes:
        card: Front matter of the model card.
        hub: Metadata that the source itself keeps.
        files: Path -> licence file at the root of the model.
    """

    card: Stance = Stance()
    hub: Stance = Stance()
    files: dict[str, LicenceFile] = {}

    @property
    def text(self) -> Stance:
        """What the licence files say together."""
        return Stance(
            known=all(file.read for file in self.files.values()),
            ids=tuple(sorted({file.name for file in self.files.values() if file.name})),
        )

    def stances(self) -> dict[str, Stance]:
        """The stances by what they are called in messages."""
        return {"model card": self.card, "Hub metadata": self.hub, "licence text": self.text}


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshot that a change of licence is measured against.

    Attributes:
        kind: ``approved``, or ``previous``: the last one with other content.
    """

    snapshot: str
    kind: str
    captured_at: str
    licences: Licences


def normal(text: str) -> str:
    """An identifier's normal form.

    Example:
        >>> normal("Apache-2"), normal("GPL-3.0-or-later")
        ('apache-2.0', 'gpl-3.0')
    """
    plain = " ".join(text.lower().split())
    return _ALIASES.get(plain, plain)[:100]


def stance(words: Iterable[str]) -> Stance:
    """A stance that was looked at and says these words."""
    return Stance(known=True, ids=tuple(sorted({normal(word) for word in words if word.strip()})))


def identify(text: bytes) -> str | None:
    r"""The identifier of a licence text; None when it is none that is known.

    Example:
        >>> identify(b"Apache License\n   Version 2.0, January 2004\n")
        'apache-2.0'
    """
    lower = text[:MAX_TEXT].decode("utf-8", "replace").lower()
    found = _SPDX.search(lower)
    if found:
        return normal(found[1])
    plain = _SPACE.sub(" ", lower).strip()
    matches = [
        (plain.index(phrases[0]), name)
        for name, phrases in _PHRASES
        if all(phrase in plain for phrase in phrases)
    ]
    first = next((line for line in lower.splitlines() if _SPACE.sub(" ", line).strip()), "")
    title = _SPACE.sub(" ", first).strip().rstrip(".")
    name = min(matches, key=lambda match: match[0])[1] if matches else _TITLES.get(title)
    if name is None or _RESTRICTED.match(name):
        return name
    # A free licence with a restriction written into it is another licence.
    opening = plain[: 2000 if len(plain) > 4000 else None]
    return None if _ALTERED.search(opening if name == "mit" else title) else name


def same(left: str, right: str) -> bool:
    """Whether two identifiers can mean one licence: equal, or one is the other's family.

    Example:
        >>> same("bsd", "bsd-3-clause"), same("mit", "apache-2.0")
        (True, False)
    """
    return left == right or left.startswith(right + "-") or right.startswith(left + "-")


def agree(left: Stance, right: Stance) -> bool:
    """Whether two stances can both be true; one that names nothing contradicts nothing."""
    if not left.ids or not right.ids:
        return True
    return any(same(one, other) for one in left.ids for other in right.ids)


def allowed(name: str, licences: Iterable[str]) -> bool:
    """Whether an identifier is on the list. Families do not count: ``cc-by`` is no ``cc-by-nc``."""
    return name in map(normal, licences)
