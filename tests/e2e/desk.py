"""A working directory with a key and a store, the command line run in it, and places to snapshot."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from manifestd.cli.main import run
from tests.support.trees import write_tree


class Ran(NamedTuple):
    """What a command left: its exit code, its data, what people were told."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one document that ``--format json`` prints."""
        return json.loads(self.out)


class Desk:
    """The working directory of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "snapshots" / "manifestd.db"

    def __call__(self, *arguments: str, code: int | None = 0) -> Ran:
        """Run a command in this process; ``code`` is what it must end with (None: anything)."""
        ran = self.ending(*arguments)
        assert ran.code != 70, ran.err
        assert code is None or ran.code == code, f"{arguments}: {ran}"
        return ran

    def ending(self, *arguments: str) -> Ran:
        """Run a command in this process, whatever comes of it."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = run(list(arguments))
        return Ran(found, out.getvalue(), err.getvalue())

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        """The document of a command with ``--format json``."""
        return self(*arguments, "--format", "json", code=code).document

    def alone(self, *arguments: str, before: tuple[str, ...] = ()) -> Ran:
        """Run a command as a process of its own, behind ``before`` (unshare, for instance)."""
        done = subprocess.run(
            [*before, sys.executable, "-m", "manifestd", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def tree(self, name: str, files: Mapping[str, bytes]) -> str:
        """Write files into a directory; its reference."""
        return str(write_tree(self.folder / name, files))


def verdicts(diff: Any) -> dict[str, str]:
    """Path -> verdict of the files that are not identical."""
    return {
        file["path"]: file["verdict"] for file in diff["files"] if file["verdict"] != "identical"
    }
