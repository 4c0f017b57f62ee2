"""Where the sides of a model are, and which paths of one side stand for which of another.

Pure: whatever is wrong with a mapping is found from the configuration alone, before
anything is asked of a source; only what depends on the files themselves is found later.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from manifestd.errors import ConfigError
from manifestd.model.reference import (
    DirectoryReference,
    HubReference,
    OciReference,
    Reference,
    S3Reference,
)

FIELDS: Final = ("name", "org", "repo")
"""``{name}`` the whole name, ``{org}`` what stands before its first slash, ``{repo}`` after its last."""

_TEMPLATE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def fill(template: str, name: str, key: str) -> str:
    """Fill a template with a model's name; ``{{`` and ``}}`` are braces themselves.

    Args:
        template: ``s3://models/{name}/``.
        name: The model's name.
        key: The configuration's key of the template, for errors.

    Raises:
        ConfigError: An unknown field, a lone brace, or ``{org}`` for a name without one.

    Example:
        >>> fill("s3://models/{org}--{repo}/", "openai-community/gpt2", "sides.mirror")
        's3://models/openai-community--gpt2/'
    """
    org, slash, _ = name.partition("/")
    values = {"name": name, "org": org if slash else None, "repo": name.rpartition("/")[2]}

    def value(match: re.Match[str]) -> str:
        text = match[0]
        if text in {"{{", "}}"}:
            return text[0]
        field = match[1]
        if field is None:
            raise ConfigError(
                f"{key}: a lone {text} in {template!r}", hint="write it twice to mean itself"
            )
        if field not in values:
            near = difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.4)
            raise ConfigError(
                f"{key}: unknown field {{{field}}} in {template!r}",
                hint=f"did you mean {{{near[0]}}}?" if near else "known are {name}, {org}, {repo}",
                facts={"key": key, "field": field},
            )
        found = values[field]
        if found is None:
            raise ConfigError(
                f"{key}: {{org}} in {template!r} has no value for the model {name!r}",
                why="its name has no organisation before a slash",
                hint=f"give this model its own side, or name it org/{name}",
            )
        return found

    return _TEMPLATE.sub(value, template)


def same_place(reference: Reference) -> str:
    """What two references have in common exactly when they mean the same files."""
    match reference:
        case S3Reference(bucket=bucket, prefix=prefix):
            return f"s3://{bucket}/{prefix.rstrip('/')}"
        case DirectoryReference(path=path):
            return f"file://{path.rstrip('/')}"
        case HubReference():
            revision = reference.revision or "main"
            return f"{reference.place().lower()}@{revision}"
        case OciReference():
            return str(reference)


def check_places(models: Mapping[str, Mapping[str, Reference]]) -> None:
    """Check that no place stands for two models, nor for two sides of one.

    Args:
        models: Name -> side -> reference.

    Raises:
        ConfigError: One does; the message names the place and both that claim it.
    """
    taken: dict[tuple[str, str], str] = {}
    for name, sides in models.items():
        mine: dict[str, str] = {}
        for side, reference in sides.items():
            place = same_place(reference)
            if place in mine:
                raise ConfigError(
                    f"the sides {mine[place]} and {side} of {name} are one place: {reference}",
                    hint="a place cannot be compared with itself: give each side its own",
                    facts={"model": name, "place": str(reference)},
                )
            mine[place] = side
            other = taken.setdefault((side, place), name)
            if other != name:
                raise ConfigError(
                    f"{other} and {name} have one place on the side {side}: {reference}",
                    hint=f'give one of them its own: sides = {{ {side} = "…" }}',
                    facts={"models": [other, name], "side": side, "place": str(reference)},
                )


class PathRule(msgspec.Struct, frozen=True):
    """``reference`` on the reference side is called ``other`` on the other sides; ``*`` is anything."""

    reference: str
    other: str

    def __str__(self) -> str:
        return f"{self.reference} -> {self.other}"


class PathMap:
    """The path rules of one model, both ways.

    A ``*`` stands for any text, slashes included; the texts are carried over in their
    order. Both patterns of a rule have equally many.

    Args:
        rules: The rules, checked against each other.
        key: The configuration's key, for errors.

    Raises:
        ConfigError: Unequal numbers of ``*``, or two rules that claim one path.
    """

    def __init__(self, rules: Sequence[PathRule], key: str = "paths") -> None:
        self.rules = tuple(rules)
        for number, rule in enumerate(self.rules):
            where = f"{key}[{number}]"
            if rule.reference.count("*") != rule.other.count("*"):
                raise ConfigError(
                    f"{where}: the two patterns of {rule} do not have equally many *",
                    hint="what a * stands for on one side is put in the place of a * on the other",
                )
        self._reference = [_Pattern(rule.reference) for rule in self.rules]
        self._other = [_Pattern(rule.other) for rule in self.rules]
        self._check_overlaps(key)

    def _check_overlaps(self, key: str) -> None:
        """Two rules that claim one path, or one that claims all paths of another.

        A pattern read as a path, its stars being letters like any other, is matched by
        another exactly when that one matches everything it does: no pattern has a star as a
        letter, so only the other's stars can stand for it. That two patterns have *some*
        paths in common is no mistake until there is such a path.
        """
        sides = (
            ("reference", self._reference, [rule.reference for rule in self.rules]),
            ("other", self._other, [rule.other for rule in self.rules]),
        )
        for side, patterns, texts in sides:
            for number, text in enumerate(texts):
                for other, pattern in enumerate(patterns):
                    if number != other and pattern.matches(text):
                        first, second = sorted((number, other))
                        every = "every path " if "*" in text else ""
                        raise ConfigError(
                            f"{key}[{first}] and {key}[{second}] both match {every}{text!r} "
                            f"on the {side} side",
                            hint="make the patterns exclude each other, or remove one of the rules",
                            facts={"path": text, "rules": [first, second]},
                        )

    def matching(self, path: str) -> set[int]:
        """Numbers of the rules whose reference pattern matches a path of the reference side."""
        return {number for number, pattern in enumerate(self._reference) if pattern.matches(path)}

    def back(self, path: str) -> tuple[int, str] | None:
        """The rule that names a path of another side, and what the reference side calls it.

        Raises:
            ConfigError: Two rules match it.
        """
        found = [
            (number, texts) for number, pattern in enumerate(self._other)
            if (texts := pattern.texts(path)) is not None
        ]  # fmt: skip
        if not found:
            return None
        if len(found) > 1:
            first, second = (self.rules[number] for number, _ in found[:2])
            raise ConfigError(
                f"two path rules match {path!r}: {first}, and {second}",
                hint="make the patterns exclude each other",
                facts={"path": path},
            )
        number, texts = found[0]
        return number, self._reference[number].filled(texts)

    def unused(
        self, reference: Iterable[str], others: Iterable[str]
    ) -> tuple[list[str], list[str]]:
        """Rules that match no path of either side, and those that match on one side only.

        Args:
            reference: Paths of the reference side.
            others: Paths of the other side, under its own names.

        Returns:
            The rules in words; of the second list with the side that lacks a match.
        """
        left: set[int] = set()
        right: set[int] = set()
        for path in reference:
            left |= self.matching(path)
        for path in others:
            if (found := self.back(path)) is not None:
                right.add(found[0])
        numbers = range(len(self.rules))
        nowhere = [str(self.rules[n]) for n in numbers if n not in left | right]
        half = [
            f"{self.rules[n]} matches nothing on the {'other' if n in left else 'reference'} side"
            for n in numbers
            if (n in left) != (n in right)
        ]
        return nowhere, half


class _Pattern:
    """A pattern whose only sign is ``*``; matched from the left in linear time, whatever the path."""

    def __init__(self, text: str) -> None:
        self._pieces = text.split("*")

    def texts(self, path: str) -> list[str] | None:
        """What each ``*`` stands for, as short as it can be; None when the path does not match."""
        first, *middle = self._pieces
        if not middle:
            return [] if path == first else None
        last = middle.pop()
        end = len(path) - len(last)
        at = len(first)
        if at > end or not path.startswith(first) or not path.endswith(last):
            return None
        found: list[str] = []
        for piece in middle:
            next_at = path.find(piece, at, end)
            if next_at < 0:
                return None
            found.append(path[at:next_at])
            at = next_at + len(piece)
        return [*found, path[at:end]]

    def matches(self, path: str) -> bool:
        """Whether the path matches."""
        return self.texts(path) is not None

    def filled(self, texts: Sequence[str]) -> str:
        """The pattern with ``texts`` in the place of its stars."""
        pairs = zip(texts, self._pieces[1:], strict=True)
        return self._pieces[0] + "".join(text + piece for text, piece in pairs)
