"""Progress: a bar for people who watch, a line now and then for logs, nothing when asked."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import threading

import pytest

from manifestd.cli.progress import progress
from manifestd.model.entry import Measurement, Problem


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


BROKEN = Measurement(path="b", problem=Problem(code="unreadable", what="no"))


def test_without_a_terminal_there_is_at_most_one_line_in_ten_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress(4 << 20, 4, quiet=False, stream=stream, clock=clock) as told:
        for second in range(25):
            clock.now = float(second)
            told.bytes(100_000)
        told.done(Measurement(path="a"))
        told.done(BROKEN)
    assert stream.getvalue().splitlines() == [
        "reading: 0 of 4 files, 1.0 MiB of 4.0 MiB, 107.4 KiB/s",
        "reading: 0 of 4 files, 2.0 MiB of 4.0 MiB, 102.5 KiB/s",
        "read 2 of 4 files, 2.4 MiB of 4.0 MiB, 101.7 KiB/s, 1 with problems",
    ]


def test_an_interrupted_reading_does_not_claim_to_be_done() -> None:
    stream = io.StringIO()
    told = progress(None, None, quiet=False, stream=stream, clock=Clock())
    with contextlib.suppress(KeyboardInterrupt), told:
        told.bytes(5)
        raise KeyboardInterrupt
    assert stream.getvalue() == "stopped after 0 files, 5 B\n"


def test_when_nothing_was_read_nothing_is_said() -> None:
    stream = io.StringIO()
    with progress(0, 0, quiet=False, stream=stream):
        pass
    assert stream.getvalue() == ""


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_quiet_says_nothing_and_still_counts(stream: io.StringIO) -> None:
    with progress(10, 1, quiet=True, stream=stream) as told:
        told.bytes(10)
        told.done(BROKEN)
    assert stream.getvalue() == ""
    assert (told.bytes_read, told.files, told.problems) == (10, 1, 1)


def test_a_bar_shows_bytes_files_and_an_escaped_name_and_needs_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Terminal(), Clock()
    before = threading.active_count()
    with progress(2 << 20, 2, quiet=False, stream=stream, clock=clock) as told:
        clock.now = 1.0
        told.bytes(1 << 20)
        clock.now = 1.5
        told.done(Measurement(path="w\x1b[31m[bold]\u202e.bin"))
        clock.now = 2.0
        told.done(BROKEN)
        assert threading.active_count() == before
    text = stream.getvalue()
    assert "1.0 MiB/2.0 MiB 1.0 MiB/s" in text
    assert "1/2 files" in text
    assert "2/2 files, 1 with problems" in text
    assert r"\x1b[31m[bold]\u202e.bin" in text
    assert "\u202e" not in text


def test_a_bar_is_not_drawn_for_every_buffer() -> None:
    stream, clock = Terminal(), Clock()
    with progress(1 << 40, 1, quiet=False, stream=stream, clock=clock) as told:
        before = len(stream.getvalue())
        for _ in range(1000):
            told.bytes(1 << 18)
        assert len(stream.getvalue()) == before


def test_any_thread_may_report() -> None:
    with progress(None, None, quiet=True) as told:

        def report() -> None:
            for _ in range(10_000):
                told.bytes(1)

        threads = [threading.Thread(target=report) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert told.bytes_read == 40_000


def test_rich_is_imported_only_for_a_bar() -> None:
    code = (
        "import sys, io; from manifestd.cli.progress import progress\n"
        "with progress(1, 1, quiet=False, stream=io.StringIO()) as p: p.bytes(1)\n"
        "assert 'rich' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
