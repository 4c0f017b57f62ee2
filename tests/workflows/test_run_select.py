"""Models that are found rather than listed, and how people are told of a run while it goes."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from junitparser import JUnitXml

from manifestd.cli.run_progress import run_progress
from manifestd.model.change import Result
from manifestd.model.entry import Measurement
from manifestd.model.failure import Failure
from manifestd.model.run import RunModel, RunSide
from tests.support.schemas import check_document
from tests.workflows.run_world import World, by_name, configure, flip, publish, ran


class TestSelect:
    """``[[select]]``."""

    SELECT = '[[select]]\nhf = { author = "acme" }\n'

    def test_models_of_the_hub_join_those_that_are_listed(self, world: World) -> None:
        for name in ("acme/a", "acme/b", "other/c"):
            publish(world, name)
        for path in [key for key in world.s3.objects if key.startswith("acme/b/")]:
            world.s3.objects["own/" + path] = world.s3.objects.pop(path)
        own = '[[model]]\nname = "acme/b"\nsides = { mirror = "s3://bucket/own/{name}/" }\n'
        configure(world, "other/c", more=own + self.SELECT)
        document = ran(world, code=0)
        assert list(by_name(document)) == ["other/c", "acme/b", "acme/a"]
        assert "[[select]] found 2 models" in document["notes"]

    def test_mistakes_in_the_listed_ones_come_before_the_question(self, world: World) -> None:
        configure(world, "no such name", more=self.SELECT)
        assert world.run("run").code == 2
        assert (world.hub.requests, world.s3.seen) == ([], [])

    def test_an_entry_without_a_condition_is_refused_before_any_request(self, world: World) -> None:
        configure(world, more=f"{self.SELECT}[[select]]\nhf = {{ tags = [] }}\n")
        found = world.run("run")
        assert found.code == 2
        assert "Error: select[1].hf has no condition" in found.err
        assert "author, search, tags, collection" in found.err
        assert world.hub.requests == []

    def test_offline_takes_the_models_of_the_last_run(self, world: World) -> None:
        for name in ("acme/a", "acme/b"):
            publish(world, name)
        configure(world, more=self.SELECT)
        found = world.run("run", "--offline")
        assert (found.code, "no run of all models is finished" in found.err) == (3, True)
        ran(world, code=0)
        asked = len(world.hub.requests)
        document = ran(world, "--offline", code=0)
        assert set(by_name(document)) == {"acme/a", "acme/b"}
        assert len(world.hub.requests) == asked
        assert any("--offline" in note for note in document["notes"])

    def test_offline_does_not_take_a_part_of_the_models_for_all(self, world: World) -> None:
        for name in ("acme/a", "acme/b"):
            publish(world, name)
        configure(world, more=self.SELECT)
        (world.home / "list.txt").write_text("acme/a\n")
        ran(world, "--only", "acme/a", code=0)
        refused = world.run("run", "--offline")
        assert (refused.code, "no run of all models is finished" in refused.err) == (3, True)
        assert ran(world, "--only", "*", code=0)["scope"] == "all"
        assert ran(world, "--only", "acme/a", code=0)["scope"] == "some"
        assert ran(world, "--models", "list.txt", code=0)["scope"] == "list"
        assert set(by_name(ran(world, "--offline", code=0))) == {"acme/a", "acme/b"}
        assert len(ran(world, "--offline", "--only", "acme/b", code=0)["models"]) == 1

    def test_a_selection_that_finds_nothing_is_refused(self, world: World) -> None:
        publish(world, "other/c")
        configure(world, more=self.SELECT)
        found = world.run("run")
        assert found.code == 2
        assert "[[select]] finds no model" in found.err
        assert "hint: loosen its conditions" in found.err


class TestSelectThatFails:
    """One ``[[select]]`` that cannot be asked hides no model, and is not hidden itself."""

    FAILING = '[[select]]\nhf = { author = "acme" }\n[[select]]\nhf = { collection = "x/gone" }\n'

    def test_the_models_of_the_list_and_of_other_entries_are_judged(self, world: World) -> None:
        for name in ("acme/a", "other/c"):
            publish(world, name)
        configure(world, "other/c", more=self.FAILING)
        document = ran(world, code=3)
        assert {name: model["result"] for name, model in by_name(document).items()} == {
            "other/c": "pass", "acme/a": "pass",
        }  # fmt: skip
        [error] = document["errors"]
        assert (error["code"], error["facts"]["key"]) == ("source-not-found", "select[1].hf")
        assert "[[select]] found 1 models" in document["notes"]

    def test_a_model_that_differs_still_gives_the_code(self, world: World) -> None:
        publish(world, "other/c", flip)
        configure(world, "other/c", more=self.FAILING)
        assert len(ran(world, code=1)["errors"]) == 1

    def test_with_the_hub_down_mirrors_are_compared_and_every_report_is_red(
        self, world: World
    ) -> None:
        for side in ("a", "b"):
            world.write(f"{side}/own", {"config.json": b"{}"})
        world.hub.faults.add(r"/api/models\?", "status:503", times=None)
        sides = '[defaults]\nsides = { a = "a/{name}", b = "b/{name}" }\n'
        configure(world, "own", more=TestSelect.SELECT, sides=sides)
        forms = ("json", "markdown", "html", "junit", "sarif", "csv")
        asked = [part for form in forms for part in ("--report", f"{form}:{form}.out")]
        found = world.run("run", "--patience", "0", *asked)
        assert found.code == 3, found
        assert found.out.startswith("ERROR  the model passed; models may be MISSING\n")
        assert "Error: select[0].hf: " in found.out
        assert "PASS    own" in found.out
        assert "Warning: select[0].hf: " in found.err
        for form in forms:
            assert "select[0].hf" in (world.home / f"{form}.out").read_text().replace("\\", "")
        suites = list(JUnitXml.fromstring((world.home / "junit.out").read_bytes()))
        assert [(suite.name, suite.errors) for suite in suites] == [("(run)", 1), ("own", 0)]

    def test_a_run_without_any_model_still_writes_its_reports(self, world: World) -> None:
        world.hub.faults.add(r"/api/models\?", "status:503", times=None)
        configure(world, more=TestSelect.SELECT)
        document = ran(world, "--only", "acme/*", "--report", "junit:junit.xml", code=3)
        assert (document["models"], len(document["errors"])) == ([], 1)
        assert 'errors="1"' in (world.home / "junit.xml").read_text()
        assert world.run("metrics").code == 0

    def test_offline_says_that_the_last_run_did_not_have_them_all(self, world: World) -> None:
        publish(world, "other/c")
        configure(world, "other/c", more=self.FAILING)
        online = ran(world, code=3)
        assert ran(world, "--offline", code=3)["errors"] == online["errors"]

    def test_a_channel_hears_of_it_once_and_once_when_it_answers_again(self, world: World) -> None:
        self.listen(world)
        world.hub.faults.add(r"/api/models\?", "status:503", times=None)
        for options in ((), (), ("--offline",), ("--models", "list.txt")):
            ran(world, *options)
        [told] = self.told(world)
        [new] = told["new"]
        assert (new["kind"], new["model"], new["rule"], new["result"]) == (
            "run", "", "source-unreachable", "error",
        )  # fmt: skip
        assert new["what"].startswith("select[0].hf: ")
        assert told["solved"] == []
        world.hub.faults.clear()
        # Another entry before it does not make it another one.
        text = (world.home / "manifestd.toml").read_text()
        more = '[[select]]\nhf = { author = "other" }\n[[select]]'
        (world.home / "manifestd.toml").write_text(text.replace("[[select]]", more))
        ran(world, code=0)
        ran(world, code=0)
        [told] = self.told(world)
        assert (told["new"], told["solved"]) == ([], [new])

    def test_an_entry_that_is_configured_away_is_forgotten_without_a_word(
        self, world: World
    ) -> None:
        self.listen(world)
        world.hub.faults.add(r"/api/models\?", "status:503", times=None)
        ran(world, code=3)
        assert len(self.told(world)) == 1
        text = (world.home / "manifestd.toml").read_text()
        (world.home / "manifestd.toml").write_text(text.replace(TestSelect.SELECT, ""))
        ran(world, code=0)
        assert self.told(world) == []
        (world.home / "manifestd.toml").write_text(text)
        ran(world, code=3)
        assert len(self.told(world)) == 1

    def test_a_channel_for_failures_only_hears_nothing_of_it(self, world: World) -> None:
        self.listen(world, 'on = ["fail"]\n')
        world.hub.faults.add(r"/api/models\?", "status:503", times=None)
        ran(world, code=3)
        assert self.told(world) == []

    def test_status_and_metrics_say_that_models_may_be_missing(self, world: World) -> None:
        self.listen(world)
        world.hub.faults.add(r"/api/models\?", "status:503", times=None)
        ran(world, code=3)
        for options in ((), ("--only", "other/c"), ("--models", "list.txt")):
            ran(world, *options)
            found = world.run("status", "--check")
            assert found.code == 3
            assert "other/c  pass" in found.out
            assert "\nModels may be MISSING: select[0].hf: " in found.out
            assert "\n  hint: " in found.out
            document = world.run("status", "--format", "json").json
            check_document("status", json.dumps(document))
            assert [error["facts"]["key"] for error in document["errors"]] == ["select[0].hf"]
            assert document["exitCode"] == 3
            assert "\nmanifestd_selects_failed 1\n" in world.run("metrics").out
        assert world.run("report", "site", "-o", "site").code == 0
        assert "Models may be missing" in (world.home / "site/index.html").read_text()
        world.hub.faults.clear()
        ran(world, code=0)
        assert "MISSING" not in world.run("status").out
        assert world.run("status", "--check").code == 0
        assert "\nmanifestd_selects_failed 0\n" in world.run("metrics").out

    @staticmethod
    def listen(world: World, more: str = "") -> None:
        """A listed model, an entry, a list besides, and a program that keeps what it is told."""
        publish(world, "other/c")
        publish(world, "acme/a")
        (world.home / "list.txt").write_text("other/c\n")
        notify = f'[[notify]]\nurl = "exec:///bin/sh?arg=-c&arg=cat>>{world.home}/told"\n{more}'
        configure(world, "other/c", more=TestSelect.SELECT + notify)

    @staticmethod
    def told(world: World) -> list[Any]:
        """What it was told since it was asked last."""
        path = world.home / "told"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        decoder, found = json.JSONDecoder(), []
        while text:
            document, end = decoder.raw_decode(text)
            check_document("notification", json.dumps(document))
            found.append(document)
            text = text[end:]
        return found

    def test_a_plan_says_it_too(self, world: World) -> None:
        publish(world, "other/c")
        configure(world, "other/c", more=self.FAILING)
        found = world.run("run", "--plan")
        assert found.code == 3
        assert "Note: select[1].hf: " in found.out
        assert found.out.endswith("; models may be missing.\n")
        plan = world.run("run", "--plan", "--format", "json").json
        assert (plan["errors"], len(plan["models"])) == (1, 1)


class TestSelectThatFindsLess:
    """A shorter list is no error, and is not taken for a complete one."""

    NOTE = "[[select]] found before, not now: "

    def hide(self, world: World, *names: str) -> None:
        for name in names:
            repository = world.hub.find("model", name)
            assert repository is not None
            repository.private = True

    def noted(self, document: Any) -> list[str]:
        return [note for note in document["notes"] if note.startswith(self.NOTE)]

    def test_models_that_were_made_private_are_named_in_the_run_its_plan_and_reports(
        self, world: World
    ) -> None:
        for name in "abcdef":
            publish(world, f"acme/{name}")
        configure(world, more=TestSelect.SELECT)
        assert self.noted(ran(world, code=0)) == []
        self.hide(world, "acme/e", "acme/b", "acme/c", "acme/d")
        plan = world.run("run", "--plan")
        assert f"Note: {self.NOTE}acme/b, acme/c, acme/d and 1 more; " in plan.out
        # A part of the list asks for all of it, and does not become what is known of it.
        for options in (("--only", "acme/a"), ("--report", "markdown:x.md"), ("--offline",), ()):
            document = ran(world, *options, code=0)
            said = self.noted(document)
            assert len(said) == (options not in {("--offline",), ()}), options
            assert all("acme/b, acme/c, acme/d and 1 more" in note for note in said)
        assert "found before, not now" in (world.home / "x.md").read_text()

    def test_what_was_found_before_an_entry_failed_is_still_missed(self, world: World) -> None:
        for name in ("acme/a", "acme/b"):
            publish(world, name)
        configure(world, "acme/a", more=TestSelect.SELECT)
        ran(world, code=0)
        world.hub.faults.add(r"/api/models\?", "status:503", times=None)
        assert self.noted(ran(world, code=3)) == []
        world.hub.faults.clear()
        self.hide(world, "acme/b")
        [note] = self.noted(ran(world, code=0))
        assert note.startswith(f"{self.NOTE}acme/b; renamed, ")

    def test_nobody_misses_what_is_written_down(self, world: World) -> None:
        for name in ("acme/a", "acme/b"):
            publish(world, name)
        configure(world, "acme/b", more=TestSelect.SELECT)
        ran(world, code=0)
        self.hide(world, "acme/b")
        assert self.noted(ran(world, code=3)) == []

    def test_a_window_that_moves_on_is_no_shorter_list(self, world: World) -> None:
        for name in ("acme/a", "acme/b", "acme/c"):
            publish(world, name)
        configure(world, more='[[select]]\nhf = { author = "acme", limit = 2 }\n')
        assert ran(world, code=0)["found"] == ["acme/a", "acme/b"]
        self.hide(world, "acme/a")
        document = ran(world, code=0)
        assert (document["found"], self.noted(document)) == (["acme/b", "acme/c"], [])
        self.hide(world, "acme/b")
        assert len(self.noted(ran(world, code=0))) == 1


def model(name: str, result: Result = "pass", what: str = "it is gone") -> RunModel:
    error = Failure(code="x", what=what, why=None, hint=None, facts={}, exit_code=3)
    side = RunSide(reference="hf://a/b", error=None if result == "pass" else error)
    return RunModel(
        name=name, result=result, verdict=None, exit_code=0, reference="hub",
        sides={"hub": side}, error=side.error,
    )  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress:
    """A bar, lines, or nothing."""

    def test_a_line_for_each_model_and_one_about_reading_now_and_then(self) -> None:
        times = iter([0.0, 1.0, 2.0, 3.0, 4.0, 20.0, 20.0, 21.0, 22.0])
        stream = io.StringIO()
        with run_progress(
            quiet=False, log_format="text", stream=stream, clock=lambda: next(times)
        ) as told:
            told.started("run", 2)
            told.reading(2048, 1)
            told.judged(model("a/b"))
            told.bytes(1024)
            told.bytes(0)
            told.done(Measurement(path="x"))
        assert stream.getvalue().splitlines() == [
            "[1/2] pass    a/b",
            "reading: 1.0 KiB of 2.0 KiB, 1/2 models",
        ]

    def test_names_from_outside_move_no_cursor(self) -> None:
        stream = io.StringIO()
        with run_progress(quiet=False, log_format="text", stream=stream) as told:
            told.started("run", 1)
            told.judged(model("a\x1b[2K\n", "error", "gone\r\u202e!"))
        [line] = stream.getvalue().splitlines()
        assert line == "[1/1] error   a\\x1b[2K\\x0a: gone\\x0d\\u202e!"

    def test_on_a_terminal_only_trouble_stands_above_the_bar(self) -> None:
        stream = Terminal()
        with run_progress(quiet=False, log_format="text", stream=stream) as told:
            told.started("run", 2)
            told.judged(model("fine/one"))
            told.judged(model("[bold]odd/one", "error"))
        text = stream.getvalue()
        assert "fine/one" not in text
        assert "[2/2] error   [bold]odd/one: it is gone" in text
        assert "2/2 models" in text

    def test_quiet_is_silent(self, capsys: pytest.CaptureFixture[str]) -> None:
        with run_progress(quiet=True, log_format="text") as told:
            told.started("run", 1)
            told.judged(model("a/b", "error"))
        assert capsys.readouterr() == ("", "")
        assert told.finished == 1
