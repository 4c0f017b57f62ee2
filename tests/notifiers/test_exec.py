"""Programs get the document on their input, no shell, a small environment and a limited time."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import pytest

from manifestd.errors import AccessDeniedError, ConfigError, UndecidedError, UnreachableError
from manifestd.notifiers import notifier_for
from manifestd.notifiers.base import Channel
from tests.contracts.notifier_suite import TOKEN, NotifierSuite, message


def program(folder: Path, text: str, name: str = "told.sh") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def url(path: Path, query: str = "") -> str:
    return f"exec://{quote(str(path))}{query}"


class TestExec(NotifierSuite):
    name: ClassVar[str] = "exec"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def works(self) -> Channel:
        out = self.folder / "out"
        return Channel(url=url(program(self.folder, f"cat >> {out}; echo >> {out}")))

    def refuses(self) -> Channel:
        return Channel(url=url(program(self.folder, "exit 3"), f"?arg={TOKEN}"))

    def nonsense(self) -> list[Channel]:
        return [
            Channel(url=f"exec://relative/{TOKEN}"),
            Channel(url=f"exec://?arg={TOKEN}"),
            Channel(url=f"exec:///bin/true?other={TOKEN}"),
            Channel(url=f"exec:///bin/true?timeout={TOKEN}"),
            Channel(url="exec:///bin/true?timeout=0"),
            Channel(url="exec:///bin/true?timeout=nan"),
            Channel(url="exec:///bin/true?timeout=99999"),
            Channel(url=f"exec:///bin/%00{TOKEN}"),
        ]

    def arrived(self) -> list[str]:
        out = self.folder / "out"
        return out.read_text().splitlines() if out.exists() else []


def test_arguments_stay_arguments(tmp_path: Path) -> None:
    path = program(tmp_path, f'printf "%s\\n" "$@" > {tmp_path}/out', name="a b$.sh")
    hostile = ["$(touch /tmp/x)", "; reboot", "two words", "", "--flag=é&?"]
    query = "?" + "&".join(f"arg={quote(text, safe='')}" for text in hostile)
    notifier_for(Channel(url=url(path, query))).tell(message())
    assert (tmp_path / "out").read_text().split("\n")[:-1] == hostile


def test_tokens_of_the_run_stay_here_unless_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hidden")
    monkeypatch.setenv("CHAT_ROOM", "ops")
    path = program(tmp_path, f"env > {tmp_path}/out")
    notifier_for(Channel(url=url(path, "?env=CHAT_ROOM&env=NOT_SET"))).tell(message())
    seen = dict(line.split("=", 1) for line in (tmp_path / "out").read_text().splitlines())
    assert seen["CHAT_ROOM"] == "ops"
    assert seen["MANIFESTD_RESULT"] == "fail"
    assert seen["PATH"] == os.environ["PATH"]
    assert not {"HF_TOKEN", "NOT_SET"} & set(seen)


def test_a_large_document_reaches_a_program_that_does_not_read(tmp_path: Path) -> None:
    big = json.dumps({"x": "y" * 1_000_000}).encode()
    notifier_for(Channel(url=url(program(tmp_path, "exit 0")))).tell(message(document=big))


def test_what_a_failing_program_said_is_told_without_secrets(tmp_path: Path) -> None:
    path = program(tmp_path, "echo cannot post hf_abcdefghijkl; echo >&2 sorry; exit 7")
    with pytest.raises(UndecidedError, match="ended with 7") as caught:
        notifier_for(Channel(url=url(path))).tell(message())
    assert "sorry" in str(caught.value.why)
    assert "hf_abc" not in str(caught.value.why)


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    path = program(tmp_path, f"sh -c 'sleep 2; touch {tmp_path}/late' & wait")
    start = time.monotonic()
    with pytest.raises(UnreachableError, match=r"did not end within 0\.3 s"):
        notifier_for(Channel(url=url(path, "?timeout=0.3"))).tell(message())
    assert time.monotonic() - start < 1.5
    time.sleep(2.2)
    assert not (tmp_path / "late").exists()


def test_a_child_left_behind_on_purpose_does_not_hold_us_up(tmp_path: Path) -> None:
    path = program(tmp_path, "sleep 3 & exit 0")
    start = time.monotonic()
    notifier_for(Channel(url=url(path))).tell(message())
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("make", [False, True])
def test_what_cannot_be_started_is_said(tmp_path: Path, make: bool) -> None:
    path = tmp_path / "none"
    if make:
        path.write_text("no program")
    with pytest.raises(AccessDeniedError, match="cannot be started"):
        notifier_for(Channel(url=url(path))).tell(message())


def test_a_url_without_scheme_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigError, match="no scheme"):
        notifier_for(Channel(url=f"/usr/bin/{TOKEN}"))
