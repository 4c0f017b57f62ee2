"""A run as it is read: what stands above its models, and the models one at a time.

A run of thousands of models does not fit into the memory that one model needs. Who shows or
tells a run takes it from here, in as many passes as it wants (docs/adr/0014).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

import msgspec

from manifestd.model.run import RESULTS, Run, RunModel

_EMPTY: Final = b',"models":[]'


class RunView(ABC):
    """One run, finished or interrupted.

    Args:
        head: Its document; the models in it, if there are any, are not looked at.

    Attributes:
        head: The run's document with an empty list of models.
    """

    def __init__(self, head: Run) -> None:
        self.head = msgspec.structs.replace(head, models=[]) if head.models else head

    @abstractmethod
    def models(
        self, *, failing_only: bool = False, worst_first: bool = False
    ) -> Iterator[RunModel]:
        """What came of each model; every call begins again, with the same.

        Args:
            failing_only: Leave out models that pass.
            worst_first: Worst result first, and within a result in the order of the
                configuration; else all in the order of the configuration.
        """

    @abstractmethod
    def count(self, *, failing_only: bool = False) -> int:
        """How many models :meth:`models` gives."""


class ListedRun(RunView):
    """A small run that is in memory whole.

    Args:
        run: Its document.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._models = run.models

    def models(
        self, *, failing_only: bool = False, worst_first: bool = False
    ) -> Iterator[RunModel]:
        """As promised."""
        found = self._models
        if failing_only:
            found = [model for model in found if model.result != "pass"]
        if worst_first:
            found = sorted(found, key=lambda model: RESULTS.index(model.result))
        yield from found

    def count(self, *, failing_only: bool = False) -> int:
        """As promised."""
        return sum(1 for _ in self.models(failing_only=failing_only))


def document_pieces(view: RunView) -> Iterator[bytes]:
    """The whole ``manifestd.run/v1`` document as JSON on one line, a model at a time."""
    # No string holds the mark: quotes in strings are escaped.
    before, mark, after = msgspec.json.encode(view.head).partition(_EMPTY)
    assert mark
    yield before + mark[:-1]
    for number, model in enumerate(view.models()):
        yield (b"," if number else b"") + msgspec.json.encode(model)
    yield mark[-1:] + after
