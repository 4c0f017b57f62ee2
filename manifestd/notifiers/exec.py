"""``exec:///path/to/program?arg=…&env=…&timeout=…``: a program with the document on its input.

There is no shell. The program gets the arguments in their order and a small environment:
``PATH``, ``HOME``, ``LANG``, ``TMPDIR``, what ``env=NAME`` names, and ``MANIFESTD_RESULT``.
Tokens of the run stay here unless they are named.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from manifestd.display import printable
from manifestd.errors import AccessDeniedError, ConfigError, UndecidedError, UnreachableError
from manifestd.notifiers.base import SECONDS, Channel, Message, Notifier
from manifestd.redact import redact

PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR")
LONGEST: Final = 3600.0
"""Seconds that a program may be given at most."""

_SHOWN: Final = 500


class ExecNotifier(Notifier):
    """Runs a program and expects it to end with 0 in time."""

    name: ClassVar[str] = "exec"
    wants_run: ClassVar[bool] = True

    def __init__(self, channel: Channel) -> None:
        parts = urlsplit(channel.url)
        program = unquote(parts.path)
        if parts.netloc or not Path(program).is_absolute() or "\0" in program:
            raise ConfigError("an exec URL needs an absolute path: exec:///path/to/program")
        self._arguments: list[str] = []
        self._environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._seconds = SECONDS
        for key, value in parse_qsl(parts.query, keep_blank_values=True):
            if key == "arg":
                self._arguments.append(value)
            elif key == "env":
                if value in os.environ:
                    self._environment[value] = os.environ[value]
            elif key == "timeout":
                self._seconds = _seconds(value)
            else:
                raise ConfigError(
                    f"an exec URL has the unknown part {key!r}", hint="known are arg, env, timeout"
                )
        self._program = program
        self._shown = printable(program)

    def check(self, *, look_up: bool) -> None:
        """See that there is such a program.

        Raises:
            ConfigError: There is none, or it cannot be started by this user.
        """
        path = Path(self._program)
        if not path.is_file() or not os.access(path, os.X_OK):
            raise ConfigError(
                f"{self._shown} is no program that can be started",
                hint="give the absolute path of an executable file",
            )

    def tell(self, message: Message) -> None:
        """Run the program.

        Raises:
            AccessDeniedError: It cannot be started.
            UnreachableError: It did not end in time; it and its children were killed.
            UndecidedError: It ended with something else than 0.
        """
        environment = {**self._environment, "MANIFESTD_RESULT": message.result}
        # Files and no pipes: a child that outlives the program could hold a pipe open for ever.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.writelines(message.whole or (message.document,))
            given.seek(0)
            try:
                process = subprocess.Popen(  # noqa: S603  (the configuration's own program)
                    [self._program, *self._arguments],
                    stdin=given,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise AccessDeniedError(
                    f"{self._shown} cannot be started: {error.strerror}"
                ) from error
            code = self._wait(process)
            said.seek(max(0, said.seek(0, os.SEEK_END) - _SHOWN))
            text = redact(said.read().decode(errors="replace").strip())
        if code is None:
            raise UnreachableError(
                f"{self._shown} did not end within {self._seconds:g} s and was killed"
            )
        if code != 0:
            raise UndecidedError(
                f"{self._shown} ended with {code}", why=printable(text) or None,
                facts={"status": code},
            )  # fmt: skip

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        try:
            return process.wait(self._seconds)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                return None
            raise


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST:
        raise ConfigError(f"an exec URL's timeout is seconds, at most {LONGEST:g}")
    return seconds
