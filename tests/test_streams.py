"""The exit code is the verdict's, whoever reads the output, as long as they read, or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifestd.cli.output import write_lines
from manifestd.errors import UndecidedError

DIFFERENT = ("diff", "left", "right")
FULL = Path("/dev/full")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stored directories called left and right that differ."""
    home = tmp_path_factory.mktemp("desk")
    assert ended(home, "init") == 0
    for name in ("left", "right"):
        (home / name).mkdir()
        (home / name / "config.json").write_text(f'{{"side": "{name}"}}')
        assert ended(home, "-q", "snapshot", "dir", name, "--name", name) == 0
    return home


def ended(
    home: Path, *arguments: str, out: int = subprocess.DEVNULL, err: int = subprocess.DEVNULL
) -> int:
    return start(home, *arguments, out=out, err=err).wait(60)


def start(home: Path, *arguments: str, out: int, err: int) -> subprocess.Popen[str]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "manifestd", *arguments], cwd=home, env=environ, stdout=out,
        stderr=err, text=True,
    )  # fmt: skip


def unread() -> int:
    """The writing end of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (DIFFERENT, 1),
        (("diff", "left", "left"), 0),
        (("diff", "left", "nothing"), 3),
        (("list",), 0),
        (("lock", "left"), 0),
        (("snapshot", "dir", "left"), 0),
        (("--log-format", "json", "diff", "left", "nothing"), 3),
    ],
)
def test_readers_that_went_away_change_no_exit_code(
    desk: Path, arguments: tuple[str, ...], code: int
) -> None:
    pipe = unread()
    try:
        assert ended(desk, *arguments, out=pipe) == code
        assert ended(desk, *arguments, out=pipe, err=pipe) == code
    finally:
        os.close(pipe)


def test_streams_that_are_closed_from_the_start_change_no_exit_code(desk: Path) -> None:
    shell = f"{sys.executable} -m manifestd {' '.join(DIFFERENT)} >&- 2>&-"
    assert subprocess.run(shell, shell=True, cwd=desk, check=False).returncode == 1


@pytest.mark.skipif(not FULL.is_char_device(), reason="there is no /dev/full")
class TestAFullDisk:
    """``/dev/full`` takes nothing."""

    def test_a_result_that_cannot_be_written_is_said(self, desk: Path) -> None:
        with FULL.open("w") as full:
            process = start(desk, *DIFFERENT, out=full.fileno(), err=subprocess.PIPE)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 3
        assert err.startswith("Error: the result cannot be written to standard output: No space")

    def test_messages_are_lost_and_the_verdict_is_not(self, desk: Path) -> None:
        with FULL.open("w") as full:
            assert ended(desk, "diff", "left", "nothing", err=full.fileno()) == 3


@pytest.mark.parametrize("arguments", [DIFFERENT, ("lock", "left")])
def test_a_pipe_or_a_device_is_written_to_and_not_replaced(
    desk: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = start(desk, *arguments, "-o", str(pipe), out=subprocess.DEVNULL, err=subprocess.PIPE)
    assert pipe.read_text()
    assert process.communicate(timeout=60)[1] == ""
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_file_that_cannot_be_finished_leaves_nothing_and_the_old_one_as_it_was(
    tmp_path: Path,
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise UndecidedError("the rest is not known")

    target = tmp_path / "report.json"
    target.write_bytes(b"old")
    with pytest.raises(UndecidedError):
        write_lines(target, pieces())
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
