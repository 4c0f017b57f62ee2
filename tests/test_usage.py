"""What the door says of commands that are used wrongly."""

from __future__ import annotations

import json

import pytest

from manifestd.cli.main import run

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("command", [[], ["key"], ["store"]], ids=["alone", "key", "store"])
def test_without_a_command_there_is_a_page_of_help_on_stderr(
    command: list[str], capsys: Capture
) -> None:
    assert run(command) == 2
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert told.out == ""
    assert lines[0].startswith("Usage: manifestd")
    assert "Commands:" in lines


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (["list", "-q"], "manifestd -q list"),
        (["list", "--store", "x.db"], "manifestd --store … list"),
        (["store", "check", "--config", "x.toml"], "manifestd --config … store check"),
        (["diff", "a", "b", "--log-format=json"], "manifestd --log-format … diff"),
    ],
)
def test_a_global_option_after_the_command_is_told_where_it_stands(
    arguments: list[str], first: str, capsys: Capture
) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert f"hint: write it before the command: `{first}`" in told
    assert "Did you mean" not in told


def test_an_option_that_there_is_not_points_to_the_help_in_text_and_json(capsys: Capture) -> None:
    assert run(["list", "--nmae", "x"]) == 2
    assert "hint: run `manifestd list --help`" in capsys.readouterr().err
    assert run(["list", "--nmae", "x", "--format", "json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["code"], document["exitCode"]) == ("usage", 2)
    assert document["hint"] == "run `manifestd list --help`"


@pytest.mark.parametrize(
    "command",
    [
        ["snapshot", "dir", ".", "--name", "a\udcff"],
        ["snapshot", "dir", ".", "--ignore", "a\udcff"],
        ["tag", "m:v1", "m", "--reason", "a\udcff"],
        ["approve", "m:v1", "m", "--reason", "a\udcff"],
        ["import", "m.bundle", "--name", "a\udcff"],
        ["list", "--name", "a\udcff"],
        ["init", "--person", "a\udcff"],
    ],
    ids=lambda words: f"{words[0]} {words[-2]}",
)
def test_text_that_is_not_utf8_is_refused_before_any_work(
    command: list[str], capsys: Capture
) -> None:
    assert run(command) == 2
    told = capsys.readouterr().err
    assert f"Invalid value for '{command[-2]}'" in told
    assert "is not UTF-8 text" in told
