"""Which models are on the list: those that are written down, and those that ``[[select]]`` found last.

A model that nobody runs any more keeps its last result in the store. Were it counted, one that
failed when it was retired would fail forever.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from manifestd.config import Config
from manifestd.display import some_of
from manifestd.model.run import Run
from manifestd.store import Store

_LOOK_BACK: Final = 10
"""Runs of one model among which one is looked for that was not killed."""

_FEW: Final = 3


class Roster:
    """The list of a configuration, against what a store has.

    Args:
        store: Opened for reading.
        config: The configuration; with no models at all, or None, every model is on the list.
    """

    def __init__(self, store: Store, config: Config | None) -> None:
        self._store = store
        self._lists = config is not None and bool(config.model or config.select)
        self._written = {model.name for model in config.model} if config is not None else set()
        self._found: set[str] | None = set()
        if config is not None and config.select:
            self._found = found_before(store)
        self._scopes: dict[int, str | None] = {}

    def has(self, name: str) -> bool:
        """Whether a model is on the list.

        It is also when its last run was of another list (``--models``), which the
        configuration says nothing about, or when no run says what ``[[select]]`` finds.
        """
        if not self._lists or name in self._written:
            return True
        return self._found is None or name in self._found or not self._retired(name)

    def _retired(self, name: str) -> bool:
        """Whether its last run was of the configuration's models, as they were then."""
        for told in self._store.runs.history(name, _LOOK_BACK):
            if told.run not in self._scopes:
                head = self._store.runs.head(told.run)
                self._scopes[told.run] = None if head is None else head.scope
            if (scope := self._scopes[told.run]) is not None:
                return scope != "list"
        return False  # a run that was killed does not say whose models it had


def found_before(store: Store) -> set[str] | None:
    """What ``[[select]]`` found in the last whole run that could ask all of it, and since.

    What a run could not ask hides models: what was found before that is still found.

    Args:
        store: Opened for reading.

    Returns:
        Names; None: no run says it.

    Raises:
        TamperedError: A run's document is damaged.
    """
    found: set[str] = set()
    for row in store.runs.list():
        head = store.runs.head(row.number) if row.finished else None
        if head is None or head.scope == "list":
            continue
        if head.found is None:
            return None
        found.update(head.found)
        if whole(head) and not head.errors:
            return found
    return None


def not_found_now(store: Store, config: Config, names: Collection[str]) -> str | None:
    """A note on models that ``[[select]]`` found before and does not find now.

    A token that was lost, or a repository made private, makes a listing shorter and is no error.
    Where an entry has a ``limit``, others take the places of those that left its window: then it
    is only said of a list that got shorter.

    Args:
        store: Opened for reading.
        config: Has the entries; models that are written in it are missed by nobody.
        names: What is found now.

    Raises:
        TamperedError: A run's document is damaged.
    """
    before = found_before(store) or set()
    missing = sorted(before - set(names) - {model.name for model in config.model})
    window = any(entry.hf.limit is not None for entry in config.select)
    if not missing or (window and len(names) >= len(before)):
        return None
    return (
        f"[[select]] found before, not now: {some_of(missing, _FEW)}; renamed, deleted, made "
        "private, no more of these conditions, or not shown to this token"
    )


def whole(head: Run) -> bool:
    """Whether a run was to judge every model of the configuration, and came to its end."""
    return head.scope == "all" and not head.interrupted
