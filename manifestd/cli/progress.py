"""Telling people how reading goes: a bar on a terminal, a line now and then elsewhere.

No thread draws here: a bar is redrawn by whoever reports bytes. Forked readers
need a process with one thread, and a bar that stands still says so too.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

from manifestd.cli.log import tell, writes_json
from manifestd.cli.workflow_commands import guarded
from manifestd.display import printable, size_text
from manifestd.model.entry import Measurement

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_EVERY: Final = 10.0
"""Seconds between two lines where there is no terminal."""

DRAW_EVERY: Final = 0.1
"""Seconds between two drawings of the bar."""

OTHER_COLUMNS: Final = 64
"""What bar, bytes, rate, time and files take of a line; the name gets the rest."""


def progress(
    total_bytes: int | None,
    total_files: int | None,
    *,
    quiet: bool,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """The right kind of progress for where messages go.

    Args:
        total_bytes: Bytes that will be read, None when that is not known.
        total_files: Files that will be read, None when that is not known.
        quiet: Say nothing at all.
        stream: Where people read; stderr when None.
        clock: Monotonic seconds.

    Returns:
        A context manager whose ``bytes`` and ``done`` are told what happened, by any thread.
    """
    where = sys.stderr if stream is None else stream
    if quiet:
        return Progress(total_bytes, total_files)
    if where.isatty() and not writes_json():
        return _Bar(total_bytes, total_files, where, clock)
    return _Lines(total_bytes, total_files, where, clock)


class Progress:
    """Counts, and says nothing; the others say it."""

    def __init__(self, total_bytes: int | None, total_files: int | None) -> None:
        self.total_bytes = total_bytes
        self.total_files = total_files
        self.bytes_read = 0
        self.files = 0
        self.problems = 0
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

    def bytes(self, count: int) -> None:
        """``count`` more bytes were read."""
        with self._lock:
            self.bytes_read += count
            self._tell("")

    def done(self, measurement: Measurement) -> None:
        """A file is finished, or given up."""
        with self._lock:
            self.files += 1
            self.problems += measurement.problem is not None
            self._tell(measurement.path)

    def _tell(self, name: str) -> None:
        """Something changed; called with the lock held."""


class _Spoken(Progress):
    """Says it somewhere, by a clock."""

    def __init__(
        self,
        total_bytes: int | None,
        total_files: int | None,
        stream: TextIO,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(total_bytes, total_files)
        self._stream = stream
        self._clock = clock
        self._start = self._told = clock()


class _Lines(_Spoken):
    """At most one line every :data:`LINE_EVERY` seconds, and one at the end."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            if self.files or self.bytes_read:
                self._line("read" if error is None else "stopped after")

    def _tell(self, name: str) -> None:
        now = self._clock()
        if now - self._told >= LINE_EVERY:
            self._told = now
            self._line("reading:")

    def _line(self, word: str) -> None:
        seconds = self._clock() - self._start
        text = f"{word} {_of(self.files, self.total_files)} files, "
        text += size_text(self.bytes_read)
        if self.total_bytes:
            text += f" of {size_text(self.total_bytes)}"
        if seconds >= 1:
            text += f", {size_text(int(self.bytes_read / seconds))}/s"
        if self.problems:
            text += f", {self.problems} with problems"
        if self._stream is sys.stderr and writes_json():
            tell(text)
            return
        self._stream.write(guarded(text, self._stream) + "\n")
        self._stream.flush()


class _Bar(_Spoken):
    """A rich bar: bytes, rate, time left, files, the file finished last."""

    _name = ""
    _name_width = 0
    _bar: RichProgress | None = None
    _task: TaskID | None = None

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        def text(field: str) -> TextColumn:
            column = Column(no_wrap=True, overflow="ellipsis")
            return TextColumn(f"{{task.fields[{field}]}}", markup=False, table_column=column)

        console = Console(file=self._stream)
        self._name_width = max(console.width - OTHER_COLUMNS, 0)
        self._bar = RichProgress(
            BarColumn(bar_width=12),
            text("bytes"),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            text("files"),
            text("name"),
            console=console,
            auto_refresh=False,
            transient=True,
            get_time=self._clock,
        )
        self._task = self._bar.add_task("", total=self.total_bytes, name="", files="", bytes="")
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._draw()
            if self._bar is not None:
                self._bar.stop()

    def _tell(self, name: str) -> None:
        if name:
            self._name = name
        now = self._clock()
        if now - self._told >= DRAW_EVERY:
            self._told = now
            self._draw()

    def _draw(self) -> None:
        if self._bar is None or self._task is None:
            return
        files = f"{_of(self.files, self.total_files, '/')} files"
        if self.problems:
            files += f", {self.problems} with problems"
        self._bar.update(
            self._task,
            completed=self.bytes_read,
            bytes=self._bytes_text(),
            files=files,
            name=_end_of(printable(self._name), self._name_width),
        )
        self._bar.refresh()

    def _bytes_text(self) -> str:
        text = size_text(self.bytes_read)
        if self.total_bytes is not None:
            text += f"/{size_text(self.total_bytes)}"
        seconds = self._clock() - self._start
        return f"{text} {size_text(int(self.bytes_read / seconds))}/s" if seconds > 0 else text


def _of(count: int, total: int | None, between: str = " of ") -> str:
    return f"{count}" if total is None else f"{count}{between}{total}"


def _end_of(name: str, width: int) -> str:
    """The end of a name that is too long: shards differ there."""
    if len(name) <= width:
        return name
    return "…" + name[len(name) - width + 1 :] if width > 1 else ""
