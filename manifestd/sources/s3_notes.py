"""Things worth saying once about many objects: counted, with one example."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from manifestd.model.entry import Problem


class Notes:
    """Collects notes by code. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, tuple[int, str, str | None, str]] = {}

    def add(self, code: str, what: str, *, example: str, hint: str | None = None) -> None:
        """Count one object for which ``what`` holds, with ``{n}`` and ``{s}`` for how many."""
        with self._lock:
            count, first, kept, shown = self._found.get(code, (0, what, hint, example))
            self._found[code] = (count + 1, first, kept, shown)

    def problems(self) -> Iterator[Problem]:
        """One note for every code, in the order they were met."""
        for code, (count, what, hint, example) in self._found.items():
            text = what.format(n=count, s="" if count == 1 else "s")
            yield Problem(
                code=code, what=f"{text} (for instance {example})", hint=hint, severity="note"
            )
