"""Locales, terminals and working directories that are not as usual: the same record, or a word about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.e2e.desk import Desk, Ran

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A locale whose file names are not UTF-8, as old clusters have; the only one that is everywhere."""


def run(desk: Desk, *arguments: str, **environ: str) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "manifestd", *arguments],
        cwd=desk.folder,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_name_that_the_locale_cannot_tell_is_never_recorded_as_another(desk: Desk) -> None:
    desk.tree("model", {"plain.txt": b"1", "é.txt": b"2"})
    ran = run(desk, "snapshot", "dir", "model", "--format", "json", **ASCII)
    (problem,) = ran.document["problems"]
    assert (ran.code, ran.document["files"], problem["code"]) == (3, 1, "not-utf8")
    assert problem["hint"] == "set PYTHONUTF8=1"
    again = run(desk, "snapshot", "dir", "model", "--format", "json", **ASCII | {"PYTHONUTF8": "1"})
    assert (again.code, again.document["files"]) == (0, 2)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_results_are_utf8_whatever_the_terminal_is_said_to_be(desk: Desk, encoding: str) -> None:
    desk.tree("model", {"é.txt": b"2"})
    desk("snapshot", "dir", "model")
    for form in ("text", "json"):
        ran = run(desk, "diff", "model", "model", "--format", form, PYTHONIOENCODING=encoding)
        assert ran.code == 0
        assert form == "text" or json.loads(ran.out)["files"][0]["path"] == "é.txt"
    assert "é.txt" in run(desk, "files", "model", PYTHONIOENCODING=encoding).out


@pytest.mark.parametrize("reference", ["", "file://", "file:///a%00b"])
def test_no_directory_at_all_is_not_the_working_directory(desk: Desk, reference: str) -> None:
    desk.tree("here", {"a": b"1"})
    found = desk.json("snapshot", "dir", reference, code=2)
    assert found["code"] == "usage"


def test_a_working_directory_that_is_gone_is_said_to_be_gone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = desk.folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    found = desk.json("list", code=2)
    assert found["what"] == "the working directory is not there any more"


def test_a_path_of_this_machine_that_is_not_utf8_is_escaped_in_documents(desk: Desk) -> None:
    desk.tree("model", {"a.txt": b"1"})
    store = os.fsdecode(b"st\xff.db")
    desk("--store", store, "snapshot", "dir", "model", "--no-sign")
    found = desk("--store", store, "store", "check", "--format", "json").document
    assert found["store"] == "st\\udcff.db"
