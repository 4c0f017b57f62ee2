"""What a run has to say of all its models, added up as they come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from manifestd.model.change import Result
from manifestd.model.failure import Failure
from manifestd.model.run import RunCounts, RunModel

_FIELD: Final[dict[Result, str]] = {
    "pass": "passed", "fail": "fail", "unknown": "unknown", "error": "error",
}  # fmt: skip


class Tally:
    """Counts, exit code and costs; the models themselves are not kept.

    Attributes:
        models: How many were added.
        bytes_read: Content bytes read for them.
        bytes_reused: Bytes of files whose measurement was taken over.
        requests: Requests made for them.
    """

    def __init__(self) -> None:
        self.models = 0
        self.bytes_read = 0
        self.bytes_reused = 0
        self.requests = 0
        self._counts = dict.fromkeys(_FIELD.values(), 0)
        self._codes: set[int] = set()

    def add(self, model: RunModel) -> None:
        """Add one model."""
        self.models += 1
        self._counts[_FIELD[model.result]] += 1
        self._codes.add(model.exit_code)
        for side in model.sides.values():
            self.bytes_read += side.bytes_read
            self.bytes_reused += side.bytes_reused
            self.requests += side.requests

    def counts(self) -> RunCounts:
        """Models by result."""
        return RunCounts(**self._counts)

    def exit_code(self, errors: Iterable[Failure] = ()) -> Literal[0, 1, 3, 4]:
        """4, then 1, then 3, then 0 (contract, section 4).

        Args:
            errors: What went wrong besides, with no single model; each counts for 3 at least.
        """
        codes = self._codes | {4 if error.exit_code == 4 else 3 for error in errors}
        for code in (4, 1, 3):
            if code in codes:
                return code
        return 0
