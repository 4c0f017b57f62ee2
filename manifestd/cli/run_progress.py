"""Telling people how a run over many models goes: a bar, lines, or JSON lines for machines."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from manifestd.cli.log import tell, writes_json
from manifestd.cli.progress import DRAW_EVERY, LINE_EVERY
from manifestd.cli.workflow_commands import guarded
from manifestd.display import printable, size_text
from manifestd.model.entry import Measurement
from manifestd.model.run import RunModel

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

log = logging.getLogger("manifestd.run")


def run_progress(
    *,
    quiet: bool,
    log_format: str,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RunProgress:
    """The right kind of progress for where messages go.

    Args:
        quiet: Say nothing at all.
        log_format: ``json`` for one object a model, ``text`` for people.
        stream: Where people read; stderr when None.
        clock: Monotonic seconds.
    """
    where = sys.stderr if stream is None else stream
    if quiet:
        return RunProgress()
    if log_format == "json":
        return _Objects()
    if where.isatty():
        return _Bar(where, clock)
    return _Lines(where, clock)


class RunProgress:
    """Counts, and says nothing; the others say it. Its methods are called from several threads."""

    def __init__(self) -> None:
        self.run_id = ""
        self.total = 0
        self.finished = 0
        self.bytes_expected = 0
        self.bytes_read = 0
        self.files = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish; what was counted stays readable."""

    def started(self, run_id: str, models: int) -> None:
        """A run over so many models begins."""
        self.run_id, self.total = run_id, models

    def reading(self, size: int, files: int) -> None:
        """A side will read so many bytes in so many files."""
        with self._lock:
            self.bytes_expected += size

    def bytes(self, count: int) -> None:
        """So many content bytes arrived."""
        with self._lock:
            self.bytes_read += count
            self._tell()

    def done(self, measurement: Measurement) -> None:
        """One file is finished."""
        with self._lock:
            self.files += 1
            self._tell()

    def judged(self, model: RunModel) -> None:
        """One model is finished."""
        with self._lock:
            self.finished += 1
            self._model(model)
            self._tell()

    def _tell(self) -> None:
        """Something changed; called with the lock held."""

    def _model(self, model: RunModel) -> None:
        """A model is finished; called with the lock held."""


class _Objects(RunProgress):
    """One structured log line for each model."""

    def _model(self, model: RunModel) -> None:
        from manifestd.workflows.status import in_short

        sides = {
            name: {
                "source": side.reference,
                "revision": side.revision,
                "snapshot": side.snapshot,
                "error": side.error.code if side.error else None,
            }
            for name, side in model.sides.items()
        }
        reference = model.sides[model.reference]
        fields: dict[str, Any] = {
            "runId": self.run_id,
            "model": model.name,
            "source": reference.reference,
            "revision": reference.revision,
            "result": model.result,
            "verdict": model.verdict,
            "exitCode": model.exit_code,
            "what": in_short(model),
            "seconds": model.seconds,
            "sides": sides,
        }
        log.info("%s: %s", model.name, model.result, extra=fields)


def line_of(model: RunModel, number: int, total: int) -> str:
    """One line on a finished model, safe for a terminal."""
    from manifestd.workflows.status import in_short

    what = in_short(model)
    text = f"[{number}/{total}] {model.result:7} {printable(model.name)}"
    return f"{text}: {printable(what)}" if what else text


class _Lines(RunProgress):
    """A line for each model, and one about reading now and then."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        super().__init__()
        self._stream = stream
        self._clock = clock
        self._told = clock()

    def _model(self, model: RunModel) -> None:
        self._say(line_of(model, self.finished, self.total))

    def _tell(self) -> None:
        if self._clock() - self._told >= LINE_EVERY:
            read, expected = size_text(self.bytes_read), size_text(self.bytes_expected)
            self._say(f"reading: {read} of {expected}, {self.finished}/{self.total} models")

    def _say(self, text: str) -> None:
        self._told = self._clock()
        if self._stream is sys.stderr and writes_json():
            tell(text)
            return
        self._stream.write(guarded(text, self._stream) + "\n")
        self._stream.flush()


class _Bar(RunProgress):
    """A rich bar over the models; those that do not pass stand above it."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        super().__init__()
        self._stream = stream
        self._clock = clock
        self._drawn = clock()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f} models", markup=False),
            TextColumn("{task.fields[read]}", markup=False),
            TimeRemainingColumn(),
            console=Console(file=self._stream),
            auto_refresh=False,
            transient=True,
            get_time=self._clock,
        )
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def started(self, run_id: str, models: int) -> None:
        """A run over so many models begins."""
        super().started(run_id, models)
        if self._bar is not None:
            self._task = self._bar.add_task("", total=models, read="")

    def _model(self, model: RunModel) -> None:
        if self._bar is not None and model.result != "pass":
            line = line_of(model, self.finished, self.total)
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _tell(self) -> None:
        now = self._clock()
        last = self.finished == self.total
        if self._bar is None or self._task is None or (now - self._drawn < DRAW_EVERY and not last):
            return
        self._drawn = now
        read = f"{size_text(self.bytes_read)} of {size_text(self.bytes_expected)} read"
        self._bar.update(self._task, completed=self.finished, read=read)
        self._bar.refresh()
