"""GitHub Actions gets a summary and annotations, and no command from a name."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd.cli.github import MOST, tell_github
from manifestd.cli.log import PlainLines, configure
from manifestd.cli.main import run as command_line
from manifestd.cli.output import emit, emit_json, emit_lines, say
from manifestd.cli.workflow_commands import command, guard, guarded
from manifestd.model.run import Run
from manifestd.model.run_view import ListedRun
from tests.contracts.report_suite import HOSTILE, failing, passing
from tests.reports.run_making import drifted, every_end, gated, hostile_run, run_of, undecided

Capture = pytest.CaptureFixture[str]

NEW = re.compile(r"^\s*::", re.MULTILINE)
COMMAND = re.compile(r"::(error|warning) title=[^:,\n]*::[^\n]*")
ATTACKS = (
    "::error::x",
    "  ::add-mask::secret",
    "\u00a0::stop-commands::t",
    "a\n::set-output name=x::y",
    "##[error]x",
    "name##[group]x",
)


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def tell(found: Any, summary: Path) -> None:
    found = ListedRun(found) if isinstance(found, Run) else found
    tell_github(found, {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)})


def test_a_run_gives_a_summary_and_an_annotation_for_each_trouble(
    summary: Path, capsys: Capture
) -> None:
    tell(every_end(), summary)
    text = summary.read_text()
    assert "acme/drift" in text
    assert "acme/gated" in text
    lines = capsys.readouterr().err.splitlines()
    assert all(COMMAND.fullmatch(line) for line in lines)
    assert (
        "::error title=manifestd%3A acme/gated::hub: the model is gated and this token has no "
        "access (ask for access on its page)" in lines
    )
    assert any(line.startswith("::warning title=manifestd%3A acme/unsure") for line in lines)


def test_a_model_with_many_files_hides_no_other_model(summary: Path, capsys: Capture) -> None:
    tell(run_of(drifted("a/one"), drifted("a/two"), gated("a/last")), summary)
    lines = capsys.readouterr().err.splitlines()
    models = [
        line.split("::")[1].rpartition(" ")[2] for line in lines if line.startswith("::error")
    ]
    assert models[:3] == ["a/one", "a/two", "a/last"]
    assert len(models) == len(set(lines) - {line for line in lines if "::warning" in line}) == MOST


def test_a_diff_gives_them_too(summary: Path, capsys: Capture) -> None:
    tell(failing(), summary)
    assert "config.json" in summary.read_text()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("::error title=manifestd%3A org/model::config.json: ")


def test_what_passes_has_a_summary_and_no_annotation(summary: Path, capsys: Capture) -> None:
    tell(passing(), summary)
    assert "PASS" in summary.read_text()
    assert capsys.readouterr().err == ""


def test_summaries_are_appended_up_to_what_github_takes(summary: Path) -> None:
    summary.write_text("what another step wrote\n")
    tell(passing(), summary)
    assert summary.read_text().startswith("what another step wrote\n###")
    summary.write_bytes(b"x" * 899_999)
    tell(passing(), summary)
    assert summary.stat().st_size == 899_999


def test_annotations_stop_where_github_drops_them(summary: Path, capsys: Capture) -> None:
    tell(run_of(*(gated(f"a/{n}") for n in range(30)), *(undecided(f"b/{n}") for n in range(30))),
         summary)  # fmt: skip
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["::error"] * MOST + ["::warning"] * MOST


def test_outside_of_actions_nothing_happens(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "summary.md"
    tell_github(ListedRun(every_end()), {"GITHUB_STEP_SUMMARY": str(path)})
    assert not path.exists()
    assert capsys.readouterr().err == ""


def test_a_summary_that_cannot_be_written_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: Capture
) -> None:
    with caplog.at_level(logging.WARNING, logger="manifestd"):
        tell(run_of(drifted()), tmp_path / "no" / "such" / "folder")
    assert "job summary" in caplog.text
    assert "::error" in capsys.readouterr().err


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_stays_inside_its_annotation(
    summary: Path, capsys: Capture, name: str
) -> None:
    tell(hostile_run(name), summary)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(COMMAND.fullmatch(line) for line in lines)


def test_a_command_escapes_what_would_end_its_parts() -> None:
    made = command("error", "100%\r\n::x", title="a,b:c%", file="")
    assert made == "::error title=a%2Cb%3Ac%25::100%25%0D%0A::x"


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_printed_commands_nothing(
    attack: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    emit(f"{attack}\n  {attack}\n")
    say(f"{attack}")
    emit_json({"name": attack, "list": [attack]})
    configure(quiet=False, verbose=False, log_format="text")
    logging.getLogger("manifestd.x").info("%s", attack)
    captured = capsys.readouterr()
    for text in captured:
        assert text
        assert not NEW.search(text)
        assert "##[" not in text
    document = captured.out[captured.out.index("{") :]
    assert json.loads(document) == {"name": attack, "list": [attack]}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_printed_in_pieces_commands_nothing_however_long(
    attack: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    names = [attack, *["x" * 1000] * 200, attack]
    emit_lines(f"{name}\n" for name in names)
    text = capsys.readouterr().out
    assert text.count("x" * 1000) == 200
    assert not NEW.search(text)
    assert "##[" not in text
    document = {"names": names}
    lines = msgspec.json.format(msgspec.json.encode(document), indent=1).decode()
    emit_lines(f"{line}\n" for line in lines.split("\n"))
    text = capsys.readouterr().out
    assert "##[" not in text
    assert json.loads(text) == document


@pytest.mark.parametrize("attack", ATTACKS)
def test_outside_of_actions_and_into_files_every_text_stays_as_it_is(
    attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert guarded(attack, sys.stdout) == attack
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with (tmp_path / "out").open("w") as stream:
        assert guarded(attack, stream) == attack
    assert guard("a normal line: with colons :: inside") == "a normal line: with colons :: inside"


def test_an_error_s_own_text_commands_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.chdir(tmp_path)
    assert command_line(["diff", "a", "b", "--format", "##[error]x"]) == 2
    said = "".join(capsys.readouterr())
    assert "[error]x" in said
    assert "##[" not in said


def test_plain_log_lines_are_still_plain() -> None:
    record = logging.LogRecord("m", logging.WARNING, "", 0, "x", None, None)
    assert PlainLines().format(record) == "Warning: x"
