"""One side's files as a comparison sees them: as stored, or under the reference side's names."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final

import msgspec

from manifestd.errors import ConfigError
from manifestd.model.entry import File
from manifestd.model.snapshot import Snapshot
from manifestd.rules.mapping import PathMap
from manifestd.store import Store

_BATCH: Final = 1024


class Listing:
    """The files of a stored snapshot under their own names."""

    def __init__(self, store: Store, record: Snapshot) -> None:
        self._store = store
        self.record = record

    def files(self) -> Iterator[File]:
        """Every file in path order, streaming."""
        return self._store.trees.files(self.record)

    def some(self, paths: Collection[str]) -> dict[str, File]:
        """The files of these paths; those that do not exist are left out."""
        return self._store.trees.some_files(self.record, paths)

    def paths(self) -> Iterator[str]:
        """Every path, as the snapshot has it."""
        return (path for path, _, _ in self._store.trees.content(self.record.content))

    def shown(self, path: str) -> str:
        """What the reference side calls a path of this side."""
        return path

    def own(self, path: str) -> str | None:
        """This side's own name of a file that goes by another here; None where it is the same."""
        return None


class MappedListing(Listing):
    """The files of a snapshot under the names that path rules give them; nothing is rewritten.

    Holds the names that change, and no others.

    Raises:
        ConfigError: A path is matched by two rules, or two files get one name.
    """

    def __init__(self, store: Store, record: Snapshot, paths: PathMap) -> None:
        super().__init__(store, record)
        self._map = paths
        self._own: dict[str, str] = {}
        self._moved: set[str] = set()
        for path in self.paths():
            found = paths.back(path)
            if found is None:
                continue
            name = found[1]
            if name in self._own:
                raise _twice(name, self._own[name], path)
            self._own[name] = path
            self._moved.add(path)

    def check(self) -> None:
        """Look for a name given by a rule that is that of another file, reading paths alone.

        Raises:
            ConfigError: There is one; :meth:`files` would raise it once it is met.
        """
        for path in self.paths():
            if path in self._own and path not in self._moved:
                raise _twice(path, self._own[path], path)

    def files(self) -> Iterator[File]:
        """Every file in the order of the names given here.

        Raises:
            ConfigError: A name given by a rule is that of another file.
        """
        plain = (file for file in super().files() if file.path not in self._moved)
        last = None
        for file in heapq.merge(plain, self._renamed(), key=lambda file: file.path.encode()):
            if last is not None and last == file.path:
                raise _twice(last, self._own[last], last)
            last = file.path
            yield file

    def _renamed(self) -> Iterator[File]:
        names = iter(sorted(self._own, key=str.encode))
        while batch := list(islice(names, _BATCH)):
            found = super().some([self._own[name] for name in batch])
            for name in batch:
                yield msgspec.structs.replace(found[self._own[name]], path=name)

    def some(self, paths: Collection[str]) -> dict[str, File]:
        """The files of these names; those that do not exist are left out."""
        own = {
            path: self._own.get(path, path)
            for path in paths
            if path in self._own or path not in self._moved
        }
        found = super().some(list(own.values()))
        return {
            path: msgspec.structs.replace(found[name], path=path)
            for path, name in own.items()
            if name in found
        }

    def shown(self, path: str) -> str:
        """What the reference side calls a path of this side."""
        found = self._map.back(path)
        return path if found is None else found[1]

    def own(self, path: str) -> str | None:
        """This side's own name, where a rule gave another."""
        name = self._own.get(path)
        return None if name == path else name


def check_used(paths: PathMap, left: Listing, right: Listing) -> list[str]:
    """Notes on rules that match on one side only.

    Raises:
        ConfigError: A rule matches nothing at all.
    """
    nowhere, half = paths.unused(left.paths(), right.paths())
    if nowhere:
        raise ConfigError(
            f"the path rule {nowhere[0]} matches no file on either side",
            hint="correct it, or remove it from `paths` of the model",
            facts={"rules": nowhere},
        )
    return [f"the path rule {text}" for text in half]


def _twice(name: str, first: str, second: str) -> ConfigError:
    return ConfigError(
        f"two files of the other side stand for {name!r}: {first!r} and {second!r}",
        hint="make the path rules of the model leave one of them out",
        facts={"path": name, "files": [first, second]},
    )
