"""Runs the ```` ```console ```` blocks of a page and compares what they print.

Lines that begin with ``$ `` are commands, the lines below are what they print; ``…`` stands
for any text up to the end of the line, and alone on a line for any lines. A command with nothing
below it only has to succeed (one of manifestd may find something, too). ``<!-- not run: reason -->`` right above a block leaves it out;
``<!-- setup`` … ``-->`` holds commands that a reader need not see.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from manifestd.cli.main import run

_PIECE: Final = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n+)?^```console\n(?P<body>.*?)^```$"
    r"|^<!-- setup\n(?P<setup>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)
_SHELL: Final = frozenset("|&;<>$`*?~(){}")
# On a terminal this is a bar that goes away.
_PROGRESS: Final = re.compile(r"read \d+ of \d+ files, .*")


class Step(NamedTuple):
    """One command and what the page says it prints; None: the page does not say."""

    line: int
    command: str
    printed: list[str] | None


def steps(text: str) -> Iterator[Step]:
    """The commands of a page, in order."""
    for found in _PIECE.finditer(text):
        if found["reason"]:
            continue
        part = "setup" if found["setup"] is not None else "body"
        line = text.count("\n", 0, found.start(part)) + 1
        yield from _commands(found[part].splitlines(), line)


def _commands(lines: list[str], first: int) -> Iterator[Step]:
    step: Step | None = None
    for number, line in enumerate(lines, first):
        if step is not None and step.printed is None and step.command.endswith("\\"):
            step = Step(step.line, step.command[:-1] + line.removeprefix("> "), None)
        elif line.startswith("$ "):
            if step is not None:
                yield step
            step = Step(number, line[2:], None)
        elif step is not None:
            step = Step(step.line, step.command, [*(step.printed or []), line])
        else:
            raise AssertionError(f"line {number}: a block begins with a command, not {line!r}")
    if step is not None:
        yield step


class Console:
    """A shell of one page: commands of manifestd run in this process, others in bash.

    Args:
        folder: The working directory.
        environment: Takes what is exported, for the time of the test.
    """

    def __init__(self, folder: Path, environment: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.environment = environment
        self.status = 0

    def __call__(self, command: str) -> list[str]:
        """Run a command in the working directory; what it prints, people's lines included."""
        if found := re.fullmatch(r"export (\w+)=(\S+)|unset (\w+)", command):
            name, value, gone = found.groups()
            if gone:
                self.environment.delenv(gone, raising=False)
            else:
                self.environment.setenv(name, value)
            self.status = 0
            return []
        words = [] if _SHELL & set(command) else shlex.split(command, comments=True)
        text = self._inside(words[1:]) if words[:1] == ["manifestd"] else self._bash(command)
        lines = [line.rstrip() for line in text.splitlines()]
        return [line for line in lines if not _PROGRESS.fullmatch(line)]

    def _inside(self, arguments: list[str]) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            self.status = run(arguments)
        return printed.getvalue()

    def _bash(self, command: str) -> str:
        ours = f'manifestd() {{ "{sys.executable}" -m manifestd "$@"; }}'
        done = subprocess.run(
            ["bash", "-c", f"{ours}\n(exit {self.status})\n{command}"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.status = done.returncode
        return done.stdout


def play(text: str, console: Console) -> list[str]:
    """Run a page; what did not go as it says, one item for each command."""
    faults = []
    for step in steps(text):
        printed = console(step.command)
        shown = "\n".join(printed)
        if step.printed is None:
            # A comparison may find something, and write it to a file.
            fine = console.status in ({0, 1} if step.command.startswith("manifestd ") else {0})
        else:
            wanted = "\n".join(line.rstrip() for line in step.printed).rstrip("\n")
            # A failure that is shown is meant; a mistake in the page's own command never is.
            fine = bool(_pattern(wanted).fullmatch(shown)) and console.status not in {2, 70}
        if not fine:
            faults.append(
                f"line {step.line}: $ {step.command}\nended with {console.status} and printed:\n{shown}"
            )
    return faults


def _pattern(wanted: str) -> re.Pattern[str]:
    any_lines = re.sub(r"(?m)^…$", "\0", wanted)
    escaped = re.escape(any_lines).replace("…", r"[^\n]*")
    return re.compile(escaped.replace("\\\n\0\\\n", r"\n(?:.*\n)*?").replace("\0", r"[\s\S]*"))
