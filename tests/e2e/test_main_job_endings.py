"""However a command ends, it ends in the way that was asked for: lines for people, or documents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain

import pytest

from manifestd.cli import list as list_command
from manifestd.loopback.models import tiny_model
from tests.e2e.desk import Desk
from tests.support.schemas import check_document

MODEL = tiny_model("acme/tiny")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("store",), ("key",)])
def test_no_command_or_half_a_one_shows_help(desk: Desk, arguments: tuple[str, ...]) -> None:
    ran = desk.alone(*arguments)
    assert ran.code in {0, 2}
    assert "Usage: " in ran.out + ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (("diff", "a"), 2, "usage"),
        (("snapsht", "dir", "."), 2, "usage"),
        (("diff", "a", "b"), 3, "not-stored"),
        (("snapshot", "dir", "nowhere"), 3, "source-not-found"),
        (("verify", "zzz:///x"), 2, "usage"),
    ],
)
def test_a_failure_is_one_document_with_format_json(
    desk: Desk, arguments: tuple[str, ...], code: int, name: str
) -> None:
    ran = desk(*arguments, "--format", "json", code=code)
    check_document("error", ran.document)
    assert (ran.document["code"], ran.document["exitCode"]) == (name, code)
    assert ran.err == ""


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [(KeyboardInterrupt(), 130, "interrupted"), (KeyError(), 70, "defect")],
)
def test_an_interrupt_and_a_defect_are_documents_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, name: str
) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(list_command.list_, "callback", wrong)
    done = desk.ending("list", "--format", "json")
    check_document("error", done.document)
    assert (done.code, done.document["code"], done.document["exitCode"]) == (code, name, code)
    assert (desk.ending("list").code, desk.ending("list").out) == (code, "")


def test_with_log_format_json_every_line_on_stderr_is_an_object(desk: Desk) -> None:
    place = desk.tree("a", MODEL)
    (desk.folder / "manifestd.toml").write_text("")
    runs = [
        desk("--log-format", "json", "snapshot", "dir", place),
        desk("--log-format", "json", "-v", "snapshot", "dir", place, "--fresh"),
        desk("--log-format", "json", "diff", "a", "nothing", code=3),
        desk("--log-format", "json", "diff", "a", code=2),
    ]
    lines = [[json.loads(line) for line in ran.err.splitlines()] for ran in runs]
    assert all(lines)
    for line in chain.from_iterable(lines):
        assert {"time", "level", "logger", "message"} <= set(line)
    assert lines[0][0]["level"] == "warning"
    assert lines[2][-1] | {"time": ""} == {
        "time": "",
        "level": "error",
        "logger": "manifestd",
        "message": "nothing in the store is called 'nothing'",
        "code": "not-stored",
        "why": None,
        "hint": lines[2][-1]["hint"],
        "exitCode": 3,
    }
    assert lines[3][-1]["code"] == "usage"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(desk: Desk, shell: str) -> None:
    def complete(**more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "manifestd"], env={**os.environ, **more}, cwd=desk.folder,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.stdout

    assert "manifestd" in complete(_MANIFESTD_COMPLETE=f"{shell}_source")
    for words, at, wanted in (
        ("manifestd sn", "1", "snapshot"),
        ("manifestd diff --st", "2", "--strict"),
    ):
        last = words.rpartition(" ")[2] if shell == "fish" else at
        found = complete(_MANIFESTD_COMPLETE=f"{shell}_complete", COMP_WORDS=words, COMP_CWORD=last)
        assert wanted in found


def test_a_reader_that_goes_away_is_no_error(desk: Desk) -> None:
    desk("snapshot", "dir", desk.tree("a", MODEL))
    command = f'"{sys.executable}" -m manifestd files a --format json | head -c 10'
    done = subprocess.run(
        ["bash", "-c", command], cwd=desk.folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_no_content_can_be_left_out_as_files_can(desk: Desk) -> None:
    place = desk.folder / "model"
    place.mkdir()
    (place / "config.json").write_text("{}")
    (place / "outside").symlink_to("/etc/passwd")
    os.mkfifo(place / "pipe")
    whole = desk.json("snapshot", "dir", "model", code=3)
    assert {problem["hint"] for problem in whole["problems"]} == {
        "put what it names in its place, or leave it out with --ignore",
        "remove it, or leave it out with --ignore",
    }
    rest = desk.json("snapshot", "dir", "model", "--ignore", "pipe", "--ignore", "out*")
    assert rest["complete"]
    assert [problem["what"] for problem in rest["problems"]] == ["2 files left out by --ignore"]


def test_an_interrupt_while_a_command_is_still_being_loaded_shows_no_trace(desk: Desk) -> None:
    script = (
        "import sys; from manifestd.cli.main import main\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'manifestd.cli.output': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted()); main(['list'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=desk.folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
