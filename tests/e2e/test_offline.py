"""What only reads the store needs no network, and says so: not a socket, not a heavy library."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

import pytest

from manifestd.loopback.models import drifted, tiny_model
from tests.e2e.desk import Desk

MODEL = tiny_model("acme/tiny")

READERS: list[tuple[list[str], int]] = [
    (["diff", "left", "copy"], 0),
    (["diff", "left", "right"], 1),
    (["diff", "left", "right", "--format", "json"], 1),
    (["diff", "left", "right", "--format", "markdown"], 1),
    (["diff", "left", "right", "--format", "html"], 1),
    (["diff", "left", "right", "--format", "junit"], 1),
    (["diff", "left", "right", "--format", "sarif"], 1),
    (["verify", "left", "right", "copy"], 0),
    (["show", "left"], 0),
    (["files", "right"], 0),
    (["list"], 0),
    (["whereis", "sha256:" + "0" * 64], 3),
    (["store", "check"], 0),
]

# Everything Python does with sockets is announced to audit hooks, before it happens.
GUARD = textwrap.dedent("""
    import sys

    heavy = {"boto3", "botocore", "huggingface_hub", "httpx2", "sqlite_utils", "moto"}

    def hook(event, arguments):
        if event.startswith("socket."):
            raise AssertionError(f"opened a socket: {event}")
        if event == "import" and arguments[0].partition(".")[0] in heavy:
            raise AssertionError(f"imported {arguments[0]}")

    sys.addaudithook(hook)
    from manifestd.cli.main import main
    main(sys.argv[1:])
""")


@pytest.fixture
def filled(desk: Desk) -> Desk:
    """Three directories were snapshotted: ``left`` and ``copy`` are the same, ``right`` is not."""
    for name, files in (("left", MODEL), ("copy", MODEL), ("right", drifted(MODEL))):
        desk("snapshot", "dir", desk.tree(name, files))
    return desk


def _can_unshare() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    return (
        subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode == 0
    )


def test_readers_open_no_socket_and_import_no_heavy_library(filled: Desk) -> None:
    # The places are gone, too: only the store may be asked.
    for name in ("left", "copy", "right"):
        (filled.folder / name).rename(filled.folder / f"{name}-gone")
    for arguments, code in READERS:
        expanded = [
            f"file://{filled.folder}/{text}" if text in {"left", "right", "copy"} else text
            for text in arguments
        ]
        done = subprocess.run(
            [sys.executable, "-c", GUARD, *expanded],
            cwd=filled.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"


def test_the_guard_bites(filled: Desk) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GUARD, "snapshot", "hf", "acme/tiny"],
        cwd=filled.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 70
    assert "imported" in done.stderr


@pytest.mark.skipif(not _can_unshare(), reason="unshare -rn is not permitted here")
def test_diff_and_verify_work_where_there_is_no_network(filled: Desk) -> None:
    alone = ("unshare", "-rn")
    same = filled.alone("diff", "left", "copy", before=alone)
    assert (same.code, same.err) == (0, "")
    assert same.out == filled("diff", "left", "copy").out
    other = filled.alone("diff", "left", "right", before=alone)
    assert other.code == 1
    assert other.out == filled("diff", "left", "right", code=1).out
    assert filled.alone("verify", "left", "right", before=alone).code == 0
